"""Chats: opening, asking, following, stopping, renaming, deleting, taking along."""

from __future__ import annotations

import json

from flask import Blueprint, Response, flash, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from chatapp.routes import answers, body, rates
from chatapp.routes.access import current_user, login_required, services
from chatapp.routes.chat_page import chat_page, new_chat_page
from chatapp.routes.errors import shown_by
from chatapp.routes.schemas import ChatBody, MessageBody, RegenerateBody, RenameBody
from chatapp.services.export import as_markdown, as_record

bp = Blueprint("chats", __name__)


@bp.get("/chat/new")
@login_required
def new() -> str:
    """Show an empty chat. Nothing is stored before the first message."""
    return new_chat_page(current_user(), model=request.args.get("model"))


@bp.post("/chat")
@rates.messages
@shown_by(lambda error: new_chat_page(current_user(), error=error))
@login_required
def create() -> AnyResponse:
    """Make a chat; with ``content`` it is asked at once."""
    answers.check_room()
    form, user, replies = body.read(ChatBody), current_user(), services().replies
    model = replies.model_for(user, form.model or None)
    if form.content is None:
        chat = services().chats.create(user, title=form.title, model=model)
        page = url_for("chats.show", chat_id=chat.id)
        return answers.done({"id": chat.id, "url": page}, page, 201)
    result = replies.ask_new(user, form.question_of(form.content), title=form.title)
    return answers.asked(result, 201)


@bp.get("/chat/<chat_id>")
@login_required
def show(chat_id: str) -> str:
    """Show a chat; ``?at=`` a message shows the version that ends there, ``?before=`` one what comes before it."""
    at, before = request.args.get("at"), request.args.get("before")
    return chat_page(current_user(), chat_id, leaf_id=at, before_id=before)


@bp.post("/chat/<chat_id>/message")
@rates.messages
@shown_by(lambda error, chat_id: chat_page(current_user(), chat_id, error=error))
@login_required
def send(chat_id: str) -> AnyResponse:
    """Ask; the question is on the disk when this answers."""
    answers.check_room()
    form = body.read(MessageBody)
    return answers.asked(services().replies.ask(current_user(), chat_id, form.question_of(form.content)))


@bp.get("/chat/<chat_id>/events")
@answers.data_only
@login_required
def events(chat_id: str) -> Response:
    """Stream the running or last reply's events, from where the client is."""
    job = services().replies.job_of(current_user(), chat_id)
    if job is None or answers.already_seen(job):
        return answers.nothing_to_follow()
    return answers.events(job)


@bp.post("/chat/<chat_id>/stop")
@login_required
def stop(chat_id: str) -> AnyResponse:
    """Stop the running reply. Its text is kept."""
    job = services().replies.stop(current_user(), chat_id)
    if job is not None:
        job.wait_ended(2.0)  # so that a page without scripts already shows the end
    return answers.done({"stopped": job is not None}, url_for("chats.show", chat_id=chat_id))


@bp.post("/chat/<chat_id>/regenerate")
@rates.messages
@shown_by(lambda error, chat_id: chat_page(current_user(), chat_id, error=error))
@login_required
def regenerate(chat_id: str) -> AnyResponse:
    """Answer the same question once more, beside the earlier reply."""
    answers.check_room()
    form = body.read(RegenerateBody)
    return answers.asked(
        services().replies.regenerate(current_user(), chat_id, form.message_id or None, form.model or None)
    )


@bp.post("/chat/<chat_id>/rename")
@shown_by(lambda error, chat_id: chat_page(current_user(), chat_id, error=error))
@login_required
def rename(chat_id: str) -> AnyResponse:
    """Give the chat another title."""
    chat = services().chats.rename(current_user(), chat_id, body.read(RenameBody).title)
    return answers.done({"id": chat.id, "title": chat.title}, url_for("chats.show", chat_id=chat_id))


@bp.post("/chat/<chat_id>/delete")
@login_required
def delete(chat_id: str) -> AnyResponse:
    """Delete the chat; the next page offers to bring it back."""
    chat = services().chats.delete(current_user(), chat_id)
    undo_url = url_for("chats.restore", chat_id=chat_id)
    if not answers.wants_json():
        flash({"message": f"Deleted “{chat.title or 'New chat'}”", "undo_url": undo_url}, "undo")  # type: ignore[arg-type]
    return answers.done({"status": "deleted", "undo_url": undo_url}, "/")


@bp.post("/chat/<chat_id>/restore")
@login_required
def restore(chat_id: str) -> AnyResponse:
    """Bring a deleted chat back."""
    chat = services().chats.restore(current_user(), chat_id)
    return answers.done({"id": chat.id, "title": chat.title}, url_for("chats.show", chat_id=chat_id))


@bp.get("/chat/<chat_id>/export.json")
@answers.data_only
@login_required
def export_json(chat_id: str) -> Response:
    """Download the chat as JSON, all versions included."""
    chat = services().chats.get(current_user(), chat_id)
    text = json.dumps(as_record(chat), ensure_ascii=False, indent=1)
    return _download(text, "application/json", f"chat-{chat.id}.json")


@bp.get("/chat/<chat_id>/export.md")
@answers.data_only
@login_required
def export_markdown(chat_id: str) -> Response:
    """Download the visible conversation as Markdown."""
    chat = services().chats.get(current_user(), chat_id)
    return _download(as_markdown(chat), "text/markdown", f"chat-{chat.id}.md")


def _download(text: str, kind: str, filename: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{filename}"'}
    return Response(text, content_type=f"{kind}; charset=utf-8", headers=headers)


@bp.get("/")
@login_required
def home() -> AnyResponse:
    """Go to the newest chat, or to the dashboard when there is none."""
    chats = services().chats.list(current_user())
    place = url_for("chats.show", chat_id=chats[0].id) if chats else url_for("models.dashboard")
    return redirect(place, 302)
