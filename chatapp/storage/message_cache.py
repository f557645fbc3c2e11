"""The messages of the chats that were read last, parsed, within a fixed amount of memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from chatapp.models import Message

_BUDGET_BYTES = 8 << 20
_BYTES_PER_MESSAGE = 1_500


def _cost_bytes(messages: Iterable[Message]) -> int:
    return sum(_BYTES_PER_MESSAGE + len(each.content) + len(each.thinking) for each in messages)


class MessageCache:
    """Chat id → messages; forgets the chat that was used longest ago. Not safe for threads by itself.

    Args:
        budget_bytes: roughly what the kept messages may take. The last one put in stays, whatever its size.
    """

    def __init__(self, budget_bytes: int = _BUDGET_BYTES) -> None:
        self._budget_bytes = budget_bytes
        self._kept: OrderedDict[str, tuple[tuple[Message, ...], int]] = OrderedDict()
        self._cost_bytes = 0

    def get(self, chat_id: str) -> tuple[Message, ...] | None:
        if chat_id not in self._kept:
            return None
        self._kept.move_to_end(chat_id)
        return self._kept[chat_id][0]

    def put(self, chat_id: str, messages: tuple[Message, ...]) -> None:
        self._keep(chat_id, messages, _cost_bytes(messages))

    def add(self, chat_id: str, message: Message) -> None:
        """Bring a kept chat up to date with one more message; nothing happens for another chat."""
        if chat_id in self._kept:
            messages, cost_bytes = self._kept[chat_id]
            self._keep(chat_id, (*messages, message), cost_bytes + _cost_bytes([message]))

    def replace(self, chat_id: str, message: Message) -> None:
        """Bring a kept chat up to date with another state of one of its messages."""
        if chat_id in self._kept:
            messages, cost_bytes = self._kept[chat_id]
            after = tuple(message if each.id == message.id else each for each in messages)
            self._keep(chat_id, after, cost_bytes + len(message.content))

    def drop(self, chat_id: str) -> None:
        _, cost_bytes = self._kept.pop(chat_id, ((), 0))
        self._cost_bytes -= cost_bytes

    def _keep(self, chat_id: str, messages: tuple[Message, ...], cost_bytes: int) -> None:
        self.drop(chat_id)
        self._kept[chat_id] = messages, cost_bytes
        self._cost_bytes += cost_bytes
        while self._cost_bytes > self._budget_bytes and len(self._kept) > 1:
            self.drop(next(iter(self._kept)))
