"""Bytes in any pieces → JSON objects, one per line.

Lines end at ``\\n`` and nowhere else: U+0085 and U+2028 are ordinary characters inside a JSON string, though
text-mode line splitting breaks there. The time taken is linear in the bytes fed, however they are cut.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

MAX_LINE_BYTES = 32 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"


class NotJson(ValueError):
    """A line is not a JSON object in UTF-8, or is too long. ``start`` holds its first 200 bytes."""

    def __init__(self, line: bytes) -> None:
        super().__init__("not a line of JSON")
        self.start = line[:200]


class LineDecoder:
    """Collects bytes and gives back the objects whose lines are complete. For one stream and one thread."""

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_line_bytes = max_line_bytes
        self._parts: list[bytes] = []
        self._waiting_bytes = 0
        self._at_start = True

    def feed(self, piece: bytes) -> Iterator[dict[str, Any]]:
        """Yield the objects that ``piece`` completes, often none; those before a bad line come first.

        Raises:
            NotJson: a line is not an object, or grows past the cap. The decoder is of no use afterwards.
        """
        first, *rest = piece.split(b"\n")
        self._keep(first)
        for following in rest:
            yield from self._take()
            self._keep(following)

    def finish(self) -> Iterator[dict[str, Any]]:
        """Yield the object of a last line that has no ``\\n``, if there is one. Raises like :meth:`feed`."""
        yield from self._take()

    def _keep(self, part: bytes) -> None:
        self._parts.append(part)
        self._waiting_bytes += len(part)
        if self._waiting_bytes > self._max_line_bytes:
            raise NotJson(b"".join(self._parts))

    def _take(self) -> list[dict[str, Any]]:
        line = b"".join(self._parts)
        self._parts.clear()
        self._waiting_bytes = 0
        if self._at_start:
            line = line.removeprefix(_BOM)
            self._at_start = False
        return [json_object(line)] if line.strip() else []


def json_object(text: bytes) -> dict[str, Any]:
    """Return the JSON object in ``text``.

    Raises:
        NotJson: it is not UTF-8, not JSON, nested too deeply, or not an object.
    """
    try:
        # Decoded here because json.loads would guess at UTF-16 and UTF-32.
        value = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise NotJson(text) from error
    if not isinstance(value, dict):
        raise NotJson(text)
    return value
