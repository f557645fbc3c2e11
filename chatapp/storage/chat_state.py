"""One chat as the store holds it: a line in the snapshot, and what was added or replaced since."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic_core import from_json

from chatapp.models import ChatSummary, Message
from chatapp.storage.lines import members_start
from chatapp.storage.snapshot import Line

MESSAGES_MARK = b',"messages":['
STREAMING_MARK = b'"status":"streaming"'
_SUMMARY_BYTES = 4096


@dataclass(frozen=True, slots=True)
class ChatState:
    """Never changed, only replaced, so that a reader or a checkpoint may hold on to it.

    Args:
        line: the messages that a snapshot holds; ``None`` for a chat that is in none.
        added: messages after those of the line, in order.
        replaced: newer states of messages of the line, by message id.
    """

    summary: ChatSummary
    line: Line | None = None
    added: tuple[Message, ...] = ()
    replaced: Mapping[str, Message] = field(default_factory=dict)

    def with_summary(self, summary: ChatSummary) -> ChatState:
        return replace(self, summary=summary)

    def with_added(self, message: Message) -> ChatState:
        """Return the chat with one more message; its ``updated_at`` never runs backwards."""
        updated_at = max(self.summary.updated_at, message.created_at)
        summary = self.summary.model_copy(update={"updated_at": updated_at})
        return replace(self, summary=summary, added=(*self.added, message))

    def with_replaced(self, message: Message) -> ChatState:
        """Return the chat with another state of the message that has the same id."""
        if any(each.id == message.id for each in self.added):
            return replace(self, added=tuple(message if m.id == message.id else m for m in self.added))
        return replace(self, replaced={**self.replaced, message.id: message})

    def recent(self, message_id: str) -> Message | None:
        """Return a message that was added or replaced since the snapshot, or ``None``."""
        if message_id in self.replaced:
            return self.replaced[message_id]
        return next((each for each in reversed(self.added) if each.id == message_id), None)

    def may_hold(self, message_id: str) -> bool:
        """Return ``False`` when the snapshot's line certainly has no message with this id, without parsing it."""
        return self.line is not None and b'{"id":' + _json(message_id) in self.line.members()

    def streaming(self) -> list[Message]:
        """Return the messages whose status is ``streaming``; the line is parsed only when it holds one."""
        if self.line is not None and STREAMING_MARK in self.line.members():
            return [each for each in self.messages() if each.status == "streaming"]
        return [each for each in (*self.replaced.values(), *self.added) if each.status == "streaming"]

    def messages(self) -> tuple[Message, ...]:
        """Return all messages in order. Raises ``StoreDamaged`` when the line cannot be read any more."""
        return (*self._line_messages(), *self.added)

    def _line_messages(self) -> Iterable[Message]:
        if self.line is None:
            return []
        stored = from_json(b"[" + split_members(self.line.members())[1] + b"]")
        parsed = [Message.model_validate(each) for each in stored]
        return [self.replaced.get(each.id, each) for each in parsed]

    def members(self) -> bytes:
        """Return the chat's JSON for a snapshot, after the opening brace. Old messages are not parsed."""
        summary = self.summary.model_dump_json(exclude={"id"}).encode()
        return summary[1:-1] + MESSAGES_MARK + b",".join(self._message_texts()) + b"]}"

    def _message_texts(self) -> Iterable[bytes]:
        if self.replaced:
            yield from (each.model_dump_json().encode() for each in self._line_messages())
        elif self.line is not None and (stored := split_members(self.line.members())[1]):
            yield stored
        yield from (each.model_dump_json().encode() for each in self.added)


def _json(text: str) -> bytes:
    return json.dumps(text, ensure_ascii=False).encode()


def split_members(members: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the summary, and the messages as JSON without their brackets. Raises ``ValueError``.

    Inside a text the mark cannot occur, its quotation marks would be escaped; inside a field of a later version
    it can, and then what stands before it is no whole object.
    """
    mark = members.find(MESSAGES_MARK)
    while mark >= 0:
        with suppress(ValueError):
            summary: dict[str, Any] = from_json(b"{" + members[:mark] + b"}")
            return summary, members[mark + len(MESSAGES_MARK) : -len(b"]}")]
        mark = members.find(MESSAGES_MARK, mark + 1)
    raise ValueError("a chat without messages")


def state_of(chat_id: str, line: Line) -> ChatState:
    """Return an unchanged chat. Only the beginning of its line is read, when the summary is within it."""
    beginning = line.beginning(_SUMMARY_BYTES)
    try:
        summary, _ = split_members(beginning[members_start(beginning) :])
    except ValueError:
        summary, _ = split_members(line.members())
    return ChatState(ChatSummary.model_validate({**summary, "id": chat_id}), line)
