"""Registering, signing in, signing out."""

from __future__ import annotations

from flask import Blueprint, g, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response

from chatapp.errors import ChatAppError, Invalid
from chatapp.routes import answers, body, rates
from chatapp.routes.access import (
    current_session,
    current_user,
    is_local_request,
    login_required,
    public,
    services,
    sign_in,
)
from chatapp.routes.errors import beside, shown_by
from chatapp.routes.next_url import safe_next
from chatapp.routes.schemas import LoginBody, RegisterBody

bp = Blueprint("auth", __name__)


def _register_page(error: ChatAppError | None = None) -> str:
    accounts = services().accounts
    return render_template(
        "register.html",
        values={"username": body.kept("username") if error else ""},
        errors=beside(error, "username", "password", "confirm", "setup_code"),
        first_user=accounts.is_empty,
        setup_code_needed=accounts.is_empty and not is_local_request(),
    )


def _login_page(error: ChatAppError | None = None) -> str:
    typed = {"username": body.kept("username"), "next": body.kept("next")} if error else {}
    return render_template(
        "login.html",
        values={"username": "", "next": request.args.get("next", ""), **typed},
        errors=beside(error, "username", "password"),
    )


@bp.get("/register")
@public
def register_form() -> str | Response:
    """Show the form; somebody who is signed in has no use for it."""
    return redirect("/") if g.user else _register_page()


@bp.post("/register")
@rates.registrations
@rates.wrong_setup_codes
@shown_by(_register_page)
@public
def register() -> Response:
    """Make an account, sign in and go on to the first page."""
    form = body.read(RegisterBody)
    if form.confirm is not None and form.confirm != form.password:
        raise Invalid("The two passwords are not the same.", field="confirm")
    user = services().accounts.register(
        form.username, form.password, setup_code=form.setup_code, local=is_local_request()
    )
    sign_in(*services().accounts.open_session(user, request.user_agent.string))
    return answers.done({"id": user.id, "username": user.username, "role": user.role}, "/", 201)


@bp.get("/login")
@public
def login_form() -> str | Response:
    """Show the form; somebody who is signed in goes on to where they were heading."""
    return redirect(safe_next(request.args.get("next"))) if g.user else _login_page()


@bp.post("/login")
@rates.failed_logins_of_address
@rates.failed_logins_of_account
@shown_by(_login_page)
@public
def login() -> Response:
    """Sign in and go on to ``next``, or to the first page."""
    form = body.read(LoginBody)
    user, session_id = services().accounts.log_in(form.username, form.password, request.user_agent.string)
    sign_in(user, session_id)
    return answers.done({"id": user.id, "username": user.username, "role": user.role}, safe_next(form.next))


@bp.post("/logout")
@login_required
def logout() -> Response:
    """End this browser's session, here and on the server."""
    services().accounts.end_session(current_user(), current_session().secret_sha256)
    session.clear()
    response = answers.done({"status": "signed_out"}, url_for("auth.login_form"))
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
    return response
