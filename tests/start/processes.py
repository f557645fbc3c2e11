"""Real servers as a person starts them, and a person who speaks HTTP to one."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import requests

TOP = Path(__file__).resolve().parents[2]
SERVE = (sys.executable, "-m", "chatapp.serve")
START_TIMEOUT_S = 30.0
_PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(true: Callable[[], object], timeout_s: float = 10.0) -> None:
    """Wait until ``true()`` is; raises AssertionError in vain."""
    deadline_s = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline_s, "it did not come true in time"
        time.sleep(0.02)


class Server:
    """A program in a folder of its own, its output in files. Ended with :meth:`kill`, whatever happened."""

    def __init__(self, folder: Path, settings: dict[str, str], command: tuple[str, ...] = SERVE) -> None:
        self.folder = folder
        self.settings = {"PORT": str(free_port()), **settings}
        self.command = command
        self._out, self._err = folder / "out.txt", folder / "err.txt"
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        kept = {
            name: text for name, text in os.environ.items() if name in _PASSED_ON or name.startswith("PIP_")
        }
        with self._out.open("wb") as out, self._err.open("wb") as err:
            return subprocess.Popen(
                self.command,
                cwd=self.folder,
                env={**kept, "PYTHONPATH": str(TOP), **self.settings},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    @property
    def port(self) -> int:
        return int(self.settings["PORT"])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def wait_until_ready(self) -> Self:
        """Wait for the line that says so. Raises AssertionError with the output when it does not come."""
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while "chatapp is ready: " not in self.out:
            waiting = self.process.poll() is None and time.monotonic() < deadline_s
            assert waiting, f"it did not start:\n{self.out}\n{self.err}"
            time.sleep(0.02)
        return self

    def answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/ready", timeout=2).ok
        except requests.RequestException:
            return False

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, timeout_s: float) -> int:
        """Return the exit code; raises ``subprocess.TimeoutExpired``."""
        return self.process.wait(timeout_s)

    def family(self) -> list[int]:
        """Return the ids of the server's process and of all that descend from it."""
        found = [self.process.pid]
        for pid in found:
            found += children_of(pid)
        return found

    def gunicorn(self) -> int:
        return next(pid for pid in children_of(self.process.pid) if "gunicorn" in command_line(pid))

    def worker(self) -> int:
        return children_of(self.gunicorn())[0]

    def kill(self) -> None:
        """End everything that is left, at once."""
        for pid in self.family() if self.process.poll() is None else []:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


def children_of(pid: int) -> list[int]:
    """Return the direct children, those that have ended and not been collected included."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def lives(pid: int) -> bool:
    """Return whether the process runs; one that has ended and waits to be collected does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


class Person:
    """Somebody with an account on a real server."""

    def __init__(self, server: Server, username: str) -> None:
        self.server = server
        self.http = requests.Session()
        self.token = ""
        self._read_token("/register")
        fields = {
            "username": username,
            "password": "correct horse battery",
            "confirm": "correct horse battery",
        }
        answer = self.send("/register", fields)
        assert answer.ok, answer.text
        self._read_token("/settings")

    def _read_token(self, path: str) -> None:
        page = self.http.get(self.server.url + path, timeout=10).text
        found = re.search(r'<meta name="csrf-token" content="([^"]+)"', page)
        assert found is not None, "every page carries the token"
        self.token = found[1]

    def send(self, path: str, body: dict[str, Any]) -> requests.Response:
        headers = {"X-CSRFToken": self.token, "Accept": "application/json"}
        return self.http.post(self.server.url + path, json=body, headers=headers, timeout=10)

    def new_chat(self) -> str:
        chat_id: str = self.send("/chat", {"model": "smollm2:135m"}).json()["id"]
        return chat_id

    def ask(self, chat_id: str, content: str) -> dict[str, Any]:
        answer = self.send(f"/chat/{chat_id}/message", {"content": content})
        assert answer.status_code == 202, answer.text
        asked: dict[str, Any] = answer.json()
        return asked

    def follow(self, events_url: str) -> requests.Response:
        """Open a stream of events. The caller closes it."""
        headers = {"Accept": "text/event-stream"}
        return self.http.get(self.server.url + events_url, headers=headers, stream=True, timeout=30)

    def messages(self, chat_id: str) -> list[dict[str, Any]]:
        answer = self.http.get(f"{self.server.url}/chat/{chat_id}/export.json", timeout=10)
        found: list[dict[str, Any]] = answer.json()["messages"]
        return found
