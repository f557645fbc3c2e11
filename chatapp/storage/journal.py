"""The journal: what changed since the last snapshot, one line per transaction, durable before it counts.

The road of a write: :meth:`Journal.commit` queues its line; the first writer to get its turn writes all queued
lines with one write and one sync, then makes them visible; the others find their line settled.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from chatapp.errors import StorageFailed, StorageReadOnly
from chatapp.ids import monotonic_s, now_utc
from chatapp.offload import offload
from chatapp.storage.files import Files, read_blocks, storage_error, write_all
from chatapp.storage.lines import encode_record
from chatapp.storage.operations import Operation, decode, encode

log = logging.getLogger(__name__)


def generation_path(folder: Path, generation: int) -> Path:
    """Return the journal file of a generation, for example ``journal/000000042.jsonl``."""
    return folder / f"{generation:09d}.jsonl"


class JournalFile:
    """One generation, open for appending. One thread at a time."""

    def __init__(self, files: Files, path: Path, generation: int, fd: int) -> None:
        self.generation = generation
        self.durable_bytes = files.size_bytes(fd)
        self.broken = False
        """True once the file can no longer be trusted to keep what is written: it is never used again."""
        self._files = files
        self._path = path
        self._fd = fd

    @classmethod
    def create(cls, files: Files, folder: Path, generation: int) -> JournalFile:
        """Make an empty generation, durable with its name."""
        path = generation_path(folder, generation)
        fd = files.create(path)
        try:
            files.sync(fd)
            files.sync_folder(folder)
        except OSError:
            files.close(fd)
            files.remove(path)
            raise
        return cls(files, path, generation, fd)

    def append(self, data: bytes) -> None:
        """Write and sync. Raises ``OSError``, and then the file holds what it held before or is ``broken``."""
        try:
            write_all(self._files, self._fd, data, self.durable_bytes)
        except OSError:
            self._cut_back()
            raise
        self._sync()
        self._check_named()
        self.durable_bytes += len(data)

    def _cut_back(self) -> None:
        try:
            self._files.cut(self._fd, self.durable_bytes)
        except OSError:
            self.broken = True

    def _sync(self) -> None:
        """After a failed sync the system may forget what it could not write and report success next time."""
        try:
            self._files.sync(self._fd)
        except OSError:
            self.broken = True
            raise

    def _check_named(self) -> None:
        """Raise ``OSError`` when somebody removed or moved the file: no start would find what it holds."""
        try:
            named = self._files.identity(self._path)
            if named[:2] != self._files.identity(self._fd)[:2]:
                raise FileNotFoundError(errno.ENOENT, "another file has this name", str(self._path))
        except OSError:
            self.broken = True
            raise

    def close(self) -> None:
        self._files.close(self._fd)


def continue_journal(
    files: Files, folder: Path, newest: int, last_group: tuple[Path, int] | None
) -> JournalFile:
    """Return the file to append to: the newest generation while it is empty, otherwise a new one.

    What an earlier process has left is made durable first: the records to come will claim that it is.

    Args:
        last_group: the file and the offset at which the records begin that were written last, if there are any.
    """
    if last_group is not None:
        _write_again(files, *last_group)
    path = generation_path(folder, newest)
    fd = files.open(path, writable=True)
    files.sync(fd)
    files.sync_folder(folder)
    file = JournalFile(files, path, newest, fd)
    if file.durable_bytes == 0:
        return file
    file.close()
    return JournalFile.create(files, folder, newest + 1)


def _write_again(files: Files, path: Path, offset: int) -> None:
    """Have the disk take the end of a file for certain.

    After a failed sync the system may go on showing what the disk never got, and the next sync may succeed without
    writing it. Only the last group of a file can be such: after it, the file was not written to.
    """
    fd = files.open(path, writable=True)
    try:
        end = files.size_bytes(fd)
        write_all(files, fd, b"".join(read_blocks(files, fd, offset, end - offset)), offset)
        files.sync(fd)
    finally:
        files.close(fd)


class _Waiting:
    """A line on its way to the disk."""

    __slots__ = ("error", "members", "operations", "settled")

    def __init__(self, members: bytes, operations: Sequence[Operation]) -> None:
        self.members = members
        self.operations = operations
        self.settled = False
        self.error: Exception | None = None


class Journal:
    """Takes changes from any thread and returns when they are durable and visible.

    Args:
        file: the generation to append to.
        last_number: the number of the last record so far.
        apply: makes durable operations visible to readers; called in the order of the journal, by one thread.
        written: called after each group, when there may be a reason for a checkpoint.
    """

    def __init__(
        self,
        file: JournalFile,
        last_number: int,
        apply: Callable[[Operation], None],
        written: Callable[[], None] = lambda: None,
    ) -> None:
        self.last_number = last_number
        self.written = written
        self.problem: StorageFailed | None = None
        """Why the last change was not stored; ``None`` when it was."""
        self.failed_at_s = -math.inf
        """When a change was last not stored (monotonic seconds)."""
        self._file = file
        self._apply = apply
        self._process = os.getpid()
        self._refusal: StorageFailed | None = None
        self._queue: list[_Waiting] = []
        self._queue_lock = threading.Lock()
        self._writing = threading.Lock()

    @property
    def size_bytes(self) -> int:
        """Size of the current generation."""
        return self._file.durable_bytes

    @property
    def generation(self) -> int:
        return self._file.generation

    @property
    def is_fresh(self) -> bool:
        """True while the current generation is empty and good."""
        return self._file.durable_bytes == 0 and not self._file.broken

    @property
    def needs_new_file(self) -> bool:
        """True when the current file failed: nothing is accepted until a checkpoint has moved on."""
        return self._file.broken or self._refusal is not None

    def commit(self, operations: Sequence[Operation]) -> tuple[Operation, ...]:
        """Store several changes as one transaction and return them as stored.

        Returns when they are durable and visible. Raises ``StorageFailed`` (nothing changed) or ``Invalid``.
        """
        waiting = self._enqueue(operations)
        with self._writing:
            if not waiting.settled:
                self._write_group()
        if waiting.error is not None:
            raise waiting.error
        return tuple(waiting.operations)

    def _enqueue(self, operations: Sequence[Operation]) -> _Waiting:
        if self._refusal is not None:
            raise self._refusal
        if os.getpid() != self._process:
            raise StorageFailed(
                "The store was opened before the server split into processes. Start without preload."
            )
        members = encode(operations)
        # What readers will see is what a restart would read, so it is read back here, on the writer's own time.
        waiting = _Waiting(members, decode(b"{%s}" % members))
        with self._queue_lock:
            self._queue.append(waiting)
        return waiting

    def _write_group(self) -> None:
        """Write, sync and apply everything queued. The caller holds ``_writing``."""
        with self._queue_lock:
            group, self._queue = self._queue, []
        if not group:
            return
        error: StorageFailed | None = StorageFailed(
            "The server was interrupted, so this was not saved. Try again."
        )
        try:
            error = self._refusal or self._append(group)
        finally:
            self._settle(group, error)
        self.written()

    def _settle(self, group: Sequence[_Waiting], error: StorageFailed | None) -> None:
        """Make a group visible, or let all its writers know that it was not stored."""
        self.problem = error
        if error is None:
            self.last_number += len(group)
        else:
            self.failed_at_s = monotonic_s()
            log.error("%d changes were not stored: %s", len(group), error.detail or error)
        for waiting in group:
            waiting.error = error or self._show(waiting)
            waiting.settled = True

    def _append(self, group: Sequence[_Waiting]) -> StorageFailed | None:
        """Bring the group to the disk; return what went wrong, if anything."""
        first = self.last_number + 1
        written_at = now_utc().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        lines = (
            encode_record(first + place, first, written_at, each.members) for place, each in enumerate(group)
        )
        try:
            offload(self._file.append, b"".join(lines))
        except OSError as error:
            if self._file.broken:
                self.refuse(str(error))
            return storage_error(error)
        except BaseException:
            self._file.broken = True
            self.refuse("the writer was interrupted; what the file holds now is not known")
            raise
        return None

    def _show(self, waiting: _Waiting) -> Exception | None:
        """Apply what is durable. One change that cannot be applied must not keep the others from view."""
        try:
            for operation in waiting.operations:
                self._apply(operation)
        except Exception as error:
            log.exception("a stored change could not be applied")
            return error
        return None

    def refuse(self, detail: str) -> None:
        """Accept nothing more until :meth:`accept`."""
        self._refusal = self.problem = StorageReadOnly(
            "The server's disk reported an error, so nothing can be saved at the moment. Try again in a minute; "
            "if this stays, look after the disk and restart the server.",
            detail=detail,
        )

    def accept(self) -> None:
        """Accept changes again, unless the file failed once more meanwhile: then it is never used again either."""
        with self._writing:
            if not self._file.broken:
                self._refusal = self.problem = None

    def close(self, refusal: StorageFailed) -> None:
        """Let go of the file; every later change raises ``refusal``."""
        with self._writing:
            self._refusal = refusal
            self._file.close()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hold all writing still: what is visible is exactly the records up to ``last_number``."""
        with self._writing:
            yield

    def move_to(self, file: JournalFile) -> None:
        """Go on in another generation. The caller holds :meth:`paused`."""
        self._file.close()
        self._file = file
