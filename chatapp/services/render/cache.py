"""A cache of finished pieces of HTML, bounded in bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from hashlib import blake2b
from typing import Final

_ENTRY_OVERHEAD_BYTES: Final = 200


def content_key(*parts: str) -> bytes:
    """Return a key for these texts. Lone surrogates are allowed."""
    digest = blake2b(digest_size=20)
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
    return digest.digest()


class HtmlCache:
    """Keeps what was used last, up to ``limit_bytes``. Safe to use from several threads."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._held_bytes = 0
        self._entries: OrderedDict[bytes, tuple[int, tuple[str, ...]]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def held_bytes(self) -> int:
        return self._held_bytes

    def get(self, key: bytes) -> tuple[str, ...] | None:
        """Return what was put under ``key``, or ``None`` when it never was or had to make room."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._entries.move_to_end(key)
            return entry[1]

    def put(self, key: bytes, html: tuple[str, ...]) -> None:
        """Keep ``html``. What is larger than a quarter of the cache is not kept at all."""
        size_bytes = _ENTRY_OVERHEAD_BYTES + sum(len(piece.encode()) for piece in html)
        if size_bytes > self._limit_bytes // 4:
            return
        with self._lock:
            self._held_bytes += size_bytes - self._entries.pop(key, (0, ()))[0]
            self._entries[key] = (size_bytes, html)
            while self._held_bytes > self._limit_bytes:
                self._held_bytes -= self._entries.popitem(last=False)[1][0]
