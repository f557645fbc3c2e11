"""What is remembered of the chats that were used last, within a fixed amount of memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from chatapp.models import Message

_BUDGET_BYTES = 8 << 20
_BYTES_PER_MESSAGE = 1_500
_KEPT_IDS = 50_000


def _cost_bytes(messages: Iterable[Message]) -> int:
    return sum(_BYTES_PER_MESSAGE + len(each.content) + len(each.thinking) for each in messages)


class MessageCache:
    """Chat id → messages; forgets the chat that was used longest ago. Not safe for threads by itself.

    Args:
        budget_bytes: roughly what the kept messages may take. The last one put in stays, whatever its size.
    """

    def __init__(self, budget_bytes: int = _BUDGET_BYTES) -> None:
        self._budget_bytes = budget_bytes
        self._kept: OrderedDict[str, dict[str, Message]] = OrderedDict()
        self._costs_bytes: dict[str, int] = {}
        self._cost_bytes = 0

    def get(self, chat_id: str) -> tuple[Message, ...] | None:
        """Return the messages of a kept chat in order, or ``None``."""
        if chat_id not in self._kept:
            return None
        self._kept.move_to_end(chat_id)
        return tuple(self._kept[chat_id].values())

    def put(self, chat_id: str, messages: tuple[Message, ...]) -> None:
        self.drop(chat_id)
        self._kept[chat_id] = {message.id: message for message in messages}
        self._costs_bytes[chat_id] = 0
        self._grow(chat_id, _cost_bytes(messages))

    def add(self, chat_id: str, message: Message) -> None:
        """Bring a kept chat up to date with one more message, or with another state of one it has.

        Nothing happens for another chat.
        """
        if chat_id in self._kept:
            before = self._kept[chat_id].get(message.id)
            self._kept[chat_id][message.id] = message
            self._kept.move_to_end(chat_id)
            self._grow(chat_id, _cost_bytes([message]) - (_cost_bytes([before]) if before else 0))

    def drop(self, chat_id: str) -> None:
        if self._kept.pop(chat_id, None) is not None:
            self._cost_bytes -= self._costs_bytes.pop(chat_id)

    def _grow(self, chat_id: str, by_bytes: int) -> None:
        self._costs_bytes[chat_id] += by_bytes
        self._cost_bytes += by_bytes
        while self._cost_bytes > self._budget_bytes and len(self._kept) > 1:
            self.drop(next(iter(self._kept)))


class IdCache:
    """Chat id → ids of all its messages, as JSON; forgets likewise, and is as little safe for threads.

    Args:
        most: how many ids are kept. The last chat put in stays, however many it has.
    """

    def __init__(self, most: int = _KEPT_IDS) -> None:
        self._most = most
        self._count = 0
        self._kept: OrderedDict[str, set[bytes]] = OrderedDict()

    def get(self, chat_id: str) -> set[bytes] | None:
        """Return the ids of a kept chat, or ``None``. The set grows with the chat."""
        if chat_id in self._kept:
            self._kept.move_to_end(chat_id)
        return self._kept.get(chat_id)

    def put(self, chat_id: str, ids: set[bytes]) -> None:
        self.drop(chat_id)
        self._kept[chat_id] = ids
        self._count += len(ids)
        self._shrink()

    def add(self, chat_id: str, message_id: bytes) -> None:
        """Note one more message of a kept chat; nothing happens for another chat."""
        ids = self._kept.get(chat_id)
        if ids is not None and message_id not in ids:
            ids.add(message_id)
            self._count += 1
            self._shrink()

    def drop(self, chat_id: str) -> None:
        self._count -= len(self._kept.pop(chat_id, ()))

    def _shrink(self) -> None:
        while self._count > self._most and len(self._kept) > 1:
            self.drop(next(iter(self._kept)))
