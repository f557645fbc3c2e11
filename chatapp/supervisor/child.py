"""Programs that the supervisor has started, each in a process group of its own.

The group of its own keeps the terminal's Ctrl-C away from them: the supervisor alone decides who ends when.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_MAX_LOG_BYTES = 5_000_000


@dataclass(frozen=True)
class Command:
    """What to start, and where its output goes: to the terminal, to ``log``, or (``read``) to the supervisor."""

    arguments: Sequence[str]
    environ: Mapping[str, str]
    pass_fds: tuple[int, ...] = ()
    log: Path | None = None
    read: bool = False


class Child:
    """A running program. ``on_exit`` is called with its exit code (negative: the signal) once it has ended."""

    def __init__(self, command: Command, on_exit: Callable[[int], None]) -> None:
        with _output(command) as output:
            self._process = subprocess.Popen(
                list(command.arguments),
                env=dict(command.environ),
                pass_fds=command.pass_fds,
                process_group=0,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if output is not None else None,
            )
        self._on_exit = on_exit

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> IO[bytes]:
        """What the program writes, for a command with ``read``. Raises ``ValueError`` for any other."""
        if self._process.stdout is None:
            raise ValueError("this child's output is not read here")
        return self._process.stdout

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    def ask_to_end(self) -> None:
        """Send SIGTERM. Nothing happens when the program has ended already."""
        if self.running:
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End the program and everything it has started, at once."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def ended(self, code: int) -> None:
        """Take note of the end, once it has been collected. What the program left running is ended too."""
        # Popen must not look for the process again: its number may soon be another's.
        self._process.returncode = code
        self.kill()
        self._on_exit(code)


class Children:
    """All running children, by process id."""

    def __init__(self) -> None:
        self._by_pid: dict[int, Child] = {}

    def start(self, command: Command, on_exit: Callable[[int], None]) -> Child:
        """Start a program. Raises ``OSError`` when there is no such program."""
        child = Child(command, on_exit)
        self._by_pid[child.pid] = child
        return child

    def collect(self) -> None:
        """Collect every process that has ended; strangers too, which fall to process 1."""
        for pid, code in _ended_processes():
            child = self._by_pid.pop(pid, None)
            if child is not None:
                child.ended(code)

    def kill_all(self) -> None:
        for child in self._by_pid.values():
            child.kill()


@contextlib.contextmanager
def _output(command: Command) -> Iterator[Any]:
    if command.log is None:
        yield subprocess.PIPE if command.read else None
        return
    too_long = command.log.exists() and command.log.stat().st_size > _MAX_LOG_BYTES
    with command.log.open("wb" if too_long else "ab") as file:
        yield file


def _ended_processes() -> Iterator[tuple[int, int]]:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            yield pid, os.waitstatus_to_exitcode(status)
