"""What every page needs around its own content: the chat list, the theme, addresses of static files."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from flask import Flask, g, url_for

from chatapp.ids import now_utc
from chatapp.models import ChatSummary
from chatapp.routes.access import services

# The list in the page; older chats are still reachable by their address.
_LISTED = 200


def install(app: Flask) -> None:
    """Give the templates their common variables."""
    app.context_processor(_context)
    app.jinja_env.globals["asset"] = lambda path: url_for("static", filename=path)


def _context() -> dict[str, Any]:
    user = g.get("user")
    return {
        "user": user,
        "theme": user.settings.theme if user else "auto",
        "chat_groups": _groups() if user else [],
        "current_chat_id": None,
        "refresh_s": None,
        "store_problem": services().store.problem,
    }


def _groups() -> list[dict[str, Any]]:
    chats = services().chats.list(g.user)[:_LISTED]
    running = services().chats.running(g.user)
    groups: dict[str, list[dict[str, Any]]] = {}
    now = now_utc()
    for chat in chats:
        groups.setdefault(_day(chat, now), []).append(_link(chat, running))
    return [{"label": label, "chats": links} for label, links in groups.items()]


def _day(chat: ChatSummary, now: datetime) -> str:
    days = (now.date() - chat.updated_at.date()) // timedelta(days=1)
    if days <= 0:
        return "Today"
    if days == 1:
        return "Yesterday"
    return "Previous 7 days" if days <= 7 else "Older"


def _link(chat: ChatSummary, running: set[str]) -> dict[str, Any]:
    return {
        "id": chat.id,
        "title": chat.title or "New chat",
        "url": url_for("chats.show", chat_id=chat.id),
        "pinned": chat.pinned,
        "running": chat.id in running,
    }
