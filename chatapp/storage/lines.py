"""How one line of a data file carries its own checksum. Pure functions over bytes.

A journal line ends with its checksum, taken over everything before it::

    {"n":1842,"b":1840,"t":"2026-11-20T05:00:00.123Z","op":…,"crc":"5e1f0a77"}

The first line of a snapshot likewise; an entry carries it first, taken over the entry without it::

    {"format":"chats/1","seq":1842,"gen":7,"count":2,"crc":"0c0ffee0","chats":{
    "01kagx2m9z5r8q3w7t1v6y4b0c":{"crc":"1f0c77aa","owner_id":…,"messages":[…]},

Checksums are CRC-32 in eight lower-case hexadecimal digits. A line is accepted only when it is exactly what the
writer would have written, so that a flipped bit in the frame is noticed as well.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal
from zlib import crc32

from pydantic_core import from_json

Kind = Literal["users", "chats"]

RECORD_START = re.compile(rb'\{"n":\d+,"b":(\d+),')
"""How a journal line begins; its group is the number of the first record that was written with it."""
_RECORD_END = re.compile(rb',"crc":"[0-9a-f]{8}"\}')
_ENDS_TRIED = 4
_TAIL_BYTES = len(',"crc":"00000000"}')
_ENTRY_MARK = b'":{"crc":"'
_ENTRY_START = re.compile(rb'("[^"\\]*(?:\\.[^"\\]*)*":\{)"crc":"(.{8})",', re.DOTALL)


class BadLine(ValueError):
    """A line that is not what its writer wrote; the text says in which way."""


def encode_record(number: int, batch: int, written_at: str, members: bytes) -> bytes:
    """Return a journal line with its newline.

    Args:
        number: strictly increasing by one, over all journal files.
        batch: the number of the first record that was written and synced together with this one.
        written_at: for people only; order comes from ``number``.
        members: see :func:`chatapp.storage.operations.encode`.
    """
    body = b'{"n":%d,"b":%d,"t":"%s",%s' % (number, batch, written_at.encode(), members)
    return b'%s,"crc":"%08x"}\n' % (body, crc32(body))


def check_record(line: bytes) -> None:
    """Raise ``BadLine`` unless ``line`` (without its newline) is whole."""
    body, tail = line[:-_TAIL_BYTES], line[-_TAIL_BYTES:]
    if tail != b',"crc":"%08x"}' % crc32(body):
        raise BadLine("the checksum does not fit")


def whole_record(content: bytes, start: int) -> bytes | None:
    """Return the journal line that begins here, wherever it ends; ``None`` when it is not whole."""
    for end in islice(_RECORD_END.finditer(content, start), _ENDS_TRIED):
        line = content[start : end.end()]
        try:
            check_record(line)
        except BadLine:
            continue
        return line
    return None


@dataclass(frozen=True, slots=True)
class Head:
    """The first line of a snapshot.

    Args:
        seq: number of the last journal record that the snapshot holds.
        gen: the journal file in which the records after ``seq`` begin.
        count: how many entries follow.
        site: settings of the whole site; only in users.json.
    """

    kind: Kind
    seq: int
    gen: int
    count: int
    site: dict[str, Any] = field(default_factory=dict)


def encode_head(head: Head) -> bytes:
    """Return the first line of a snapshot without its newline."""
    numbers = f'{{"format":"{head.kind}/1","seq":{head.seq},"gen":{head.gen},"count":{head.count}'
    site = ',"site":' + json.dumps(head.site, ensure_ascii=False) if head.kind == "users" else ""
    body = (numbers + site).encode()
    return body + _head_tail(head.kind, body)


def _head_tail(kind: Kind, body: bytes) -> bytes:
    return b',"crc":"%08x","%s":{' % (crc32(body), kind.encode())


def decode_head(kind: Kind, line: bytes) -> Head:
    """Return what :func:`encode_head` wrote. Raises ``BadLine`` with a reason for a person."""
    if not line.startswith(b'{"format":"'):
        raise BadLine("it does not begin as a data file of chatapp does")
    if not line.startswith(b'{"format":"%s/1"' % kind.encode()):
        raise BadLine("it was written by another version of chatapp, or is another file")
    body = line[: len(line) - len(_head_tail(kind, b""))]
    if line != body + _head_tail(kind, body):
        raise BadLine("the checksum of the first line does not fit")
    values = json.loads(body + b"}")
    return Head(kind, values["seq"], values["gen"], values["count"], values.get("site", {}))


def encode_entry(key: str, members: bytes) -> bytes:
    """Return one entry of a snapshot without comma and newline.

    Args:
        members: the object's JSON after its opening brace, closing brace included.
    """
    start = json.dumps(key, ensure_ascii=False).encode() + b":{"
    return b'%s"crc":"%08x",%s' % (start, crc32(members, crc32(start)), members)


def split_entry(line: bytes) -> tuple[str, bytes]:
    """Return key and members of an entry (without comma and newline). Raises ``BadLine``."""
    start = _ENTRY_START.match(line)
    if start is None:
        raise BadLine("it does not begin as an entry does")
    members = line[start.end() :]
    if start[2] != b"%08x" % crc32(members, crc32(start[1])):
        raise BadLine("the checksum does not fit")
    key: str = from_json(start[1][: -len(b":{")])
    return key, members


def members_start(line: bytes) -> int:
    """Return where the members begin in an entry, or in the beginning of one."""
    return line.find(_ENTRY_MARK) + len(_ENTRY_MARK) + len(b'00000000",')
