"""All chats in memory: where their lines are, what changed since, and the few that are kept parsed."""

from __future__ import annotations

import re
import threading
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

from chatapp.models import Chat, ChatSummary, Message
from chatapp.storage.chat_state import MESSAGES_MARK, STREAMING_MARK, ChatState, id_of, state_of
from chatapp.storage.lines import Kind
from chatapp.storage.message_cache import IdCache, MessageCache
from chatapp.storage.operations import (
    ChatDelete,
    ChatOperation,
    ChatPut,
    MessageAdd,
    MessageDone,
    MessagePart,
)
from chatapp.storage.snapshot import Snapshot, SnapshotWriter

_KEPT_STATES = 5_000
_NOT_DELETED = b'"deleted_at":null'
_OWNER = re.compile(rb'"owner_id":("[^"\\]*(?:\\.[^"\\]*)*")')


class ChatIndex:
    """What has to be known about the chats of a snapshot without parsing them."""

    def __init__(self) -> None:
        self.owners: dict[str, set[str]] = {}
        self.streaming: set[str] = set()
        """Chats that may hold a message with the status ``streaming``."""
        self.deleted: set[str] = set()
        """Chats that may carry ``deleted_at``."""

    def note(self, chat_id: str, members: bytes) -> None:
        """Take in one line. Raises ``ValueError`` when it is not a chat."""
        owner = _OWNER.match(members)
        if owner is None:
            raise ValueError(f"the chat {chat_id} names no owner")
        self.owners.setdefault(from_json(owner[1]), set()).add(chat_id)
        if STREAMING_MARK in members:
            self.streaming.add(chat_id)
        if members.find(_NOT_DELETED, 0, members.find(MESSAGES_MARK)) < 0:
            self.deleted.add(chat_id)


@dataclass(frozen=True, slots=True)
class FrozenChats:
    """All chats at one moment, for a checkpoint that works while the table goes on changing."""

    snapshot: Snapshot
    changed: dict[str, ChatState | None]
    kind: Kind = "chats"
    site: dict[str, Any] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of chats."""
        gone_or_moved = sum(1 for chat_id in self.changed if chat_id in self.snapshot)
        return len(self.snapshot) - gone_or_moved + sum(1 for state in self.changed.values() if state)

    def write(self, writer: SnapshotWriter) -> None:
        """Write the unchanged lines as they are, then the changed chats."""
        for run in self.snapshot.runs(self.changed):
            if self.snapshot.was_edited():
                self._rewrite(writer, run)
            else:
                writer.keep(self.snapshot, run)
        for chat_id, state in self.changed.items():
            if state is not None:
                writer.add(chat_id, state.members())

    def _rewrite(self, writer: SnapshotWriter, run: Iterable[str]) -> None:
        """Check every line before copying it. Raises ``StoreDamaged`` at the first that was tampered with."""
        for chat_id in run:
            if line := self.snapshot.line(chat_id):
                writer.add(chat_id, line.members())


class ChatTable:
    """The chats that readers see: those of the snapshot, with every durable change since. Safe for any thread.

    Args:
        held: chats whose lines in the snapshot cannot be used as they are.
    """

    def __init__(self, snapshot: Snapshot, index: ChatIndex, held: Iterable[ChatState] = ()) -> None:
        self._snapshot = snapshot
        self._owners = index.owners
        self._streaming = index.streaming
        self._deleted = index.deleted
        self._changed: dict[str, ChatState | None] = {}
        """Chats that differ from the snapshot; ``None`` for a deleted one."""
        self._unchanged: dict[str, ChatState] = {}
        """Some chats that do not, kept because they were looked at."""
        self._messages = MessageCache()
        self._ids = IdCache()
        self._lock = threading.Lock()
        for state in held:
            self._hold(state)

    def _hold(self, state: ChatState) -> None:
        chat_id, owner_id = state.summary.id, state.summary.owner_id
        self._change(chat_id, state)
        self._owners.setdefault(owner_id, set()).add(chat_id)
        if state.summary.deleted_at:
            self._deleted.add(chat_id)
        if state.streaming():
            self._streaming.add(chat_id)

    def state(self, chat_id: str) -> ChatState | None:
        """Return a chat, or ``None``."""
        with self._lock:
            return self._state(chat_id)

    def _state(self, chat_id: str) -> ChatState | None:
        if chat_id in self._changed:
            return self._changed[chat_id]
        if chat_id not in self._unchanged and (line := self._snapshot.line(chat_id)):
            self._keep(chat_id, state_of(chat_id, line))
        return self._unchanged.get(chat_id)

    def _keep(self, chat_id: str, state: ChatState) -> None:
        if len(self._unchanged) >= _KEPT_STATES:
            # The last one in goes first: somebody's list of more chats than this would otherwise find none of them.
            self._unchanged.popitem()
        self._unchanged[chat_id] = state

    def chat(self, chat_id: str) -> Chat | None:
        """Return a chat with its messages, or ``None``."""
        with self._lock:
            state = self._state(chat_id)
            messages = self._messages.get(chat_id)
        if state is None:
            return None
        if messages is None:
            messages = self._read_messages(chat_id, state)
        return Chat.model_construct(**dict(state.summary), messages=messages)

    def _read_messages(self, chat_id: str, state: ChatState) -> tuple[Message, ...]:
        """Parse a chat without holding others up, and keep it unless it has changed meanwhile."""
        messages = state.messages()
        with self._lock:
            if self._state(chat_id) is state:
                self._messages.put(chat_id, messages)
        return messages

    def message(self, chat_id: str, message_id: str) -> Message | None:
        """Return a message; ``None`` when it or its chat does not exist. Costs little for one that does not."""
        with self._lock:
            state = self._state(chat_id)
            ids = self._ids.get(chat_id)
        if state is None:
            return None
        if recent := state.recent(message_id):
            return recent
        if id_of(message_id) not in (self._read_ids(chat_id, state) if ids is None else ids):
            return None
        with self._lock:
            messages = self._messages.get(chat_id)
        return _with_id(messages or self._read_messages(chat_id, state), message_id)

    def _read_ids(self, chat_id: str, state: ChatState) -> set[bytes]:
        """Find out which messages a chat has, and remember it unless the chat has changed meanwhile."""
        ids = state.ids()
        with self._lock:
            if self._state(chat_id) is state:
                self._ids.put(chat_id, ids)
        return ids

    def summaries(self, owner_id: str) -> list[ChatSummary]:
        """Return the owner's chats in no order."""
        with self._lock:
            chat_ids = list(self._owners.get(owner_id, ()))
        return [state.summary for chat_id in chat_ids if (state := self.state(chat_id))]

    def ids_of(self, owner_id: str) -> list[str]:
        with self._lock:
            return sorted(self._owners.get(owner_id, ()))

    def ids(self) -> list[str]:
        """Return the ids of all chats, owner by owner."""
        with self._lock:
            return [chat_id for chats in self._owners.values() for chat_id in sorted(chats)]

    def count_without(self, user_ids: Container[str]) -> int:
        """Return how many chats belong to nobody of these."""
        with self._lock:
            return sum(len(chats) for owner_id, chats in self._owners.items() if owner_id not in user_ids)

    def deleted(self) -> list[ChatSummary]:
        """Return all chats that carry ``deleted_at``; only those that may are looked at."""
        with self._lock:
            states = [self._state(chat_id) for chat_id in sorted(self._deleted)]
            return [state.summary for state in states if state and state.summary.deleted_at]

    def streaming(self) -> list[tuple[str, Message]]:
        """Return every message with the status ``streaming``, with the id of its chat."""
        with self._lock:
            states = [(chat_id, self._state(chat_id)) for chat_id in sorted(self._streaming)]
            return [(chat_id, each) for chat_id, state in states if state for each in state.streaming()]

    def apply(self, operation: ChatOperation) -> None:
        """Show a durable change to readers. A change of a chat that is gone is passed over."""
        with self._lock:
            match operation:
                case ChatPut(summary):
                    self._put(summary)
                case ChatDelete(chat_id):
                    self._delete(chat_id)
                case MessageAdd(chat_id, message):
                    self._add(chat_id, message)
                case MessagePart():
                    self._continue(operation)
                case MessageDone(chat_id, message):
                    self._replace(chat_id, message)

    def _put(self, summary: ChatSummary) -> None:
        state = self._state(summary.id)
        self._change(summary.id, state.with_summary(summary) if state else ChatState(summary))
        self._owners.setdefault(summary.owner_id, set()).add(summary.id)
        if summary.deleted_at:
            self._deleted.add(summary.id)

    def _change(self, chat_id: str, state: ChatState | None) -> None:
        self._changed[chat_id] = state
        self._unchanged.pop(chat_id, None)

    def _delete(self, chat_id: str) -> None:
        if state := self._state(chat_id):
            owned = self._owners[state.summary.owner_id]
            owned.discard(chat_id)
            if not owned:
                del self._owners[state.summary.owner_id]
            self._messages.drop(chat_id)
            self._ids.drop(chat_id)
            self._deleted.discard(chat_id)
            self._streaming.discard(chat_id)
            self._change(chat_id, None)

    def _add(self, chat_id: str, message: Message) -> None:
        if state := self._state(chat_id):
            self._change(chat_id, state.with_added(message))
            if message.status == "streaming":
                self._streaming.add(chat_id)
            self._messages.add(chat_id, message)
            self._ids.add(chat_id, id_of(message.id))

    def _replace(self, chat_id: str, message: Message) -> None:
        if state := self._state(chat_id):
            self._change(chat_id, state.with_replaced(message))
            if message.status == "streaming":
                self._streaming.add(chat_id)
            self._messages.add(chat_id, message)

    def _continue(self, part: MessagePart) -> None:
        """Add a part to a streaming message; one that is there already or does not connect changes nothing."""
        state = self._state(part.chat_id)
        if state is None:
            return
        message = state.recent(part.message_id) or _with_id(state.messages(), part.message_id)
        if message is None or message.status != "streaming":
            return
        before: str = getattr(message, part.field)
        if part.offset <= len(before) < part.offset + len(part.text):
            self._replace(
                part.chat_id, message.model_copy(update={part.field: before[: part.offset] + part.text})
            )

    def freeze(self) -> FrozenChats:
        """Return all chats as they are now."""
        with self._lock:
            return FrozenChats(self._snapshot, dict(self._changed))

    def adopt(self, frozen: FrozenChats, snapshot: Snapshot) -> None:
        """Go on from a new snapshot that holds ``frozen``; what changed since stays changed."""
        with self._lock:
            self._snapshot = snapshot
            looked_at, self._unchanged = self._unchanged, {}
            for chat_id, written in frozen.changed.items():
                now = self._changed[chat_id]
                if now is written:
                    del self._changed[chat_id]
                    if written is not None:
                        looked_at[chat_id] = written
                elif now is not None and written is not None:
                    self._changed[chat_id] = now.after(written, snapshot.line(chat_id))
            for chat_id, state in looked_at.items():
                self._keep(chat_id, ChatState(state.summary, snapshot.line(chat_id)))


def _with_id(messages: Iterable[Message], message_id: str) -> Message | None:
    return next((each for each in messages if each.id == message_id), None)
