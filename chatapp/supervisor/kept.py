"""A program that is started again whenever it ends."""

from __future__ import annotations

from collections.abc import Callable

from chatapp.ids import monotonic_s
from chatapp.supervisor.child import Child, Children, Command
from chatapp.supervisor.loop import Loop
from chatapp.supervisor.terminal import complain

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
_SOUND_AFTER_S = 60.0
_CANNOT_BE_STARTED = 127  # as a shell says it


class Kept:
    """Starts ``command`` and, each time it ends unasked, starts it again after a pause that doubles up to 30 s.

    A run of more than a minute counts as sound: the next pause is the first one again.

    Args:
        name: how the person at the terminal knows it, for example "The embedded engine".
        command: makes the command of the next run.
        may_restart: asked with the exit code after each unasked end; ``False`` leaves the program ended.
        on_gone: called when the program has ended and is not started again.
    """

    def __init__(
        self,
        loop: Loop,
        children: Children,
        name: str,
        command: Callable[[], Command],
        *,
        may_restart: Callable[[int], bool] = lambda _code: True,
        on_gone: Callable[[], None] = lambda: None,
    ) -> None:
        self._loop = loop
        self._children = children
        self._name = name
        self._command = command
        self._may_restart = may_restart
        self._on_gone = on_gone
        self._child: Child | None = None
        self._pause_s = FIRST_PAUSE_S
        self._started_s = 0.0
        self._ending = False

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.running

    def start(self) -> None:
        """Start the program, unless it has been told to end. One that cannot be started is tried again later."""
        if self._ending:
            return
        self._started_s = monotonic_s()
        try:
            self._child = self._children.start(self._command(), self._ended)
        except OSError as error:
            self._start_again(_CANNOT_BE_STARTED, f"cannot be started ({error.strerror or error})")

    def end(self, patience_s: float) -> None:
        """Ask the program to end, kill it after ``patience_s``, and do not start it again."""
        self._ending = True
        if self._child is None or not self._child.running:
            self._on_gone()
            return
        self._child.ask_to_end()
        self._loop.after(patience_s, self._child.kill)

    def _ended(self, code: int) -> None:
        if monotonic_s() - self._started_s > _SOUND_AFTER_S:
            self._pause_s = FIRST_PAUSE_S
        self._start_again(code, f"has ended ({_cause(code)})")

    def _start_again(self, code: int, what: str) -> None:
        if self._ending or not self._may_restart(code):
            self._on_gone()
            return
        complain(f"{self._name} {what}; it starts again in {self._pause_s:g} s.")
        self._loop.after(self._pause_s, self.start)
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)


def _cause(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
