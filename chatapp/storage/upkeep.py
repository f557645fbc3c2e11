"""The store's background thread: writes parts that wait, and starts checkpoints when they are due."""

from __future__ import annotations

import logging
import math
import threading

from chatapp.errors import StorageFailed
from chatapp.ids import monotonic_s
from chatapp.storage.checkpoint import Checkpointer, failed
from chatapp.storage.journal import Journal
from chatapp.storage.parts import PartBuffer

log = logging.getLogger(__name__)

_RETRY_S = 10.0
_SMALL_BYTES = 20_000_000
_JOURNAL_BYTES = 16 << 20
_JOURNAL_SHARE = 0.2
_UNSAVED_RECORDS = 15_000
"""What no checkpoint has taken in yet stays in memory, and every start reads it again."""
_PATIENCE = 5
"""While changes never pause, a small store is written after this many times the idle time."""


class Upkeep:
    """Sleeps while there is nothing to do.

    Args:
        idle_s: how long after the last change a small store is written to its files. Infinite for never.

    Attributes:
        failure: a line for root about the last checkpoint; ``None`` when it succeeded.
    """

    def __init__(
        self,
        journal: Journal,
        parts: PartBuffer,
        checkpointer: Checkpointer,
        idle_s: float,
    ) -> None:
        self.failure: str | None = None
        self._journal = journal
        self._parts = parts
        self._checkpointer = checkpointer
        self._idle_s = idle_s
        self._changed_at_s = monotonic_s()
        self._first_change_at_s = math.inf
        """When the first change came that no checkpoint has taken; infinite while there is none."""
        self._retry_at_s = 0.0
        self._asleep_until_s = math.inf
        self._stopping = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store-upkeep", daemon=True)

    def start(self) -> None:
        self._journal.written = self.note
        self._parts.wake = self._wake_when_due
        self._thread.start()

    def stop(self) -> None:
        """Return when the thread has ended; a checkpoint that is running is finished first."""
        self._stopping = True
        self._wake.set()
        self._thread.join()

    def note(self) -> None:
        """Take note of a change. Called by writers: only wakes the thread when something is due earlier."""
        self._changed_at_s = monotonic_s()
        if math.isinf(self._first_change_at_s):
            self._first_change_at_s = self._changed_at_s
        self._wake_when_due()

    def _wake_when_due(self) -> None:
        if self._due_at_s() < self._asleep_until_s:
            self._wake.set()

    def _due_at_s(self) -> float:
        return min(self._parts.due_at_s, self._checkpoint_at_s())

    def _checkpoint_at_s(self) -> float:
        if not self._checkpointer.is_needed:
            return math.inf
        if self._journal.needs_new_file or self._is_much():
            return self._retry_at_s
        if self._journal.problem is not None:
            # Nobody may be writing any more: a checkpoint finds out whether the disk takes something again.
            return max(self._retry_at_s, self._journal.failed_at_s + _RETRY_S)
        if self._checkpointer.files_bytes + self._journal.size_bytes > _SMALL_BYTES:
            return math.inf
        latest_s = self._first_change_at_s + _PATIENCE * self._idle_s
        return max(self._retry_at_s, min(self._changed_at_s + self._idle_s, latest_s))

    def _is_much(self) -> bool:
        """Return whether so much came since the last checkpoint, even in earlier processes, that one is due."""
        most_bytes = max(_JOURNAL_BYTES, _JOURNAL_SHARE * self._checkpointer.files_bytes)
        return self._journal.size_bytes > most_bytes or self._checkpointer.unsaved_records > _UNSAVED_RECORDS

    def _run(self) -> None:
        while not self._stopping:
            self._asleep_until_s = self._due_at_s()
            wait_s = self._asleep_until_s - monotonic_s()
            self._wake.wait(None if math.isinf(wait_s) else max(0.0, wait_s))
            self._wake.clear()
            if not self._stopping:
                self._work()

    def _work(self) -> None:
        if self._parts.due_at_s <= monotonic_s():
            self._flush()
        if self._checkpoint_at_s() <= monotonic_s():
            self._checkpoint()

    def _flush(self) -> None:
        """Save the parts that wait. Whatever goes wrong with one of them, this thread goes on."""
        try:
            self._parts.flush()
        except Exception:
            log.exception("unfinished replies could not be saved in a way that was not foreseen")

    def _checkpoint(self) -> None:
        self._first_change_at_s = math.inf
        try:
            self._checkpointer.checkpoint()
            self.failure = None
        except StorageFailed as error:
            self._put_off(failed(error))
        except Exception as error:
            log.exception("a checkpoint failed in a way that was not foreseen")
            self._put_off(failed(StorageFailed(repr(error))))

    def _put_off(self, failure: str) -> None:
        self._retry_at_s = monotonic_s() + _RETRY_S
        self.failure = failure
        log.error("%s", failure)
