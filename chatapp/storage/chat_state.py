"""One chat as the store holds it: a line in the snapshot, and what was added or replaced since."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import from_json

from chatapp.models import ChatSummary, Message
from chatapp.storage.lines import members_start
from chatapp.storage.snapshot import Line

MESSAGES_MARK = b',"messages":['
STREAMING_MARK = b'"status":"streaming"'
_SUMMARY_BYTES = 1024
_MESSAGE = TypeAdapter(Message).serializer
_MESSAGES = TypeAdapter(tuple[Message, ...])
_NOTHING: Mapping[str, bytes] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ChatState:
    """Never changed, only replaced, so that a reader or a checkpoint may hold on to it.

    Messages are kept as the JSON that a snapshot will hold: a third of what they take when parsed.

    Args:
        put: the summary as it was last put; messages that were added since may have moved its ``updated_at`` on.
        line: the messages that a snapshot holds; ``None`` for a chat that is in none.
        added: messages after those of the line, by id and in order.
        replaced: newer states of messages of the line, by message id.
        newest_at: the time of the newest message, when it is later than what was put.
    """

    put: ChatSummary
    line: Line | None = None
    added: Mapping[str, bytes] = field(default_factory=lambda: _NOTHING)
    replaced: Mapping[str, bytes] = field(default_factory=lambda: _NOTHING)
    newest_at: datetime | None = None

    @property
    def summary(self) -> ChatSummary:
        """The chat without its messages, as it is now."""
        return self.put.model_copy(update={"updated_at": self.newest_at}) if self.newest_at else self.put

    def with_summary(self, summary: ChatSummary) -> ChatState:
        return ChatState(summary, self.line, self.added, self.replaced)

    def with_added(self, message: Message) -> ChatState:
        """Return the chat with one more message; its ``updated_at`` never runs backwards."""
        newest_at = self.newest_at
        if message.created_at > (newest_at or self.put.updated_at):
            newest_at = message.created_at
        return ChatState(self.put, self.line, _with(self.added, message), self.replaced, newest_at)

    def with_replaced(self, message: Message) -> ChatState:
        """Return the chat with another state of the message that has the same id."""
        if message.id in self.added:
            return ChatState(self.put, self.line, _with(self.added, message), self.replaced, self.newest_at)
        return ChatState(self.put, self.line, self.added, _with(self.replaced, message), self.newest_at)

    def recent(self, message_id: str) -> Message | None:
        """Return a message that was added or replaced since the snapshot, or ``None``."""
        text = self.added.get(message_id) or self.replaced.get(message_id)
        return None if text is None else Message.model_validate_json(text)

    def may_hold(self, message_id: str) -> bool:
        """Return ``False`` when the snapshot's line certainly has no message with this id, without parsing it."""
        return self.line is not None and _start(message_id) in self.line.members()

    def streaming(self) -> list[Message]:
        """Return the messages whose status is ``streaming``; the line is parsed only when it holds one."""
        if self.line is not None and STREAMING_MARK in self.line.members():
            messages = self.messages()
        else:
            messages = _parsed(
                each for each in (*self.replaced.values(), *self.added.values()) if STREAMING_MARK in each
            )
        return [each for each in messages if each.status == "streaming"]

    def messages(self) -> tuple[Message, ...]:
        """Return all messages in order. Raises ``StoreDamaged`` when the line cannot be read any more."""
        newer = {key: Message.model_validate_json(text) for key, text in self.replaced.items()}
        return tuple(
            newer.get(each.id, each) for each in _parsed((*self._line_texts(), *self.added.values()))
        )

    def _line_texts(self) -> Iterable[bytes]:
        """Return the line's messages as one piece of JSON, or nothing when it has none."""
        stored = split_members(self.line.members())[1] if self.line else b""
        return [stored] if stored else []

    def members(self) -> bytes:
        """Return the chat's JSON for a snapshot, after the opening brace. Old messages are not parsed."""
        summary = self.summary.model_dump_json(exclude={"id"}).encode()
        texts: Iterable[bytes] = (*self._line_texts(), *self.added.values())
        if self.replaced:
            texts = (self.replaced.get(each.id) or text_of(each) for each in _parsed(texts))
        return summary[1:-1] + MESSAGES_MARK + b",".join(texts) + b"]}"


def text_of(message: Message) -> bytes:
    """Return a message as the files hold it."""
    return _MESSAGE.to_json(message)


def _with(texts: Mapping[str, bytes], message: Message) -> dict[str, bytes]:
    """Return a copy with this message in it, in its place or at the end."""
    copied = dict(texts)
    copied[message.id] = text_of(message)
    return copied


def _parsed(texts: Iterable[bytes]) -> tuple[Message, ...]:
    return _MESSAGES.validate_json(b"[" + b",".join(texts) + b"]")


def _start(message_id: str) -> bytes:
    """Return how the text of a message with this id begins, up to the next field."""
    return b'{"id":' + _json(message_id) + b","


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
