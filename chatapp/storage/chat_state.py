"""One chat as the store holds it: a line in the snapshot, and what was added or replaced since."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import from_json

from chatapp.models import ChatSummary, Message
from chatapp.storage.lines import members_start
from chatapp.storage.message_log import EMPTY_LOG, MessageLog
from chatapp.storage.snapshot import Line

MESSAGES_MARK = b',"messages":['
STREAMING_MARK = b'"status":"streaming"'
_SUMMARY_BYTES = 1024
_MESSAGE = TypeAdapter(Message).serializer
_MESSAGES = TypeAdapter(tuple[Message, ...])
_ID = re.compile(rb'\{"id":("(?:[^"\\]|\\.)*")')


@dataclass(frozen=True, slots=True)
class ChatState:
    """Never changed, only replaced, so that a reader or a checkpoint may hold on to it.

    Newer messages are kept as the JSON that a snapshot will hold: a third of what they take when parsed.

    Args:
        put: the summary as it was last put; messages that were added since may have moved its ``updated_at`` on.
        line: the messages that a snapshot holds; ``None`` for a chat that is in none.
        log: messages that are newer than the line, or newer states of its messages.
        length: how much of the log belongs to this state.
        replaces: whether the log may hold newer states of the line's messages.
        newest_at: the time of the newest message, when it is later than what was put.
    """

    put: ChatSummary
    line: Line | None = None
    log: MessageLog = EMPTY_LOG
    length: int = 0
    replaces: bool = False
    newest_at: datetime | None = None

    @property
    def summary(self) -> ChatSummary:
        """The chat without its messages, as it is now."""
        return self.put.model_copy(update={"updated_at": self.newest_at}) if self.newest_at else self.put

    def with_summary(self, summary: ChatSummary) -> ChatState:
        return ChatState(summary, self.line, self.log, self.length, self.replaces)

    def with_added(self, message: Message) -> ChatState:
        """Return the chat with one more message; its ``updated_at`` never runs backwards."""
        newest_at = self.newest_at
        if message.created_at > (newest_at or self.put.updated_at):
            newest_at = message.created_at
        return self._with(message, self.replaces, newest_at)

    def with_replaced(self, message: Message) -> ChatState:
        """Return the chat with another state of the message that has the same id."""
        is_of_line = self.log.get(self.length, message.id) is None
        return self._with(message, self.replaces or is_of_line, self.newest_at)

    def _with(self, message: Message, replaces: bool, newest_at: datetime | None) -> ChatState:
        log = self.log.with_entry(self.length, message.id, text_of(message))
        return ChatState(self.put, self.line, log, len(log), replaces, newest_at)

    def after(self, written: ChatState, line: Line | None) -> ChatState:
        """Return this chat on top of a new line, which holds ``written``, an earlier state of it."""
        known = written.log.texts(written.length)
        newer = {
            message_id: text
            for message_id, text in self.log.texts(self.length).items()
            if known.get(message_id) is not text
        }
        replaces = self.replaces or any(message_id in known for message_id in newer)
        log = MessageLog(newer.items()) if newer else EMPTY_LOG
        return ChatState(self.put, line, log, len(newer), replaces, self.newest_at)

    def recent(self, message_id: str) -> Message | None:
        """Return a message that was added or replaced since the snapshot, or ``None``."""
        text = self.log.get(self.length, message_id)
        return None if text is None else Message.model_validate_json(text)

    def ids(self) -> set[bytes]:
        """Return at least the ids of all messages, as JSON. Nothing is parsed."""
        stored = set(_ID.findall(self.line.members())) if self.line else set()
        return stored | {id_of(message_id) for message_id in self.log.texts(self.length)}

    def streaming(self) -> list[Message]:
        """Return the messages whose status is ``streaming``; the line is parsed only when it holds one."""
        if self.line is not None and STREAMING_MARK in self.line.members():
            messages = self.messages()
        else:
            texts = self.log.texts(self.length).values()
            messages = _parsed(each for each in texts if STREAMING_MARK in each)
        return [each for each in messages if each.status == "streaming"]

    def messages(self) -> tuple[Message, ...]:
        """Return all messages in order. Raises ``StoreDamaged`` when the line cannot be read any more."""
        newer = self.log.texts(self.length)
        if not self.replaces:
            return _parsed((*self._line_texts(), *newer.values()))
        stored = [
            Message.model_validate_json(newer.pop(each.id)) if each.id in newer else each
            for each in _parsed(self._line_texts())
        ]
        return (*stored, *_parsed(newer.values()))

    def _line_texts(self) -> Iterable[bytes]:
        """Return the line's messages as one piece of JSON, or nothing when it has none."""
        stored = split_members(self.line.members())[1] if self.line else b""
        return [stored] if stored else []

    def members(self) -> bytes:
        """Return the chat's JSON for a snapshot, after the opening brace. Old messages are not parsed."""
        summary = self.summary.model_dump_json(exclude={"id"}).encode()
        newer = self.log.texts(self.length)
        texts: Iterable[bytes] = (*self._line_texts(), *newer.values())
        if self.replaces:
            stored = [
                newer.pop(each.id) if each.id in newer else text_of(each)
                for each in _parsed(self._line_texts())
            ]
            texts = (*stored, *newer.values())
        return summary[1:-1] + MESSAGES_MARK + b",".join(texts) + b"]}"


def new_chat(summary: ChatSummary, texts: Mapping[str, bytes]) -> ChatState:
    """Return a chat that is in no snapshot.

    Args:
        texts: its messages by id, as :func:`text_of` gives them.
    """
    return ChatState(summary, log=MessageLog(texts.items()), length=len(texts))


def text_of(message: Message) -> bytes:
    """Return a message as the files hold it."""
    return _MESSAGE.to_json(message)


def _parsed(texts: Iterable[bytes]) -> tuple[Message, ...]:
    return _MESSAGES.validate_json(b"[" + b",".join(texts) + b"]")


def id_of(message_id: str) -> bytes:
    """Return an id as it stands in a message's text."""
    return json.dumps(message_id, ensure_ascii=False).encode()


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
