"""What the chat page shows: the thread with finished HTML, the running reply, the composer."""

from __future__ import annotations

from typing import Any

from flask import render_template, request, url_for

from chatapp.errors import ChatAppError
from chatapp.ids import new_id
from chatapp.jobs.job import Job
from chatapp.models import Chat, Message, User
from chatapp.routes import body
from chatapp.routes.access import services
from chatapp.services.render import BlockStream, ColourBudget, render_markdown

# How often a page without scripts looks again while a reply is being written.
_REFRESH_S = 2


def new_chat_page(user: User, *, model: str | None = None, error: ChatAppError | None = None) -> str:
    """Return the page of a chat that does not exist yet."""
    return _render(user, None, [], None, None, model, error)


def chat_page(
    user: User, chat_id: str, *, leaf_id: str | None = None, error: ChatAppError | None = None
) -> str:
    """Return the page of a chat. Raises ``NotFound``."""
    chat = services().chats.get(user, chat_id)
    job = services().replies.job_of(user, chat_id)
    running = job if job is not None and job.is_running else None
    path = chat.path(leaf_id)
    budget = ColourBudget()  # one for the page: however many blocks of code, colouring takes 30 ms at most
    thread = [_entry(chat, message, running, budget) for message in path]
    parent = path[-1] if path else None
    return _render(user, chat, thread, parent, running, chat.model, error)


def _render(
    user: User,
    chat: Chat | None,
    thread: list[dict[str, Any]],
    parent: Message | None,
    running: Job | None,
    model: str | None,
    error: ChatAppError | None,
) -> str:
    names = services().library.names()
    chosen = (body.kept("model") if error else "") or model or services().replies.model_for(user, None, names)
    return render_template(
        "chat.html",
        chat=chat,
        thread=thread,
        models=names if not chosen or chosen in names else [chosen, *names],
        model=chosen,
        no_models=not names,
        parent_id=parent.id if parent else None,
        message_id=new_id(),
        running=_running(chat, running, thread),
        draft=body.kept("content") if error else request.args.get("q", "")[:2000],
        error=error.message if error else None,
        refresh_s=_REFRESH_S if running else None,
        current_chat_id=chat.id if chat else None,
        max_message_chars=services().config.max_message_chars,
    )


def _running(chat: Chat | None, job: Job | None, thread: list[dict[str, Any]]) -> dict[str, Any] | None:
    if chat is None or job is None:
        return None
    shown = next((entry for entry in thread if entry["id"] == job.about["reply_id"]), None)
    after = shown["after"] if shown else f"{job.id}.0"
    return {
        "reply_id": job.about["reply_id"],
        "after": after,
        "events_url": url_for("chats.events", chat_id=chat.id, after=after),
    }


def _entry(chat: Chat, message: Message, running: Job | None, budget: ColourBudget) -> dict[str, Any]:
    """Return one message as the template shows it. Only blocks from the renderer are HTML."""
    siblings = chat.siblings(message)
    index = next(i for i, sibling in enumerate(siblings) if sibling.id == message.id)
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
        "version_index": index + 1,
        "version_count": len(siblings),
        "previous_url": _version_url(chat, siblings[index - 1]) if index else None,
        "next_url": _version_url(chat, siblings[index + 1]) if index + 1 < len(siblings) else None,
    }
    if running is not None and running.about.get("reply_id") == message.id:
        entry.update(_live(running, message.id, budget))
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


def _version_url(chat: Chat, sibling: Message) -> str:
    """Return the address of the newest conversation that holds this version."""
    leaf = sibling
    children = {m.parent_id: m for m in chat.messages}
    while (child := children.get(leaf.id)) is not None:
        leaf = child
    return url_for("chats.show", chat_id=chat.id, at=leaf.id) + f"#m-{sibling.id}"
