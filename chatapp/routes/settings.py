"""One's own account: appearance, default model, password, signed-in browsers."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, render_template, url_for
from werkzeug.wrappers import Response

from chatapp.errors import ChatAppError, Invalid
from chatapp.routes import answers, body, rates
from chatapp.routes.access import current_session, current_user, login_required, services
from chatapp.routes.errors import beside, shown_by
from chatapp.routes.schemas import SessionBody, SettingsBody

bp = Blueprint("settings", __name__)

_THEMES = ("auto", "light", "dark")


def _page(error: ChatAppError | None = None) -> str:
    user, own = current_user(), current_session()
    sessions = sorted(user.sessions, key=lambda session: session.last_used_at, reverse=True)
    names = services().library.names()
    chosen = user.settings.default_model
    return render_template(
        "settings.html",
        models=names if not chosen or chosen in names else [chosen, *names],
        settings=user.settings,
        sessions=[
            {
                **session.model_dump(),
                "id": session.secret_sha256,
                "current": session.secret_sha256 == own.secret_sha256,
            }
            for session in sessions
        ],
        errors=beside(error, "theme", "default_model", "current", "password", "confirm"),
        section=body.kept("section") if error else None,
    )


@bp.get("/settings")
@login_required
def show() -> str:
    """Show the settings."""
    return _page()


@bp.post("/settings")
@rates.password_tries
@shown_by(_page)
@login_required
def change() -> Response:
    """Save one section of the page."""
    form = body.read(SettingsBody)
    section = _SECTIONS.get(form.section)
    if section is None:
        raise Invalid("There is no such part of the settings.", field="section")
    section(form)
    if not answers.wants_json():
        flash("Saved.", "ok")
    return answers.done({"status": "saved"}, url_for("settings.show") + f"#{form.section}")


def _change_appearance(form: SettingsBody) -> None:
    changes: dict[str, Any] = {}
    if form.theme is not None:
        if form.theme not in _THEMES:
            raise Invalid("Choose auto, light or dark.", field="theme")
        changes["theme"] = form.theme
    if form.default_model is not None:
        name = form.default_model
        changes["default_model"] = services().library.check_name(name) if name else None
    services().accounts.change_settings(current_user(), **changes)


def _change_password(form: SettingsBody) -> None:
    if form.confirm is not None and form.confirm != form.password:
        raise Invalid("The two passwords are not the same.", field="confirm")
    services().accounts.change_password(current_user(), current_session(), form.current, form.password)


_SECTIONS = {"appearance": _change_appearance, "password": _change_password}


@bp.post("/settings/sessions/end")
@login_required
def end_session() -> Response:
    """Sign out one browser, or with ``session=others`` all but this one."""
    chosen, own = body.read(SessionBody).session, current_session().secret_sha256
    if chosen == "others":
        services().accounts.end_other_sessions(current_user(), own)
    else:
        services().accounts.end_session(current_user(), chosen)
    return answers.done({"status": "ended"}, url_for("settings.show") + "#sessions")
