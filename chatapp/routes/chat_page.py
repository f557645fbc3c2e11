"""What the chat page shows: the thread with finished HTML, the running reply, the composer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import render_template, request, url_for

from chatapp.errors import ChatAppError
from chatapp.ids import new_id
from chatapp.jobs.job import Job
from chatapp.models import Chat, Message, User
from chatapp.routes import body
from chatapp.routes.access import services
from chatapp.routes.versions import Versions
from chatapp.services.render import BlockStream, ColourBudget, render_markdown

# How often a page without scripts looks again while a reply is being written.
_REFRESH_S = 2
# Messages on one page; a link leads to those before.
_SHOWN = 100


@dataclass(frozen=True, slots=True)
class _Thread:
    """The messages on the page, and the way to those before and after them where there are any."""

    entries: Sequence[dict[str, Any]] = ()
    parent: Message | None = None
    earlier_url: str | None = None
    later_url: str | None = None


def new_chat_page(user: User, *, model: str | None = None, error: ChatAppError | None = None) -> str:
    """Return the page of a chat that does not exist yet."""
    return _render(user, None, _Thread(), None, model, error)


def chat_page(
    user: User,
    chat_id: str,
    *,
    leaf_id: str | None = None,
    before_id: str | None = None,
    error: ChatAppError | None = None,
) -> str:
    """Return the page of a chat. Raises ``NotFound``."""
    # The job is looked at first: one that has ended has stored its reply, so the chat read afterwards holds it.
    job = services().replies.job_of(user, chat_id)
    running = job if job is not None and job.is_running else None
    chat = services().chats.get(user, chat_id)
    return _render(user, chat, _thread(chat, running, leaf_id, before_id), running, chat.model, error)


def _thread(chat: Chat, running: Job | None, leaf_id: str | None, before_id: str | None) -> _Thread:
    path = chat.path(leaf_id)
    end = next((i for i, message in enumerate(path) if message.id == before_id), len(path))
    begin = max(end - _SHOWN, 0)
    shown, versions = path[begin:end], Versions(chat)
    budget = ColourBudget()  # one for the page: however many blocks of code, colouring takes 30 ms at most
    return _Thread(
        entries=[_entry(message, versions, running, budget) for message in shown],
        parent=path[-1] if path else None,
        earlier_url=_url(chat, at=leaf_id, before=shown[0].id) if begin else None,
        later_url=_url(chat, at=leaf_id) if end < len(path) else None,
    )


def _url(chat: Chat, at: str | None, before: str | None = None) -> str:
    return url_for("chats.show", chat_id=chat.id, at=at, before=before)


def _render(
    user: User,
    chat: Chat | None,
    thread: _Thread,
    running: Job | None,
    model: str | None,
    error: ChatAppError | None,
) -> str:
    names = services().library.names()
    problem = None if names else services().library.problem()
    chosen = (body.kept("model") if error else "") or model or services().replies.model_for(user, None, names)
    return render_template(
        "chat.html",
        chat=chat,
        thread=thread.entries,
        earlier_url=thread.earlier_url,
        later_url=thread.later_url,
        models=names if not chosen or chosen in names else [chosen, *names],
        model=chosen,
        no_models=not names and problem is None,
        problem=problem.message if problem else None,
        parent_id=thread.parent.id if thread.parent else None,
        message_id=new_id(),
        running=_running(chat, running, thread.entries),
        draft=body.kept("content") if error else request.args.get("q", "")[:2000],
        error=error.message if error else None,
        refresh_s=_REFRESH_S if running else None,
        current_chat_id=chat.id if chat else None,
        max_message_chars=services().config.max_message_chars,
    )


def _running(chat: Chat | None, job: Job | None, entries: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    if chat is None or job is None:
        return None
    shown = next((entry for entry in entries if entry["id"] == job.about["reply_id"]), None)
    after = shown["after"] if shown else f"{job.id}.0"
    return {
        "reply_id": job.about["reply_id"],
        "after": after,
        "events_url": url_for("chats.events", chat_id=chat.id, after=after),
    }


def _entry(message: Message, versions: Versions, running: Job | None, budget: ColourBudget) -> dict[str, Any]:
    """Return one message as the template shows it. Only blocks from the renderer are HTML."""
    entry = {
        **message.model_dump(exclude={"content", "thinking", "attachments", "options"}),
        "content": message.content,
        "thinking_blocks": render_markdown(message.thinking, budget=budget),
        "blocks": (
            render_markdown(message.content, anchor=message.id, budget=budget)
            if message.role == "assistant"
            else []
        ),
        "tail": None,
        "after": None,
        **versions.view(message),
    }
    if running is not None and running.about.get("reply_id") == message.id:
        entry.update(_live(running, message.id, budget))
    elif message.status == "streaming":
        entry["status"] = "interrupted"  # its end could not be stored; nobody writes it any more
    return entry


def _live(job: Job, reply_id: str, budget: ColourBudget) -> dict[str, Any]:
    """Return the running reply as far as it got, and the position up to which this page holds it."""
    position, texts = job.texts()
    stream = BlockStream(anchor=reply_id, budget=budget)
    blocks = [html for _, html in stream.add(texts.get("piece", ""))]
    return {
        "content": texts.get("piece", ""),
        "blocks": blocks,
        "tail": stream.open_html(),
        "thinking_blocks": render_markdown(texts.get("thinking", ""), budget=budget),
        "status": "streaming",
        "after": f"{job.id}.{position}",
    }
