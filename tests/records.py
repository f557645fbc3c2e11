"""Users, chats and messages for tests of the store, each with an id of its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from chatapp.ids import new_id
from chatapp.models import Chat, Message, Session, User

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def minutes_after_noon(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def a_user(username: str = "alice", **fields: Any) -> User:
    return User.model_validate(
        {"id": new_id(), "username": username, "password_hash": "scrypt:x", "created_at": NOON} | fields
    )


def a_session(secret_sha256: str, **fields: Any) -> Session:
    return Session.model_validate(
        {"secret_sha256": secret_sha256, "created_at": NOON, "last_used_at": NOON} | fields
    )


def a_chat(owner_id: str = "alice-id", **fields: Any) -> Chat:
    return Chat.model_validate(
        {"id": new_id(), "owner_id": owner_id, "created_at": NOON, "updated_at": NOON} | fields
    )


def a_message(content: str = "Good morning", **fields: Any) -> Message:
    return Message.model_validate(
        {"id": new_id(), "role": "user", "content": content, "created_at": NOON} | fields
    )


def a_reply(content: str = "", **fields: Any) -> Message:
    """A reply that is being written."""
    return a_message(content, **{"role": "assistant", "status": "streaming"} | fields)
