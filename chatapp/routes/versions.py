"""Which messages of a chat stand beside each other, and where each version can be seen."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from flask import url_for

from chatapp.models import Chat, Message


class Versions:
    """Worked out once for a chat, because a page asks for every message of it."""

    def __init__(self, chat: Chat) -> None:
        self._chat_id = chat.id
        self._beside: dict[tuple[str | None, str], list[Message]] = defaultdict(list)
        self._newest_child: dict[str | None, Message] = {}
        for message in chat.messages:
            self._beside[message.parent_id, message.role].append(message)
            self._newest_child[message.parent_id] = message

    def view(self, message: Message) -> dict[str, Any]:
        """Return the message's number among its versions, and the addresses of the neighbours or ``None``."""
        beside = self._beside[message.parent_id, message.role]
        index = next(i for i, version in enumerate(beside) if version.id == message.id)
        return {
            "version_index": index + 1,
            "version_count": len(beside),
            "previous_url": self._url(beside[index - 1]) if index else None,
            "next_url": self._url(beside[index + 1]) if index + 1 < len(beside) else None,
        }

    def _url(self, version: Message) -> str:
        """Return the address of the newest conversation that holds this version."""
        leaf, seen = version, {version.id}
        while (child := self._newest_child.get(leaf.id)) is not None and child.id not in seen:
            leaf = child
            seen.add(child.id)
        return url_for("chats.show", chat_id=self._chat_id, at=leaf.id) + f"#m-{version.id}"
