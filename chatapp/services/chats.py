"""Chats: making, finding, reading, renaming, deleting and bringing back. Always for an owner."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from chatapp.errors import Invalid, NotFound, TooMany
from chatapp.ids import new_id, now_utc
from chatapp.jobs.registry import JobRegistry
from chatapp.models import Chat, ChatSummary, User
from chatapp.storage.base import ChatRepository

TITLE_CHARACTERS = 200
_FIRST_WORDS_CHARACTERS = 60
# A deleted chat can be brought back for this long.
KEPT_AFTER_DELETE = timedelta(days=30)
MOST_CHATS = 100_000
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
GONE = "This chat does not exist, or it is not yours."


class Chats:
    """The rules about chats. A deleted chat is gone for every method but ``restore``."""

    def __init__(
        self, chats: ChatRepository, jobs: JobRegistry, now: Callable[[], datetime] = now_utc
    ) -> None:
        self._chats = chats
        self._jobs = jobs
        self._now = now

    def list(self, user: User) -> Sequence[ChatSummary]:
        """Return the user's chats, the latest first, without messages."""
        return [chat for chat in self._chats.list(user.id) if chat.deleted_at is None]

    def get(self, user: User, chat_id: str) -> Chat:
        """Return the chat with its messages. Raises ``NotFound`` when missing, deleted or another person's."""
        chat = self._chats.get(user.id, chat_id)
        if chat.deleted_at is not None:
            raise NotFound(GONE)
        return chat

    def create(self, user: User, *, title: str | None = None, model: str | None = None) -> Chat:
        """Make an empty chat. Raises ``Invalid`` for a bad title, ``TooMany`` over the limit."""
        if len(self._chats.list(user.id)) >= MOST_CHATS:
            raise TooMany("You have as many chats as this server keeps. Delete some first.", retry_after_s=60)
        now = self._now()
        title = checked_title(title) if title and title.strip() else ""
        return self._chats.add(
            Chat(id=new_id(), owner_id=user.id, title=title, model=model, created_at=now, updated_at=now)
        )

    def rename(self, user: User, chat_id: str, title: str) -> ChatSummary:
        """Give the chat another title. Raises ``NotFound``, ``Invalid``."""
        return self._change(user, chat_id, title=checked_title(title))

    def choose_model(self, user: User, chat_id: str, model: str) -> ChatSummary:
        """Remember the model that the chat goes on with. Raises ``NotFound``."""
        return self._change(user, chat_id, model=model)

    def delete(self, user: User, chat_id: str) -> ChatSummary:
        """Delete the chat, and stop its reply; it can be brought back for 30 days. Raises ``NotFound``."""
        deleted = self._change(user, chat_id, deleted_at=self._now())
        job = self._jobs.latest("reply", chat_id)
        if job is not None:
            job.cancel("stopped")
        return deleted

    def restore(self, user: User, chat_id: str) -> ChatSummary:
        """Bring a deleted chat back; one that was not deleted stays as it is. Raises ``NotFound``."""
        return self._chats.update(user.id, chat_id, lambda chat: _with(chat, deleted_at=None))

    def purge_deleted(self) -> int:
        """Remove for good what anybody deleted more than 30 days ago; return how many chats that were."""
        limit = self._now() - KEPT_AFTER_DELETE
        old = [c for c in self._chats.deleted() if c.deleted_at is not None and c.deleted_at < limit]
        for chat in old:
            self._chats.delete(chat.owner_id, chat.id)
        return len(old)

    def running(self, user: User) -> set[str]:
        """Return the ids of the user's chats that are being answered now."""
        return {job.key for job in self._jobs.of_kind("reply") if job.owner_id == user.id and job.is_running}

    def _change(self, user: User, chat_id: str, **changes: Any) -> ChatSummary:
        def change(chat: ChatSummary) -> ChatSummary:
            if chat.deleted_at is not None:
                raise NotFound(GONE)
            return _with(chat, **changes)

        return self._chats.update(user.id, chat_id, change)


def checked_title(title: str) -> str:
    """Return the title as one line. Raises ``Invalid`` when nothing is left or it is too long."""
    folded = _one_line(title)
    if not folded:
        raise Invalid("Give the chat a title.", field="title")
    if len(folded) > TITLE_CHARACTERS:
        raise Invalid(f"A title has at most {TITLE_CHARACTERS} characters.", field="title")
    return folded


def title_from(question: str) -> str:
    """Return the first words of a question as a title, cut at a word where one ends in time."""
    folded = _one_line(question)
    if len(folded) <= _FIRST_WORDS_CHARACTERS:
        return folded
    words, _, _ = folded[: _FIRST_WORDS_CHARACTERS + 1].rpartition(" ")
    kept = words if len(words) > _FIRST_WORDS_CHARACTERS // 2 else folded[:_FIRST_WORDS_CHARACTERS]
    return kept.rstrip(" ,.;:") + "…"


def _one_line(text: str) -> str:
    """Return the text with white space and control characters folded into single spaces."""
    return " ".join(_CONTROLS.sub(" ", text).split())


def _with(chat: ChatSummary, **changes: Any) -> ChatSummary:
    return chat.model_copy(update=changes)
