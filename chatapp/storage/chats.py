"""Chats on the journal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chatapp.errors import Conflict, NotFound
from chatapp.models import Chat, ChatSummary, Message, PartField
from chatapp.storage.chat_state import ChatState
from chatapp.storage.chat_table import ChatTable
from chatapp.storage.journal import Journal
from chatapp.storage.locks import Turns
from chatapp.storage.operations import ChatDelete, ChatPut, MessageAdd, MessageDone, MessagePart, Operation
from chatapp.storage.parts import PartBuffer


class JsonChatRepository:
    """See :class:`chatapp.storage.base.ChatRepository`.

    A change holds its chat's turn from the decision until it is stored; changes of different chats go to the
    disk together.
    """

    def __init__(self, table: ChatTable, journal: Journal, parts: PartBuffer, turns: Turns) -> None:
        self._table = table
        self._journal = journal
        self._parts = parts
        self._turns = turns

    def get(self, owner_id: str, chat_id: str) -> Chat:
        chat = self._table.chat(chat_id)
        if chat is None or chat.owner_id != owner_id:
            raise no_such_chat()
        return chat

    def list(self, owner_id: str) -> Sequence[ChatSummary]:
        return sorted(self._table.summaries(owner_id), key=_recency, reverse=True)

    def deleted(self) -> Sequence[ChatSummary]:
        return self._table.deleted()

    def add(self, chat: Chat) -> Chat:
        with self._turns.of(chat.id):
            if chat.owner_id in self._turns.gone_owners:
                raise no_such_owner()
            if self._table.state(chat.id):
                raise Conflict("A chat with this id exists already.")
            messages = [MessageAdd(chat.id, message) for message in chat.messages]
            self._journal.commit([ChatPut(summary_of(chat)), *messages])
            return self.get(chat.owner_id, chat.id)

    def update(
        self, owner_id: str, chat_id: str, change: Callable[[ChatSummary], ChatSummary]
    ) -> ChatSummary:
        with self._turns.of(chat_id):
            before = self._owned(owner_id, chat_id).summary
            self._journal.commit([_put(change(before), before)])
            return self._owned(owner_id, chat_id).summary

    def delete(self, owner_id: str, chat_id: str) -> None:
        with self._turns.of(chat_id):
            self._owned(owner_id, chat_id)
            self._journal.commit([ChatDelete(chat_id)])

    def add_messages(
        self,
        owner_id: str,
        chat_id: str,
        messages: Sequence[Message],
        change: Callable[[ChatSummary], ChatSummary] | None = None,
    ) -> Sequence[Message]:
        with self._turns.of(chat_id):
            before = self._owned(owner_id, chat_id).summary
            known = {each.id: self._table.message(chat_id, each.id) for each in messages}
            new = {each.id: each for each in reversed(messages) if known[each.id] is None}
            if new:
                added = [MessageAdd(chat_id, new[each]) for each in known if each in new]
                changed = change(before) if change else before
                self._journal.commit([*added] if changed == before else [_put(changed, before), *added])
            return [self._stored(chat_id, each.id) for each in messages]

    def append_part(
        self,
        owner_id: str,
        chat_id: str,
        message_id: str,
        offset: int,
        text: str,
        field: PartField = "content",
    ) -> None:
        state = self._table.state(chat_id)
        if state is not None and state.summary.owner_id == owner_id:
            self._parts.add(MessagePart(chat_id, message_id, offset, text, field))

    def finish_message(self, owner_id: str, chat_id: str, message: Message) -> Message:
        with self._turns.of(chat_id):
            self._owned(owner_id, chat_id)
            self._stored(chat_id, message.id)
            self._journal.commit([MessageDone(chat_id, message)])
            self._parts.drop(chat_id, message.id)
            return self._stored(chat_id, message.id)

    def interrupt_streaming(self) -> int:
        self._parts.flush()
        interrupted: list[Operation] = [
            MessageDone(chat_id, message.model_copy(update={"status": "interrupted"}))
            for chat_id, message in self._table.streaming()
        ]
        if interrupted:
            self._journal.commit(interrupted)
        return len(interrupted)

    def _owned(self, owner_id: str, chat_id: str) -> ChatState:
        state = self._table.state(chat_id)
        if state is None or state.summary.owner_id != owner_id:
            raise no_such_chat()
        return state

    def _stored(self, chat_id: str, message_id: str) -> Message:
        message = self._table.message(chat_id, message_id)
        if message is None:
            raise no_such_message()
        return message


def _put(changed: ChatSummary, before: ChatSummary) -> ChatPut:
    """Store what was changed, but never under another id or owner."""
    return ChatPut(summary_of(changed).model_copy(update={"id": before.id, "owner_id": before.owner_id}))


def _recency(summary: ChatSummary) -> tuple[float, str]:
    return summary.updated_at.timestamp(), summary.id


def summary_of(chat: ChatSummary) -> ChatSummary:
    """Return the chat without its messages."""
    return ChatSummary.model_construct(**{name: value for name, value in chat if name != "messages"})


def no_such_chat() -> NotFound:
    return NotFound("This chat does not exist, or it is not yours.")


def no_such_owner() -> NotFound:
    return NotFound("The account of this chat does not exist any more.")


def no_such_message() -> NotFound:
    return NotFound("This message does not exist.")
