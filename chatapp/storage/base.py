"""The contract of the stores. Services see these protocols; the factory passes the real ones.

Every method that changes something returns only when the change is durable, or raises
:class:`~chatapp.errors.StorageFailed` and has changed nothing. All methods may be called from any thread.
A chat is always read for an owner: another person's chat and a missing one are the same ``NotFound``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from chatapp.models import Chat, ChatSummary, Message, PartField, User


class UserRepository(Protocol):
    """Stored accounts."""

    def get(self, user_id: str) -> User:
        """Return the user. Raises ``NotFound``."""
        ...

    def by_name(self, username: str) -> User | None:
        """Return the user of that name without regard to case, or ``None``."""
        ...

    def all(self) -> Sequence[User]:
        """Return all users in the order in which they were added."""
        ...

    def count(self) -> int:
        """Return the number of users."""
        ...

    def add(self, user: User) -> User:
        """Store a new user and return what was stored.

        The first user ever stored gets the role root, all later ones keep theirs; that is decided inside the
        transaction, so that any number of simultaneous calls make exactly one root. Raises ``NameTaken``.
        """
        ...

    def update(self, user_id: str, change: Callable[[User], User]) -> User:
        """Replace the user by ``change(user)``, read and written as one step, and return what was stored.

        ``change`` must not call the store; what it raises passes through and nothing is changed. Raises
        ``NotFound``, and ``NameTaken`` when the name becomes another user's.
        """
        ...

    def touch_session(self, user_id: str, secret_sha256: str, used_at: datetime) -> None:
        """Note the last use of a session. Kept in memory and written with the next checkpoint; never waits."""
        ...

    def delete(self, user_id: str) -> None:
        """Remove the user and all their chats as one transaction. Raises ``NotFound``."""
        ...


class ChatRepository(Protocol):
    """Stored chats and their messages."""

    def get(self, owner_id: str, chat_id: str) -> Chat:
        """Return the chat with its messages. Raises ``NotFound`` when missing or another person's.

        A chat with ``deleted_at`` is returned too; hiding it is the service's rule.
        """
        ...

    def list(self, owner_id: str) -> Sequence[ChatSummary]:
        """Return the owner's chats without messages, the latest ``updated_at`` first; ``[]`` when there are none."""
        ...

    def deleted(self) -> Sequence[ChatSummary]:
        """Return all owners' chats that carry ``deleted_at``, in no order. The others are not read for it."""
        ...

    def add(self, chat: Chat) -> Chat:
        """Store a new chat, messages included.

        Raises ``Conflict`` when the id exists, ``NotFound`` when the owner was deleted meanwhile.
        """
        ...

    def update(
        self, owner_id: str, chat_id: str, change: Callable[[ChatSummary], ChatSummary]
    ) -> ChatSummary:
        """Replace everything but the messages by ``change(summary)`` as one step, and return what was stored.

        Id and owner stay whatever ``change`` returns; it must not call the store. Raises ``NotFound``.
        """
        ...

    def delete(self, owner_id: str, chat_id: str) -> None:
        """Remove the chat and its messages for good. Raises ``NotFound``."""
        ...

    def add_messages(
        self,
        owner_id: str,
        chat_id: str,
        messages: Sequence[Message],
        change: Callable[[ChatSummary], ChatSummary] | None = None,
    ) -> Sequence[Message]:
        """Append messages as one transaction and return them as stored.

        A message whose id the chat already holds is not added again; the stored one is returned in its place.
        ``updated_at`` of the chat follows the newest message. ``change`` replaces the rest of the chat in the same
        transaction, as in ``update``; it is left out when no message is new. Raises ``NotFound``, and what
        ``change`` raises.
        """
        ...

    def append_part(
        self,
        owner_id: str,
        chat_id: str,
        message_id: str,
        offset: int,
        text: str,
        field: PartField = "content",
    ) -> None:
        """Note that a streaming message goes on with ``text`` at ``offset`` (in characters).

        Meant to be called for every piece: does not wait for the disk. The text is durable, and seen by readers,
        within about half a second, sooner when it is long. Ignored when the message or chat is gone, when the
        message is not ``streaming`` any more, and when it leaves a gap after the text so far. Repeating a part
        changes nothing.
        """
        ...

    def finish_message(self, owner_id: str, chat_id: str, message: Message) -> Message:
        """Replace the message of the same id, for a reply that has ended. Raises ``NotFound``."""
        ...

    def interrupt_streaming(self) -> int:
        """Mark every message still ``streaming`` as ``interrupted`` with the text it has; return how many.

        Called once at the start, before the first request: nothing can be streaming then.
        """
        ...


class Store(Protocol):
    """Both repositories over one folder, and their common life."""

    @property
    def users(self) -> UserRepository: ...

    @property
    def chats(self) -> ChatRepository: ...

    @property
    def notices(self) -> list[str]:
        """Lines for root: what could not be read at the start and where it was put, a checkpoint that failed."""
        ...

    @property
    def problem(self) -> str | None:
        """Why nothing can be saved at the moment, for everybody; ``None`` when the last change was stored."""
        ...

    def checkpoint(self) -> None:
        """Write users.json and chats.json so that they hold everything. Readers and writers go on meanwhile."""
        ...

    def close(self) -> None:
        """Checkpoint and let go of the folder. Calling it twice does nothing. Changes afterwards are refused."""
        ...
