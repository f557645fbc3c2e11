"""A file system whose N-th call fails: before it did anything, or after it did all or half of it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.fakes.files import _WATCHED, FaultyFiles, error

ERRORS = (errno.EIO, errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EMFILE, errno.EINTR)


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong.

    Args:
        place: the number of the first call that fails, from 0.
        number: the error's number.
        lasts: every later call fails too, until the disk is healed.
        is_late: the call does its work, a write half of it, and fails then.
    """

    place: int
    number: int
    lasts: bool = False
    is_late: bool = False

    def __str__(self) -> str:
        how = f"{'from then on ' if self.lasts else ''}{'after its work' if self.is_late else ''}"
        return f"call {self.place} {errno.errorcode[self.number]} {how}".strip()


class UnluckyFiles(FaultyFiles):
    """Counts its calls and fails as the fault says. What is never asked of it is to keep anything over a power cut."""

    def __init__(self, fault: Fault | None = None) -> None:
        super().__init__(syncs=False)
        self.failing: Fault | None = fault
        self.count = 0
        self.is_reading = False
        """True while somebody only reads: then bytes that are on the disk can be read."""
        self.failed: list[str] = []
        """The calls that failed, for the message of a test."""
        self.journal_syncs_fail = False

    def heal(self) -> None:
        self.failing = None
        self.journal_syncs_fail = False

    def next_error(self, call: str) -> OSError | None:
        """Count a call and return what it is to fail with."""
        if self.is_reading:
            return None
        place, self.count = self.count, self.count + 1
        fault = self.failing
        if fault and call == "read" and fault.number not in {errno.EIO, errno.EINTR}:
            return None  # what is on the disk and open can be read, however full or forbidden the disk is
        if fault and (place == fault.place or (fault.lasts and place > fault.place)):
            self.failed.append(call)
            return error(fault.number)
        return None


def _unlucky(call: str) -> Callable[..., Any]:
    lucky = getattr(FaultyFiles, call)

    def method(self: UnluckyFiles, *arguments: Any, **options: Any) -> Any:
        problem = self.next_error(call)
        if call == "sync" and self.journal_syncs_fail and self._name(arguments).endswith(".jsonl"):
            problem = problem or error(errno.EIO)
        if problem is None:
            return lucky(self, *arguments, **options)
        if self.failing and self.failing.is_late:
            _work_and_forget(self, lucky, call, arguments, options)
        raise problem

    return method


def _work_and_forget(
    files: UnluckyFiles, lucky: Callable[..., Any], call: str, arguments: tuple[Any, ...], options: Any
) -> None:
    """Let a call do its work, a write half of it, and throw the result away."""
    if call == "write":
        fd, data, offset = arguments
        arguments = (fd, data[: len(data) // 2], offset)
    result = lucky(files, *arguments, **options)
    if call in {"create", "open"}:
        os.close(result)


for _call in _WATCHED:
    setattr(UnluckyFiles, _call, _unlucky(_call))
