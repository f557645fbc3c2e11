"""A chat to take along: as one JSON object and as Markdown."""

from __future__ import annotations

from typing import Any

from chatapp.models import Chat


def as_record(chat: Chat) -> dict[str, Any]:
    """Return ``{"id", "title", "model", "messages": […], …}`` with every version of every message."""
    return chat.model_dump(mode="json", exclude={"owner_id", "deleted_at"}, exclude_none=True)


def as_markdown(chat: Chat) -> str:
    """Return the newest version of the conversation, a heading a turn, texts untouched."""
    parts = [f"# {chat.title or 'New chat'}"]
    for message in chat.path():
        who = "You" if message.role == "user" else (message.model or message.role)
        parts.append(f"## {who}, {message.created_at:%Y-%m-%d %H:%M} UTC")
        parts.append(message.content + (f"\n\n*({message.status})*" if message.status != "complete" else ""))
    return "\n\n".join(parts) + "\n"
