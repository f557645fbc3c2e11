"""Reading whatever can still be read of damaged data files: every whole line, whatever stands around it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from chatapp.errors import StoreDamaged
from chatapp.storage.files import Files
from chatapp.storage.lines import (
    RECORD_START,
    BadLine,
    Head,
    Kind,
    decode_head,
    whole_record,
)
from chatapp.storage.replay import Record, understood
from chatapp.storage.scan import Found, entries_in, lines_in, whole_entry
from chatapp.storage.snapshot import LENGTH_BITS, Damaged, Snapshot

_BLOCK_BYTES = 1 << 20
_SECTOR_BYTES = 4096
_FORMAT = re.compile(rb'\s*\{\s*"format"\s*:\s*"(?:users|chats)/(\d+)"')
_NOT_ENTRIES = (b"", b"}", b"}}")


@dataclass(frozen=True, slots=True)
class Readable:
    """What can be read of a snapshot. ``snapshot.broken_lines`` is the rest."""

    snapshot: Snapshot
    head: Head | None
    """``None`` when the first line is damaged: then nobody knows which record the file ends with."""


def read_snapshot(files: Files, path: Path, kind: Kind, visit: Callable[[str, bytes], None]) -> Readable:
    """Index every whole entry of a file.

    Args:
        visit: called with key and members of each; ``ValueError`` rejects it.

    Raises ``StoreDamaged`` for a file of a newer version, ``FileNotFoundError``.
    """
    fd = files.open(path)
    try:
        return _index(files, path, fd, kind, visit)
    except BaseException:
        files.close(fd)
        raise


def _index(files: Files, path: Path, fd: int, kind: Kind, visit: Callable[[str, bytes], None]) -> Readable:
    head: Head | None = None
    places: dict[str, int] = {}
    broken: list[Damaged] = []
    for offset, line in lines_in(_blocks(files, fd)):
        if offset == 0 and (head := _head(path, kind, line)):
            continue
        if line.strip() not in _NOT_ENTRIES:
            for each in _entries(offset, line, broken):
                _take(each, places, broken, visit)
    snapshot = Snapshot(files, path, fd, head or Head(kind, 0, 0, len(places)), places)
    snapshot.broken_lines = broken
    snapshot.is_regular = False
    return Readable(snapshot, head)


def _take(
    found: Found,
    places: dict[str, int],
    broken: list[Damaged],
    visit: Callable[[str, bytes], None],
) -> None:
    offset, entry, key, members = found
    try:
        if key in places:
            raise BadLine(f"the entry {key} occurs twice")
        visit(key, members)
        places[key] = offset << LENGTH_BITS | len(entry)
    except ValueError as error:
        broken.append(Damaged(offset, entry, str(error)))


def _head(path: Path, kind: Kind, line: bytes) -> Head | None:
    """Return the head, also when the number of its version is what was damaged; ``None`` when it is not whole."""
    for each in (line, _FORMAT.sub(b'{"format":"%s/1"' % kind.encode(), line, count=1)):
        try:
            return decode_head(kind, each)
        except ValueError:
            continue
    version = _FORMAT.match(line)
    if version and version[1] != b"1":
        raise StoreDamaged(
            f"{path} was written by another version of chatapp. Nothing was changed. Repair it with that version."
        )
    return None


def _blocks(files: Files, fd: int) -> Iterator[bytes]:
    """Yield a file's content, with zeros in place of what the disk does not give back."""
    size_bytes = files.size_bytes(fd)
    for offset in range(0, size_bytes, _BLOCK_BYTES):
        end = min(size_bytes, offset + _BLOCK_BYTES)
        try:
            yield _exactly(files, fd, offset, end)
        except OSError:
            for start in range(offset, end, _SECTOR_BYTES):
                yield _or_zeros(files, fd, start, min(end, start + _SECTOR_BYTES))


def _or_zeros(files: Files, fd: int, start: int, end: int) -> bytes:
    try:
        return _exactly(files, fd, start, end)
    except OSError:
        return bytes(end - start)


def _exactly(files: Files, fd: int, start: int, end: int) -> bytes:
    content = b""
    while len(content) < end - start:
        piece = files.read(fd, end - start - len(content), start + len(content))
        content += piece or bytes(end - start - len(content))
    return content


def _entries(offset: int, line: bytes, broken: list[Damaged]) -> Iterator[Found]:
    """Yield the entries in a line, also of a line in which only what follows the entry was damaged."""
    try:
        entry, key, members = whole_entry(line)
    except BadLine:
        yield from entries_in(offset, line, broken)
    else:
        yield offset, entry, key, members


def read_records(files: Files, path: Path) -> Iterator[Record | Damaged]:
    """Yield every whole record of a journal file in its order, and what is none.

    Raises ``StoreDamaged`` for a whole record of a newer version, ``OSError``.
    """
    fd = files.open(path)
    try:
        for offset, line in lines_in(_blocks(files, fd)):
            if line:
                yield from _records(path, offset, line)
    finally:
        files.close(fd)


def _records(path: Path, offset: int, line: bytes) -> Iterator[Record | Damaged]:
    """Yield the records of a line: several when the newline between them is what was damaged."""
    end = 0
    for start in (match.start() for match in RECORD_START.finditer(line)):
        record = whole_record(line, start) if start >= end else None
        if record is not None:
            if start > end:
                yield Damaged(offset + end, line[end:start], "the checksum does not fit")
            yield understood(path, offset + start, record)
            end = start + len(record)
    if end < len(line):
        yield Damaged(offset + end, line[end:], "the checksum does not fit")
