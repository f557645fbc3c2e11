"""users.json and chats.json: one valid JSON document each, one user or chat per line, each line with its checksum.

A chats.json of any size is never parsed whole: its lines are checked once at the start, then read one by one at
their place. A new one is written aside; lines of chats that have not changed are copied byte for byte.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from chatapp.errors import StoreDamaged
from chatapp.storage.files import Files, SequentialWriter, read_blocks
from chatapp.storage.lines import BadLine, Head, encode_entry, encode_head, split_entry

_END = b"}}"
_CURE = (
    "Keep a copy of the data folder, then put this file back from a backup, "
    "or run `.venv/bin/flask store repair`."
)
LENGTH_BITS = 32
_LENGTH_MASK = (1 << LENGTH_BITS) - 1


@dataclass(frozen=True, slots=True)
class Damaged:
    """A line that cannot be trusted: where it stands, what it holds, what is wrong."""

    offset: int
    content: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Line:
    """The place of one entry in a snapshot. It stays readable after newer snapshots were written."""

    snapshot: Snapshot
    offset: int
    length: int

    def members(self) -> bytes:
        """Return the entry's JSON after its opening brace. Raises ``StoreDamaged`` when the disk changed it."""
        try:
            return split_entry(b"".join(self.snapshot.blocks(self.offset, self.length)))[1]
        except (BadLine, OSError) as error:
            raise damaged(
                self.snapshot.path, self.offset, f"this line changed on the disk ({error})"
            ) from error

    def beginning(self, length: int) -> bytes:
        """Return at most the first ``length`` bytes of the line, unchecked. Raises ``StoreDamaged``."""
        try:
            return b"".join(self.snapshot.blocks(self.offset, min(length, self.length)))
        except OSError as error:
            raise damaged(self.snapshot.path, self.offset, f"this line cannot be read ({error})") from error


class Snapshot:
    """An open snapshot: its head and the place of every entry. Safe for any thread; the file closes with it."""

    def __init__(self, files: Files, path: Path, fd: int, head: Head, places: dict[str, int]) -> None:
        self.path = path
        self.head = head
        self.size_bytes = files.size_bytes(fd)
        self.identity = files.identity(fd)
        self.broken_lines: list[Damaged] = []
        self.is_regular = True
        """False when entries are not separated as the writer separates them, so that each is copied by itself."""
        self._files = files
        self._fd = fd
        self._places = places
        weakref.finalize(self, files.close, fd)

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def line(self, key: str) -> Line | None:
        place = self._places.get(key)
        return None if place is None else Line(self, place >> LENGTH_BITS, place & _LENGTH_MASK)

    def was_edited(self) -> bool:
        """True when somebody wrote into this very file since it was opened or made."""
        return self._files.identity(self._fd) != self.identity

    def blocks(self, offset: int, length: int) -> Iterator[bytes]:
        return read_blocks(self._files, self._fd, offset, length)

    def runs(self, without: Mapping[str, object]) -> Iterator[dict[str, int]]:
        """Yield the places of all entries but ``without``, grouped so that each group is one stretch of bytes."""
        run: dict[str, int] = {}
        expected = -1
        for key, place in self._places.items():
            if key in without:
                continue
            offset, length = place >> LENGTH_BITS, place & _LENGTH_MASK
            if run and (offset != expected or not self.is_regular):
                yield run
                run = {}
            run[key] = place
            expected = offset + length + len(b",\n")
        if run:
            yield run


def _stretch(run: Mapping[str, int]) -> tuple[int, int]:
    """Return offset and length of the bytes that a run covers."""
    places = list(run.values())
    start = places[0] >> LENGTH_BITS
    return start, (places[-1] >> LENGTH_BITS) + (places[-1] & _LENGTH_MASK) - start


def damaged(path: Path, offset: int, reason: str) -> StoreDamaged:
    """Return the error for a damaged file; it names place, reason and cure."""
    return untrusted(f"{path} is damaged at byte {offset}: {reason}")


def untrusted(what: str, cure: str = _CURE) -> StoreDamaged:
    """Return the error for a file that cannot be trusted.

    Args:
        what: which file, and why, as a sentence without its full stop; also the ``detail`` of the error.
        cure: what to do, in whole sentences.
    """
    return StoreDamaged(f"{what}. Nothing was changed. {cure}", detail=what)


class SnapshotWriter:
    """Writes a new snapshot beside the old one, as ``….tmp``, for its owner only.

    Either :meth:`finish` or :meth:`discard` ends it.
    """

    def __init__(self, files: Files, path: Path, head: Head) -> None:
        self.path = path
        self.aside = path.with_name(path.name + ".tmp")
        self._files = files
        self._head = head
        self._places: dict[str, int] = {}
        files.remove(self.aside)
        self._fd = files.create(self.aside)
        self._out = SequentialWriter(files, self._fd)
        self._out.write(encode_head(head) + b"\n")

    def add(self, key: str, members: bytes) -> None:
        """Write an entry that is new or has changed."""
        entry = encode_entry(key, members)
        self._separate()
        self._places[key] = self._out.position << LENGTH_BITS | len(entry)
        self._out.write(entry)

    def keep(self, old: Snapshot, run: Mapping[str, int]) -> None:
        """Copy a run of :meth:`Snapshot.runs` byte for byte."""
        self._separate()
        start, length = _stretch(run)
        moved = (self._out.position - start) << LENGTH_BITS
        self._places.update((key, place + moved) for key, place in run.items())
        for block in old.blocks(start, length):
            self._out.write(block)

    def _separate(self) -> None:
        if self._places:
            self._out.write(b",\n")

    def finish(self) -> Snapshot:
        """Return the new snapshot, durable under its name aside."""
        self._out.write((b"\n" if self._places else b"") + _END + b"\n")
        self._out.flush()
        self._files.sync(self._fd)
        return Snapshot(self._files, self.path, self._fd, self._head, self._places)

    def discard(self) -> None:
        """Close and remove what was written so far."""
        self._files.close(self._fd)
        self._files.remove(self.aside)
