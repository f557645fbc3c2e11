"""Reading users.json and chats.json at the start: every line is checked once, and what does not fit is named."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator
from pathlib import Path

from chatapp.storage.files import Files, read_blocks
from chatapp.storage.lines import BadLine, Head, Kind, decode_head, split_entry
from chatapp.storage.snapshot import LENGTH_BITS, Damaged, Snapshot, damaged

_END = b"}}"
_ENTRY_START = re.compile(rb'"(?:[^"\\]|\\.)+":\{"crc":"[0-9a-f]{8}",')

Visit = Callable[[str, bytes], None]


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
    lines = _lines(read_blocks(files, fd))
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
        for at, entry, key, members in _entries(offset, line, broken):
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


def _lines(blocks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield offset and content of each line, without its newline."""
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


def _entries(offset: int, line: bytes, broken: list[Damaged]) -> list[tuple[int, bytes, str, bytes]]:
    """Return place, bytes, key and members of the entry in a line; add it to ``broken`` when it is damaged.

    A line holds several entries when the newline between them is what was damaged.
    """
    entry = line.removesuffix(b",")
    try:
        return [(offset, entry, *split_entry(entry))]
    except BadLine as error:
        starts = [match.start() for match in _ENTRY_START.finditer(line)]
        if len(starts) < 2:
            broken.append(Damaged(offset, line, str(error)))
            return []
        ends = [*starts[1:], len(line) + 1]
        parts = [(start, line[start : end - 1]) for start, end in zip(starts, ends, strict=True)]
        return [found for start, part in parts for found in _entries(offset + start, part, broken)]
