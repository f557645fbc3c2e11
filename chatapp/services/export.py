"""What somebody may take along: a chat as one JSON object and as Markdown, an account with all its chats."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any, BinaryIO
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from chatapp.models import Chat, User

_FIRST_YEAR_OF_ZIP = 1980


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


def write_archive(out: BinaryIO, user: User, chats: Iterable[Chat]) -> None:
    """Write a ZIP file with ``account.json`` and each chat as ``chats/<id>.json`` and ``.md``.

    Neither the hash of the password nor what would sign a browser in is in it. Raises ``OSError``.
    """
    with ZipFile(out, "w", ZIP_DEFLATED) as archive:
        account = user.model_dump(
            mode="json", exclude={"password_hash": True, "sessions": {"__all__": {"secret_sha256"}}}
        )
        _add(archive, "account.json", _json(account), user.created_at)
        for chat in chats:
            _add(archive, f"chats/{chat.id}.json", _json(as_record(chat)), chat.updated_at)
            _add(archive, f"chats/{chat.id}.md", as_markdown(chat), chat.updated_at)


def _json(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False, indent=1) + "\n"


def _add(archive: ZipFile, name: str, text: str, changed_at: datetime) -> None:
    date = (
        changed_at.timetuple()[:6]
        if changed_at.year >= _FIRST_YEAR_OF_ZIP
        else (_FIRST_YEAR_OF_ZIP, 1, 1, 0, 0, 0)
    )
    entry = ZipInfo(name, date)
    entry.compress_type = ZIP_DEFLATED
    entry.external_attr = 0o600 << 16
    archive.writestr(entry, text)
