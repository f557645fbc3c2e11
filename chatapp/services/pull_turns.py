"""Downloads take turns: two at a time, so that each gets a fair share of the line, the rest in the order they came."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

AT_ONCE = 2


class Ticket:
    """One place in the line."""


class PullTurns:
    """The waiting line of all pulls. Safe to use from any thread."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once
        self._line: list[Ticket] = []
        self._moved = threading.Condition()

    def join(self) -> Ticket:
        """Take the place at the end of the line. Whoever takes one goes on to :meth:`turn`."""
        ticket = Ticket()
        with self._moved:
            self._line.append(ticket)
        return ticket

    @contextmanager
    def turn(
        self, ticket: Ticket, tell: Callable[[int], None], given_up: Callable[[], bool]
    ) -> Iterator[bool]:
        """Wait for a turn and hold it for the ``with`` block, which gets ``False`` when it was given up instead.

        Args:
            ticket: the place in the line, given back at the end of the block.
            tell: called with the place in the line, 1 for whoever is next, each time it changes.
            given_up: asked while waiting; call :meth:`wake` when its answer may have changed.
        """
        try:
            with self._moved:
                came = self._wait(ticket, tell, given_up)
            yield came
        finally:
            with self._moved:
                self._line.remove(ticket)
                self._moved.notify_all()

    def wake(self) -> None:
        """Let those who wait look again whether they gave up."""
        with self._moved:
            self._moved.notify_all()

    def _wait(self, ticket: Ticket, tell: Callable[[int], None], given_up: Callable[[], bool]) -> bool:
        told = 0
        while not given_up():
            place = self._line.index(ticket) - self._at_once + 1
            if place <= 0:
                return True
            if place != told:
                told = place
                tell(place)
            self._moved.wait()
        return False
