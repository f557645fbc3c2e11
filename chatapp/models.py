"""The records: what a user, a chat and a message are. Frozen, without input or output.

Stored JSON uses these names unchanged. Fields that this version does not know are kept when a record is
rewritten (``extra="allow"``), so that an older server never drops what a newer one wrote.
Times are UTC; durations name their unit.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Role = Literal["root", "user"]
MessageRole = Literal["system", "user", "assistant", "tool"]
MessageStatus = Literal["complete", "streaming", "stopped", "failed", "interrupted"]
PartField = Literal["content", "thinking"]
"""The texts of a message that grow while it is being written."""
Theme = Literal["auto", "light", "dark"]


class Record(BaseModel):
    """Base of everything that is stored."""

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())


class Session(Record):
    """One signed-in browser. Only the SHA-256 of its secret is kept."""

    secret_sha256: str
    created_at: datetime
    last_used_at: datetime
    user_agent: str = ""


class Settings(Record):
    """What a user chose for themselves."""

    theme: Theme = "auto"
    default_model: str | None = None


class User(Record):
    """An account. ``username`` keeps the spelling that was typed; names are unique without regard to case."""

    id: str
    username: str
    role: Role = "user"
    password_hash: str
    created_at: datetime
    may_manage_models: bool = False
    disabled: bool = False
    sessions: tuple[Session, ...] = ()
    settings: Settings = Settings()

    @property
    def is_root(self) -> bool:
        return self.role == "root"

    @property
    def manages_models(self) -> bool:
        """True when this user may download and delete models."""
        return self.is_root or self.may_manage_models


class MessageError(Record):
    """Why a reply failed: the code and sentence of :mod:`chatapp.errors`."""

    code: str
    message: str
    detail: str | None = None


class Usage(Record):
    """What a reply cost. Anything unknown is ``None``."""

    prompt_tokens: int | None = None
    reply_tokens: int | None = None
    first_token_ms: float | None = None
    tokens_per_s: float | None = None
    duration_ms: float | None = None
    done_reason: str | None = None


class Message(Record):
    """One entry of a chat. Siblings (an edited question, a regenerated reply) share their ``parent_id``."""

    id: str
    parent_id: str | None = None
    role: MessageRole
    content: str = ""
    thinking: str = ""
    thinking_ms: float | None = None
    model: str | None = None
    model_digest: str | None = None
    status: MessageStatus = "complete"
    error: MessageError | None = None
    attachments: tuple[str, ...] = ()
    options: dict[str, Any] = Field(default_factory=dict)
    usage: Usage | None = None
    created_at: datetime


class ChatSummary(Record):
    """A chat without its messages: what a list shows.

    ``deleted_at`` is set while a deleted chat can still be brought back.
    ``updated_at`` is the time of the newest message or change; lists are sorted by it.
    """

    id: str
    owner_id: str
    title: str = ""
    model: str | None = None
    created_at: datetime
    updated_at: datetime
    pinned: bool = False
    archived: bool = False
    deleted_at: datetime | None = None


class Chat(ChatSummary):
    """A chat with all its messages, in the order in which they were added."""

    messages: tuple[Message, ...] = ()

    def message(self, message_id: str) -> Message | None:
        """Return the message with this id, or ``None``."""
        return next((message for message in self.messages if message.id == message_id), None)

    def path(self, leaf_id: str | None = None) -> tuple[Message, ...]:
        """Return the messages from the first to ``leaf_id``, parents before children.

        Without ``leaf_id``, or with one that is not here, the path leads to the message added last.
        """
        by_id = {message.id: message for message in self.messages}
        leaf = by_id.get(leaf_id or "") or (self.messages[-1] if self.messages else None)
        path: list[Message] = []
        seen: set[str] = set()
        while leaf is not None and leaf.id not in seen:
            seen.add(leaf.id)
            path.append(leaf)
            leaf = by_id.get(leaf.parent_id or "")
        return tuple(reversed(path))

    def siblings(self, message: Message) -> tuple[Message, ...]:
        """Return all versions of ``message``, itself included, in the order in which they were made."""
        return tuple(m for m in self.messages if m.parent_id == message.parent_id and m.role == message.role)
