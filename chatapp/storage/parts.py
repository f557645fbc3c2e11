"""The text of replies that are being written, on its way to the journal without anybody waiting for the disk.

Pieces of one reply are joined here, so that a quick model costs one record about every half second and not one for
each of its words. After a kill, what is missing is what waited here: no more than half a second or 4 KB of a reply,
and what the disk took to write it.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from typing import get_args

from chatapp.errors import StorageFailed
from chatapp.ids import monotonic_s
from chatapp.models import PartField
from chatapp.storage.journal import Journal
from chatapp.storage.operations import MessagePart

log = logging.getLogger(__name__)

_DELAY_S = 0.5
_FULL_CHARACTERS = 1_000
"""A character takes at most four bytes."""

_Key = tuple[str, str, PartField]


class _Text:
    """What waits of one reply: texts that follow each other from ``offset`` on."""

    __slots__ = ("length", "offset", "texts")

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.texts: list[str] = []
        self.length = 0

    @property
    def end(self) -> int:
        return self.offset + self.length

    def append(self, text: str) -> None:
        self.texts.append(text)
        self.length += len(text)


class PartBuffer:
    """Collects parts until :meth:`flush`, which the store's upkeep calls when it is due. Safe for any thread.

    Attributes:
        wake: called when a flush is due earlier than it was.
    """

    def __init__(self, journal: Journal) -> None:
        self.wake: Callable[[], None] = lambda: None
        self._journal = journal
        self._waiting: dict[_Key, _Text] = {}
        self._due_at_s = math.inf
        self._is_failing = False
        self._lock = threading.Lock()
        self._flushing = threading.Lock()

    @property
    def due_at_s(self) -> float:
        """When to flush (monotonic seconds); infinite while nothing waits."""
        return self._due_at_s

    def add(self, part: MessagePart) -> None:
        """Take in a part. Of one that overlaps what waits the rest counts; one that leaves a gap is passed over."""
        key = part.chat_id, part.message_id, part.field
        with self._lock:
            waiting = self._waiting.setdefault(key, _Text(part.offset))
            if part.offset > waiting.end:
                return
            waiting.append(part.text[waiting.end - part.offset :])
            is_earlier = self._expect_in(0.0 if waiting.length >= _FULL_CHARACTERS else _DELAY_S)
        if is_earlier:
            self.wake()

    def _expect_in(self, delay_s: float) -> bool:
        """Have the next flush come no later than this; return whether that is earlier than it was due."""
        due_at_s = monotonic_s() + delay_s
        is_earlier = due_at_s < self._due_at_s
        self._due_at_s = min(due_at_s, self._due_at_s)
        return is_earlier

    def drop(self, chat_id: str, message_id: str) -> None:
        """Forget what waits of a message that has its final state."""
        with self._lock:
            for field in get_args(PartField):
                self._waiting.pop((chat_id, message_id, field), None)

    def flush(self) -> None:
        """Return when all that waited is durable. What the disk refuses waits for the next time."""
        with self._flushing:
            taken = self._take()
            if not taken:
                return
            try:
                self._journal.commit([_part(key, text) for key, text in taken.items()])
                self._is_failing = False
            except StorageFailed as error:
                self._put_back(taken)
                if not self._is_failing:
                    log.warning("unfinished replies cannot be saved for now: %s", error.detail or error)
                self._is_failing = True

    def _take(self) -> dict[_Key, _Text]:
        with self._lock:
            taken, self._waiting = self._waiting, {}
            self._due_at_s = math.inf
        return taken

    def _put_back(self, taken: dict[_Key, _Text]) -> None:
        with self._lock:
            for key, text in taken.items():
                if newer := self._waiting.get(key):
                    text.append("".join(newer.texts))
                self._waiting[key] = text
            self._expect_in(_DELAY_S)


def _part(key: _Key, text: _Text) -> MessagePart:
    chat_id, message_id, field = key
    return MessagePart(chat_id, message_id, text.offset, "".join(text.texts), field)
