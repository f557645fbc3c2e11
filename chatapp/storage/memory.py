"""The contract in plain dicts, for tests: nothing is written anywhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime

from chatapp.errors import Conflict
from chatapp.models import Chat, ChatSummary, Message, PartField, Session, User
from chatapp.storage.chats import no_such_chat, no_such_message, no_such_owner, summary_of
from chatapp.storage.user_table import name_key
from chatapp.storage.users import name_taken, no_such_user


class MemoryUserRepository:
    """See :class:`chatapp.storage.base.UserRepository`."""

    def __init__(self, chats: MemoryChatRepository) -> None:
        self._chats = chats
        self._users: dict[str, User] = {}
        self._lock = threading.RLock()

    def get(self, user_id: str) -> User:
        with self._lock:
            if user_id not in self._users:
                raise no_such_user()
            return self._users[user_id]

    def by_name(self, username: str) -> User | None:
        with self._lock:
            return next((u for u in self._users.values() if name_key(u.username) == name_key(username)), None)

    def all(self) -> Sequence[User]:
        with self._lock:
            return tuple(self._users.values())

    def count(self) -> int:
        return len(self._users)

    def add(self, user: User) -> User:
        with self._lock:
            if user.id in self._users:
                raise Conflict("A user with this id exists already.")
            self._check_name_free(user)
            self._users[user.id] = user if self._users else user.model_copy(update={"role": "root"})
            self._chats.gone_owners.discard(user.id)
            return self._users[user.id]

    def update(self, user_id: str, change: Callable[[User], User]) -> User:
        with self._lock:
            user = change(self.get(user_id)).model_copy(update={"id": user_id})
            self._check_name_free(user)
            self._users[user_id] = user
            return user

    def _check_name_free(self, user: User) -> None:
        taken = self.by_name(user.username)
        if taken is not None and taken.id != user.id:
            raise name_taken()

    def touch_session(self, user_id: str, secret_sha256: str, used_at: datetime) -> None:
        def used(session: Session) -> Session:
            if session.secret_sha256 != secret_sha256:
                return session
            return session.model_copy(update={"last_used_at": max(used_at, session.last_used_at)})

        with self._lock:
            if user := self._users.get(user_id):
                sessions = tuple(used(each) for each in user.sessions)
                self._users[user_id] = user.model_copy(update={"sessions": sessions})

    def delete(self, user_id: str) -> None:
        with self._lock:
            self.get(user_id)
            del self._users[user_id]
            self._chats.delete_all_of(user_id)


class MemoryChatRepository:
    """See :class:`chatapp.storage.base.ChatRepository`."""

    def __init__(self) -> None:
        self.gone_owners: set[str] = set()
        self._chats: dict[str, Chat] = {}
        self._lock = threading.RLock()

    def get(self, owner_id: str, chat_id: str) -> Chat:
        with self._lock:
            chat = self._chats.get(chat_id)
            if chat is None or chat.owner_id != owner_id:
                raise no_such_chat()
            return chat

    def list(self, owner_id: str) -> Sequence[ChatSummary]:
        with self._lock:
            mine = [summary_of(chat) for chat in self._chats.values() if chat.owner_id == owner_id]
        return sorted(mine, key=lambda summary: (summary.updated_at, summary.id), reverse=True)

    def deleted(self) -> Sequence[ChatSummary]:
        with self._lock:
            return [summary_of(chat) for chat in self._chats.values() if chat.deleted_at]

    def add(self, chat: Chat) -> Chat:
        with self._lock:
            if chat.owner_id in self.gone_owners:
                raise no_such_owner()
            if chat.id in self._chats:
                raise Conflict("A chat with this id exists already.")
            self._chats[chat.id] = chat.model_copy(update={"messages": ()})
            self.add_messages(chat.owner_id, chat.id, chat.messages)
            return self._chats[chat.id]

    def update(
        self, owner_id: str, chat_id: str, change: Callable[[ChatSummary], ChatSummary]
    ) -> ChatSummary:
        with self._lock:
            chat = self.get(owner_id, chat_id)
            changed = dict(summary_of(change(summary_of(chat)))) | {"id": chat_id, "owner_id": owner_id}
            self._chats[chat_id] = Chat.model_construct(**changed, messages=chat.messages)
            return summary_of(self._chats[chat_id])

    def delete(self, owner_id: str, chat_id: str) -> None:
        with self._lock:
            self.get(owner_id, chat_id)
            del self._chats[chat_id]

    def delete_all_of(self, owner_id: str) -> None:
        """Remove every chat of a user who is being deleted, and take no more of them."""
        with self._lock:
            self.gone_owners.add(owner_id)
            self._chats = {each.id: each for each in self._chats.values() if each.owner_id != owner_id}

    def add_messages(
        self,
        owner_id: str,
        chat_id: str,
        messages: Sequence[Message],
        change: Callable[[ChatSummary], ChatSummary] | None = None,
    ) -> Sequence[Message]:
        with self._lock:
            before = self.get(owner_id, chat_id)
            if change is not None and any(before.message(message.id) is None for message in messages):
                self.update(owner_id, chat_id, change)
            for message in messages:
                chat = self.get(owner_id, chat_id)
                if chat.message(message.id) is None:
                    updated_at = max(chat.updated_at, message.created_at)
                    changed = {"messages": (*chat.messages, message), "updated_at": updated_at}
                    self._chats[chat_id] = chat.model_copy(update=changed)
            return [self._stored(owner_id, chat_id, each.id) for each in messages]

    def _stored(self, owner_id: str, chat_id: str, message_id: str) -> Message:
        message = self.get(owner_id, chat_id).message(message_id)
        if message is None:
            raise no_such_message()
        return message

    def append_part(
        self,
        owner_id: str,
        chat_id: str,
        message_id: str,
        offset: int,
        text: str,
        field: PartField = "content",
    ) -> None:
        with self._lock:
            chat = self._chats.get(chat_id)
            message = chat.message(message_id) if chat and chat.owner_id == owner_id else None
            if message is None or message.status != "streaming":
                return
            before: str = getattr(message, field)
            if offset <= len(before) < offset + len(text):
                self._replace(owner_id, chat_id, message.model_copy(update={field: before[:offset] + text}))

    def finish_message(self, owner_id: str, chat_id: str, message: Message) -> Message:
        with self._lock:
            self._stored(owner_id, chat_id, message.id)
            self._replace(owner_id, chat_id, message)
            return message

    def _replace(self, owner_id: str, chat_id: str, message: Message) -> None:
        chat = self.get(owner_id, chat_id)
        messages = tuple(message if each.id == message.id else each for each in chat.messages)
        self._chats[chat_id] = chat.model_copy(update={"messages": messages})

    def interrupt_streaming(self) -> int:
        with self._lock:
            streaming = [
                (chat, message)
                for chat in self._chats.values()
                for message in chat.messages
                if message.status == "streaming"
            ]
            for chat, message in streaming:
                self._replace(chat.owner_id, chat.id, message.model_copy(update={"status": "interrupted"}))
            return len(streaming)


class MemoryStore:
    """See :class:`chatapp.storage.base.Store`. Everything is gone with the object."""

    def __init__(self) -> None:
        self.chats = MemoryChatRepository()
        self.users = MemoryUserRepository(self.chats)
        self.notices: list[str] = []
        self.problem: str | None = None

    def checkpoint(self) -> None:
        """Do nothing: there are no files."""

    def close(self) -> None:
        """Do nothing: there is nothing to let go of."""
