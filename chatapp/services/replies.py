"""Answering a message: the question is stored, a job asks Ollama, and whatever happens the reply is stored.

The road: ``ask`` (rules, question durable) → job thread, ``ReplyWriter`` (services/reply_writer.py) → Ollama.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from chatapp.errors import (
    ChatAppError,
    Conflict,
    Invalid,
    ModelMissing,
    NotFound,
    ReplyRunning,
    TooLarge,
    TooMany,
)
from chatapp.ids import new_id, now_utc
from chatapp.jobs.job import Job
from chatapp.jobs.registry import JobRegistry
from chatapp.models import Chat, ChatSummary, Message, User
from chatapp.ollama.names import same_name
from chatapp.services.chats import GONE, Chats, title_from
from chatapp.services.reply_writer import ChatModel, ReplyWriter
from chatapp.storage.base import ChatRepository

_MESSAGE_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
# Replies that one user may have running at a time, over all their chats.
RUNNING_PER_USER = 8
MESSAGES_PER_CHAT = 10_000
_TITLE_SOURCE_CHARACTERS = 400


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody asks. ``message_id`` is the client's: the same id again asks nothing new.

    ``parent_id`` is the message it answers to; without one it follows the message added last.
    """

    content: str
    model: str | None = None
    message_id: str | None = None
    parent_id: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and its reply as they are stored, and the job that writes the reply (``None`` when long ended)."""

    chat_id: str
    question: Message
    reply: Message
    job: Job | None


class Replies:
    """Asks, asks again, stops. Every method takes the acting user; a foreign chat is ``NotFound``."""

    def __init__(
        self,
        chats: Chats,
        repository: ChatRepository,
        jobs: JobRegistry,
        ollama: ChatModel,
        *,
        max_message_chars: int,
        installed: Callable[[], Sequence[str]],
        ollama_problem: Callable[[], ChatAppError | None],
        check_name: Callable[[str], str],
        default_model: str | None = None,
        now: Callable[[], datetime] = now_utc,
    ) -> None:
        self._chats = chats
        self._repository = repository
        self._jobs = jobs
        self._ollama = ollama
        self._max_message_chars = max_message_chars
        self._installed = installed
        self._ollama_problem = ollama_problem
        self._check_name = check_name
        self._default_model = default_model
        self._now = now
        self._counting = threading.Lock()

    def check(self, question: Question) -> None:
        """Raise ``Invalid`` or ``TooLarge`` when the question cannot be asked, before anything is made for it."""
        if not question.content.strip():
            raise Invalid("Write a message first.", field="content")
        if len(question.content) > self._max_message_chars:
            raise TooLarge(
                f"This message has {len(question.content):,} characters; the most is "
                f"{self._max_message_chars:,}. Shorten it or send it in parts.",
                field="content",
            )
        if "\0" in question.content:
            raise Invalid("A message cannot hold a NUL character.", field="content")
        if question.message_id is not None and not _MESSAGE_ID.fullmatch(question.message_id):
            raise Invalid("message_id has 8 to 64 letters, digits, _ or -.", field="message_id")

    def model_for(self, user: User, wished: str | None, installed: Sequence[str] | None = None) -> str | None:
        """Return the model for a new chat: the wished one, else the first of these that is there.

        The user's default, the server's default, the model of the user's newest chat, the first installed one.
        ``None`` when nothing is installed. Raises ``Invalid`` for a name that is none.
        """
        if wished:
            return self._check_name(wished)
        names = self._installed() if installed is None else installed
        latest = next(iter(self._chats.list(user)), None)
        liked = [user.settings.default_model, self._default_model, latest.model if latest else None]
        return next((name for name in liked if name and name in names), names[0] if names else None)

    def ask_new(self, user: User, question: Question, *, title: str | None = None) -> Asked:
        """Make a chat and ask in it. Raises as ``ask`` does; a question that cannot be asked makes no chat."""
        self.check(question)
        model = self._required_model(user, question.model)
        self._check_installed(model, None)
        chat = self._chats.create(user, title=title or title_from(question.content), model=model)
        return self.ask(user, chat.id, question)

    def _required_model(self, user: User, wished: str | None) -> str:
        model = self.model_for(user, wished)
        if not model:
            raise self._ollama_problem() or Invalid(
                "There is no model to ask yet. Download one on the Models page, or ask root to.",
                field="model",
            )
        return model

    def _check_installed(self, model: str, known: str | None) -> None:
        """Raise ``ModelMissing`` before a chat is given a model that is not there.

        The chat's own model is not looked up again, which would cost every question a request; should it be gone,
        the reply says so. A silent Ollama is the reply's affair, too.
        """
        if known is not None and same_name(model, known):
            return
        names = self._installed()
        if names and not any(same_name(model, name) for name in names):
            raise ModelMissing(
                f"The model {model} is not installed. Choose another one, or download it on the Models page.",
                field="model",
            )

    def ask(self, user: User, chat_id: str, question: Question) -> Asked:
        """Store the question durably, start its reply and return at once.

        Raises ``NotFound``, ``Invalid``, ``TooLarge``, ``ReplyRunning``, ``TooMany``, ``StorageFailed``.
        """
        self.check(question)
        chat = self._chats.get(user, chat_id)
        if (again := self._asked_before(chat, question.message_id)) is not None:
            return again
        model = self._required_model(user, question.model or chat.model)
        self._check_installed(model, chat.model)
        parent = self._parent(chat, question.parent_id)
        asked = self._message("user", question.content, model, parent, question.message_id, question.options)
        reply = self._reply_to(asked)
        job, is_new = self._reserve(user, chat, asked, reply)
        if not is_new:
            return self._join(user, chat_id, job, question.message_id)
        with _discarding_on_failure(self._jobs, job):
            # Somebody may have stored the same question between the first look and the reservation.
            if (again := self._asked_before(self._chats.get(user, chat_id), question.message_id)) is not None:
                self._jobs.discard(job)
                return again
            self._store_question(chat, model, [asked, reply])
            return self._start(chat, job, asked, reply)

    def regenerate(self, user: User, chat_id: str, reply_id: str | None, model: str | None = None) -> Asked:
        """Answer the same question once more; the earlier reply stays beside it.

        Without ``reply_id`` the last reply is meant. Raises as ``ask`` does.
        """
        chat = self._chats.get(user, chat_id)
        old = chat.message(reply_id) if reply_id else _last_reply(chat)
        question = chat.message(old.parent_id or "") if old and old.role == "assistant" else None
        if old is None or question is None:
            raise NotFound("There is no such reply in this chat.")
        chosen = self._required_model(user, model or chat.model or old.model)
        self._check_installed(chosen, chat.model)
        reply = self._reply_to(question, chosen)
        job, is_new = self._reserve(user, chat, question, reply)
        if not is_new:
            raise ReplyRunning("This chat is still being answered. Stop that first, or wait for it.")
        with _discarding_on_failure(self._jobs, job):
            self._store_question(chat, reply.model, [reply])
            return self._start(chat, job, question, reply)

    def stop(self, user: User, chat_id: str) -> Job | None:
        """Stop the running reply and keep its text. Returns the job, or ``None`` when none was running."""
        self._chats.get(user, chat_id)
        job = self._jobs.latest("reply", chat_id)
        if job is None or not job.is_running:
            return None
        job.cancel("stopped")
        return job

    def job_of(self, user: User, chat_id: str) -> Job | None:
        """Return the chat's running or last reply job, or ``None``. Raises ``NotFound`` for a foreign chat."""
        self._chats.get(user, chat_id)
        return self._jobs.latest("reply", chat_id)

    # -- the steps

    def _asked_before(self, chat: Chat, message_id: str | None) -> Asked | None:
        """Return what came of a question with this id, or ``None`` when it is new. Raises ``Conflict``."""
        question = chat.message(message_id) if message_id else None
        if question is None:
            return None
        replies = [m for m in chat.messages if m.parent_id == question.id and m.role == "assistant"]
        if question.role != "user" or not replies:
            raise Conflict("This message_id is taken by another message.", field="message_id")
        job = self._jobs.latest("reply", chat.id)
        mine = job is not None and job.about.get("reply_id") == replies[-1].id
        return Asked(chat.id, question, replies[-1], job if mine else None)

    def _parent(self, chat: Chat, parent_id: str | None) -> Message | None:
        if parent_id is None:
            return chat.messages[-1] if chat.messages else None
        parent = chat.message(parent_id)
        if parent is None:
            raise NotFound("The message this one follows is not in this chat.", field="parent_id")
        return parent

    def _reserve(self, user: User, chat: Chat, question: Message, reply: Message) -> tuple[Job, bool]:
        if len(chat.messages) + 2 > MESSAGES_PER_CHAT:
            raise TooLarge(f"A chat holds at most {MESSAGES_PER_CHAT:,} messages. Start a new one.")
        about = {"question_id": question.id, "reply_id": reply.id, "model": reply.model or ""}
        with self._counting:
            running = {j.key for j in self._jobs.running() if j.kind == "reply" and j.owner_id == user.id}
            if len(running - {chat.id}) >= RUNNING_PER_USER:
                raise TooMany(
                    f"{RUNNING_PER_USER} of your chats are being answered already. Wait for one or stop one.",
                    retry_after_s=5,
                )
            return self._jobs.reserve("reply", chat.id, user.id, about)

    def _join(self, user: User, chat_id: str, job: Job, message_id: str | None) -> Asked:
        """Answer a second request for the question that ``job`` is answering; any other is refused."""
        if message_id is None or job.about["question_id"] != message_id:
            raise ReplyRunning("This chat is still being answered. Stop that first, or wait for it.")
        job.ready.wait(timeout=30)
        again = self._asked_before(self._chats.get(user, chat_id), message_id)
        if again is None:
            raise Conflict("This message could not be stored a moment ago. Send it again.")
        return again

    def _store_question(self, chat: Chat, model: str | None, messages: Sequence[Message]) -> None:
        question = next((m for m in messages if m.role == "user"), None)
        first_words = title_from(question.content[:_TITLE_SOURCE_CHARACTERS]) if question else ""

        def change(stored: ChatSummary) -> ChatSummary:
            if stored.deleted_at is not None:
                raise NotFound(GONE)
            return stored.model_copy(update={"title": stored.title or first_words, "model": model})

        self._repository.add_messages(chat.owner_id, chat.id, messages, change)

    def _start(self, chat: Chat, job: Job, question: Message, reply: Message) -> Asked:
        history = [*chat.path(question.parent_id), question] if question.parent_id else [question]
        writer = ReplyWriter(job, chat.owner_id, chat.id, reply, history, self._repository, self._ollama)
        self._jobs.run(job, lambda _: writer.write())
        return Asked(chat.id, question, reply, job)

    def _reply_to(self, question: Message, model: str | None = None) -> Message:
        reply = self._message("assistant", "", model or question.model, question, None, question.options)
        return reply.model_copy(update={"status": "streaming"})

    def _message(
        self,
        role: str,
        content: str,
        model: str | None,
        parent: Message | None,
        message_id: str | None,
        options: Mapping[str, Any],
    ) -> Message:
        return Message.model_validate(
            {
                "id": message_id or new_id(),
                "parent_id": parent.id if parent else None,
                "role": role,
                "content": content,
                "model": model,
                "options": dict(options),
                "created_at": self._now(),
            }
        )


class _discarding_on_failure:  # noqa: N801 - read as a with statement
    """Frees a reserved chat when its question could not be stored."""

    def __init__(self, jobs: JobRegistry, job: Job) -> None:
        self._jobs = jobs
        self._job = job

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if kind is not None:
            self._jobs.discard(self._job)


def _last_reply(chat: Chat) -> Message | None:
    return next((m for m in reversed(chat.path()) if m.role == "assistant"), None)
