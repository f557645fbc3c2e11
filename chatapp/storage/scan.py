"""Reading users.json and chats.json at the start: every line is checked once, and what does not fit is named."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from chatapp.storage.files import Files, read_blocks
from chatapp.storage.lines import BadLine, Head, Kind, decode_head, split_entry
from chatapp.storage.snapshot import LENGTH_BITS, Damaged, Snapshot, damaged

_END = b"}}"
_ENTRY_START = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*":\{"crc":"[0-9a-f]{8}",')

Visit = Callable[[str, bytes], None]
Found = tuple[int, bytes, str, bytes]
"""Place, bytes, key and members of an entry."""


def open_snapshot(files: Files, path: Path, kind: Kind, visit: Visit) -> Snapshot:
    """Check every line of a snapshot and return it open.

    Args:
        visit: called with key and members of each entry, in the order of the file; ``ValueError`` refuses it.

    Raises ``StoreDamaged`` when head or end do not fit, ``FileNotFoundError`` when there is no such file.
    Lines that do not fit are left out and stand in ``broken_lines``. How many there should be is not looked at.
    """
    fd = files.open(path)
    try:
        return _scan(files, path, fd, kind, visit)
    except BaseException:
        files.close(fd)
        raise


def _scan(files: Files, path: Path, fd: int, kind: Kind, visit: Visit) -> Snapshot:
    lines = lines_in(read_blocks(files, fd))
    head = _read_head(path, kind, next(lines, (0, b""))[1])
    places: dict[str, int] = {}
    broken: list[Damaged] = []
    is_regular = True
    end = files.size_bytes(fd)
    for offset, line in lines:
        if line == _END:
            if offset + len(_END) + 1 != end:
                raise damaged(path, offset + len(_END), "something follows after the end")
            break
        for at, entry, key, members in entries_in(offset, line, broken):
            if reason := _refusal(visit, places, key, members):
                broken.append(Damaged(at, entry, reason))
                continue
            places[key] = at << LENGTH_BITS | len(entry)
            is_regular = is_regular and at == offset
    else:
        raise damaged(path, end, "the file ends early")
    snapshot = Snapshot(files, path, fd, head, places)
    snapshot.broken_lines = broken
    snapshot.is_regular = is_regular and not broken
    return snapshot


def _refusal(visit: Visit, places: Container[str], key: str, members: bytes) -> str | None:
    """Return why an entry cannot be used although its checksum fits, or ``None``."""
    if key in places:
        return f"the entry {key} occurs twice"
    try:
        visit(key, members)
    except ValueError as error:
        return f"the entry {key} is not understood ({error})"
    return None


def _read_head(path: Path, kind: Kind, line: bytes) -> Head:
    try:
        return decode_head(kind, line)
    except ValueError as error:
        raise damaged(path, 0, str(error)) from error


def lines_in(blocks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield offset and content of each line, without its newline, the last one too when it has none."""
    offset = 0
    begun: list[bytes] = []
    for block in blocks:
        start = 0
        while (end := block.find(b"\n", start)) >= 0:
            line = block[start:end]
            if begun:
                line = b"".join([*begun, line])
                begun = []
            yield offset, line
            offset += len(line) + 1
            start = end + 1
        if start < len(block):
            begun.append(block[start:])
    if begun:
        yield offset, b"".join(begun)


def entries_in(offset: int, line: bytes, broken: list[Damaged]) -> Iterator[Found]:
    """Yield the entries in a line; what is none is added to ``broken``."""
    entry = line.removesuffix(b",")
    try:
        key, members = split_entry(entry)
    except BadLine as error:
        yield from _parts(offset, line, broken, str(error))
    else:
        yield offset, entry, key, members


def _parts(offset: int, line: bytes, broken: list[Damaged], reason: str) -> Iterator[Found]:
    """Yield the entries that are somewhere in a line: several when what separates them was damaged."""
    starts = [match.start() for match in _ENTRY_START.finditer(line)]
    before = line[: starts[0]] if starts else line
    if not starts or (len(starts) == 1 and not before.strip()):
        broken.append(Damaged(offset, line, reason))
        return
    if before.strip():
        broken.append(Damaged(offset, before, "it does not begin as an entry does"))
    for start, end in pairwise([*starts, len(line)]):
        piece = line[start:end]
        try:
            yield offset + start, *whole_entry(piece)
        except BadLine as error:
            is_separated = end < len(line) and not piece.endswith(b"}")
            broken.append(Damaged(offset + start, piece[:-1] if is_separated else piece, str(error)))


def whole_entry(piece: bytes) -> tuple[bytes, str, bytes]:
    """Return bytes, key and members of an entry, whatever separates it from the next. Raises ``BadLine``."""
    for entry in (piece.removesuffix(b","), piece[:-1].removesuffix(b",")):
        with suppress(BadLine):
            return entry, *split_entry(entry)
    raise BadLine("the checksum does not fit")
