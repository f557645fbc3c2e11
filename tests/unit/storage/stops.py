"""Doing the same again and again, stopped at its first call to the file system, then at its second, and so on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from tests.fakes.files import FaultyFiles


class Killed(BaseException):
    """Nothing more is done after this, not even cleaning up."""


def stopped_at_every_call(stop: Callable[[], BaseException]) -> Iterator[FaultyFiles]:
    """Yield a file system that raises ``stop()`` at call 1, at call 2, …, until its user needs fewer calls.

    After ``Killed`` all later calls raise it as well.
    """
    for number in itertools.count(1):
        files, calls = FaultyFiles(syncs=False), itertools.count(1)
        was_stopped = False

        def fault(_call: str, _name: str, number: int = number, calls: Iterator[int] = calls) -> None:
            nonlocal was_stopped
            count, error = next(calls), stop()
            if count == number or (count > number and isinstance(error, Killed)):
                was_stopped = True
                raise error

        files.fault = fault
        yield files
        if not was_stopped:
            return
