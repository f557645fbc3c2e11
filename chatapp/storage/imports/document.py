"""Reading JSON that somebody else wrote: any encoding and layout, but nothing that would get lost without a word."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from chatapp.storage.files import Files, read_blocks

_TAIL_BYTES = 4096
_BLANK = b" \t\r\n\0"


class NotJson(ValueError):
    """Text that is no whole JSON document; ``offset`` says where it stops being one."""

    def __init__(self, reason: str, offset: int = 0) -> None:
        super().__init__(reason)
        self.offset = offset


class Ambiguous(NotJson):
    """JSON in which a name occurs twice in one object, so that one of the two values would be lost."""


def parse_members(raw: bytes) -> dict[str, Any]:
    """Return the object whose members these are, as they stand on one or more lines of a file."""
    try:
        value = _parse_text(f"{{{raw.decode().rstrip().removesuffix(',')}}}")
    except UnicodeDecodeError as error:
        raise NotJson("it is no text", error.start) from error
    except NotJson as error:
        error.offset = max(0, error.offset - len(b"{"))
        raise
    if not isinstance(value, dict):
        raise NotJson("it is no entry")
    return value


def _parse_text(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise NotJson(error.msg, len(text[: error.pos].encode("utf-8", "surrogatepass"))) from error
    except NotJson:
        raise
    except ValueError as error:
        raise NotJson(f"it holds what cannot be read: {error}") from error
    except RecursionError as error:
        raise NotJson("it is nested too deeply") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise Ambiguous(f'"{twice}" occurs twice in one object')
    return made


def _refuse_constant(name: str) -> NoReturn:
    raise NotJson(f"{name} is no JSON")


def read_document(files: Files, fd: int) -> Any:
    """Return the whole of a file as one value. Raises ``NotJson``; a file that was cut off is not parsed first."""
    size_bytes = files.size_bytes(fd)
    tail = b"".join(read_blocks(files, fd, max(0, size_bytes - _TAIL_BYTES))).rstrip(_BLANK)
    if not tail:
        raise NotJson("it is empty" if not size_bytes else "it holds nothing but zeros or spaces at its end")
    if not tail.endswith((b"}", b"]")):
        raise NotJson("it does not end as JSON does", size_bytes)
    return _parse_text(_decoded(b"".join(read_blocks(files, fd))))


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode(json.detect_encoding(raw))
    except UnicodeDecodeError as error:
        raise NotJson("it is no text", error.start) from error
