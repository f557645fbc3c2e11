"""The embedded engine as a child: installed when it is missing, then kept running."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from chatapp import engine_state
from chatapp.supervisor.child import Child, Children, Command
from chatapp.supervisor.kept import Kept
from chatapp.supervisor.loop import Loop
from chatapp.supervisor.terminal import complain, say

_SECRETS = ("SECRET_KEY", "SECRET_KEY_FILE", "ROOT_PASSWORD", "ROOT_PASSWORD_FILE", "OLLAMA_URL")
_KEPT_OUTPUT_BYTES = 4000
_ADDRESS_FILE = "address"
_HELP = "Install Ollama (https://ollama.com/download) or set OLLAMA_URL; the site runs meanwhile."


class Engine:
    """The embedded engine over ``folder``, on a loopback port that stays the same over restarts.

    ``on_gone`` is called when it has ended for good after :meth:`end`.
    """

    def __init__(
        self,
        loop: Loop,
        children: Children,
        folder: Path,
        requirements: Path,
        environ: Mapping[str, str],
        on_gone: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._children = children
        self._folder = folder
        self._requirements = requirements
        self._environ = {name: text for name, text in environ.items() if name not in _SECRETS}
        self._on_gone = on_gone
        self._port = _free_loopback_port()
        self._kept = Kept(loop, children, "The embedded engine", self._command, on_gone=on_gone)
        self._installing: Child | None = None
        self._pip_said = b""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start the engine; install it first when it is missing. Returns at once either way."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self._folder / _ADDRESS_FILE).write_text(self.url + "\n")
        if is_installed(self._requirements):
            self._start_installed()
        else:
            self._install()

    def _start_installed(self) -> None:
        engine_state.tell(self._folder, engine_state.STARTED)
        self._kept.start()

    def end(self, patience_s: float) -> None:
        """End the engine, or its installation, for good."""
        if self._installing is not None:
            self._installing.kill()
        self._kept.end(patience_s)

    def _install(self) -> None:
        say("Installing the embedded engine; the site opens meanwhile.")
        engine_state.tell(self._folder, engine_state.INSTALLING)
        self._installing = self._children.start(
            Command(_pip_install(self._requirements), self._environ, read=True), self._installed
        )
        self._loop.watch(self._installing.output, self._listen_to_pip)

    def _listen_to_pip(self) -> None:
        if self._installing is None:
            return
        data = os.read(self._installing.output.fileno(), 65536)
        self._pip_said = (self._pip_said + data)[-_KEPT_OUTPUT_BYTES:]
        if not data:
            self._loop.unwatch(self._installing.output)
            self._installing.output.close()

    def _installed(self, code: int) -> None:
        self._installing = None
        if code == 0:
            self._start_installed()
        elif code > 0:
            reason = f"The embedded engine cannot be installed here: {last_error(self._pip_said)}. {_HELP}"
            engine_state.tell(self._folder, reason)
            complain(reason)

    def _command(self) -> Command:
        arguments = (
            *(sys.executable, "-m", "chatapp.engine", "--host", "127.0.0.1", "--port", str(self._port)),
            *("--models", str(self._folder), "--parent-pid", str(os.getpid())),
        )
        return Command(arguments, self._environ, log=self._folder / "engine.log")


def known_address(data_dir: Path) -> str:
    """Return where the engine of a server over ``data_dir`` listened last; empty when there never was one."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return (data_dir / "engine" / _ADDRESS_FILE).read_text().strip()
    return ""


def is_installed(requirements: Path) -> bool:
    """Return whether every ``name==version`` line of ``requirements`` is installed just so."""
    wanted = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;#]+)", requirements.read_text(), re.MULTILINE)
    return all(_version(name) == version for name, version in wanted)


def last_error(output: bytes) -> str:
    """Return what pip gave as the reason, without its "ERROR:", or a plain word when it gave none."""
    lines = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["pip gave no reason"])[-1].rstrip(".")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _pip_install(requirements: Path) -> tuple[str, ...]:
    quiet = ("--quiet", "--disable-pip-version-check", "--no-input", "--no-color")
    return (sys.executable, "-m", "pip", "install", *quiet, "-r", str(requirements))


def _free_loopback_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
