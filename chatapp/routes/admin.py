"""Root's page: who is here, and who may change models."""

from __future__ import annotations

from flask import Blueprint, flash, render_template, url_for
from werkzeug.wrappers import Response

from chatapp.routes import answers, body
from chatapp.routes.access import current_user, root_required, services
from chatapp.routes.schemas import UserBody

bp = Blueprint("admin", __name__, url_prefix="/admin")


@bp.get("/users")
@root_required
def users() -> str:
    """List the accounts. Their chats are nobody else's business, root's included."""
    return render_template("admin/users.html", users=services().accounts.everybody(current_user()))


@bp.post("/users/<user_id>")
@root_required
def change(user_id: str) -> Response:
    """Let a user download and delete models, or no longer."""
    allowed = body.read(UserBody).may_manage_models
    user = services().accounts.allow_models(current_user(), user_id, allowed)
    if not answers.wants_json():
        flash(f"{user.username} may {'now' if allowed else 'no longer'} download and delete models.", "ok")
    return answers.done({"id": user.id, "may_manage_models": user.may_manage_models}, url_for("admin.users"))
