"""Limits that hold whether or not rate limits are switched on."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from chatapp.errors import TooMany

# Open streams of one user: a dozen tabs on a few devices.
STREAMS_PER_USER = 40


class StreamSlots:
    """Counts open streams, each of which holds one thread of the server, so that pages always find a free one."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._by_user: Counter[str] = Counter()
        self._open = 0

    @property
    def open(self) -> int:
        """How many streams are open now."""
        return self._open

    def check(self, user_id: str) -> None:
        """Raise ``TooMany`` when the user, or the server, has no slot left."""
        if self._open >= self._most or self._by_user[user_id] >= STREAMS_PER_USER:
            raise TooMany(
                "Too many streams are open right now. Close a tab, or try again soon.", retry_after_s=10
            )

    def take(self, user_id: str) -> None:
        """Take a slot. Raises as ``check``."""
        with self._lock:
            self.check(user_id)
            self._open += 1
            self._by_user[user_id] += 1

    def give_back(self, user_id: str) -> None:
        """Free a slot that ``take`` took."""
        with self._lock:
            self._open -= 1
            self._by_user[user_id] -= 1
            if not self._by_user[user_id]:
                del self._by_user[user_id]

    @contextmanager
    def slot(self, user_id: str) -> Iterator[None]:
        """Hold a slot for the length of a ``with`` block."""
        self.take(user_id)
        try:
            yield
        finally:
            self.give_back(user_id)
