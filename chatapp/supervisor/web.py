"""The web server as a child: its command, and how the supervisor learns that it answers."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from chatapp.supervisor import status
from chatapp.supervisor.child import Command
from chatapp.supervisor.discovery import Upstream
from chatapp.supervisor.loop import Loop

ROOT = Path(__file__).resolve().parent.parent.parent
_CONNECT_TIMEOUT_S = 5.0
# The C library would give each few threads an arena of their own, which threads that hold Python's lock never need.
_FEW_ARENAS = {"MALLOC_ARENA_MAX": "2"}
_FIRST_REQUEST = b"HEAD /login HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n"


def environment(environ: Mapping[str, str], upstream: Upstream) -> dict[str, str]:
    """Return the web server's environment. There ENGINE says whether the embedded engine is in use: always or never."""
    in_use = "always" if upstream.source == "engine" else "never"
    return {**_FEW_ARENAS, **environ, "OLLAMA_URL": upstream.url, "ENGINE": in_use}


def command(listener: socket.socket, status_fd: int, environ: Mapping[str, str]) -> Command:
    """Return gunicorn's command: one worker over a socket that is open already."""
    arguments = (
        *(sys.executable, "-m", "gunicorn", "--config", str(ROOT / "gunicorn.conf.py")),
        *("--pythonpath", str(ROOT), "--bind", f"fd://{listener.fileno()}"),
        "wsgi:app",
    )
    fds = (listener.fileno(), status_fd)
    return Command(arguments, {**environ, status.FD_VARIABLE: str(status_fd)}, pass_fds=fds)


class Readiness:
    """Follows the web server until it answers or says why it cannot start.

    ``on_ready`` is called each time a worker has come up and answered a request; ``on_failure`` gets the one line
    to show. ``there`` is the end of the channel that the worker gets.
    """

    def __init__(
        self,
        loop: Loop,
        listener: socket.socket,
        on_ready: Callable[[], None],
        on_failure: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._place = _reachable(listener)
        self._on_ready = on_ready
        self._on_failure = on_failure
        self._here, self.there = socket.socketpair()
        self._here.setblocking(False)
        loop.watch(self._here, self._read)

    def close(self) -> None:
        """Let go of the channel; a worker that is still there takes that as the sign to end."""
        self._loop.unwatch(self._here)
        self._here.close()
        self.there.close()

    def _read(self) -> None:
        told = status.parse(self._here.recv(65536))
        if told is not None and told.failure:
            self._on_failure(told.failure)
        elif told is not None:
            self._ask_for_a_page()

    def _ask_for_a_page(self) -> None:
        try:
            connection = socket.create_connection(self._place, timeout=_CONNECT_TIMEOUT_S)
            connection.sendall(_FIRST_REQUEST)
        except OSError:
            return  # the worker is gone already; the next one reports again

        def answered() -> None:
            self._loop.unwatch(connection)
            connection.close()
            self._on_ready()

        self._loop.watch(connection, answered)


def _reachable(listener: socket.socket) -> tuple[str, int]:
    host, port = listener.getsockname()[:2]
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port  # noqa: S104 - replaced, not bound
