"""Every error as a page or as JSON, in one place: the same sentence, the same code, the request's id."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import structlog
from flask import Flask, Response, current_app, g, jsonify, redirect, render_template, request, url_for
from flask_limiter import RateLimitExceeded
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from chatapp.errors import (
    ChatAppError,
    Invalid,
    NotAuthenticated,
    NotFound,
    StorageFailed,
    StoreDamaged,
    TooLarge,
    TooMany,
)
from chatapp.routes import body
from chatapp.routes.access import services
from chatapp.routes.answers import wants_events, wants_json

log = structlog.get_logger()
View = TypeVar("View", bound=Callable[..., Any])

_SENTENCES = {
    400: "The request could not be understood.",
    404: "There is nothing at this address.",
    405: "This address does not take that kind of request.",
    408: "The request took too long to arrive. Try again.",
    413: "What was sent is larger than this server takes.",
    415: "Send a form or JSON (Content-Type: application/json).",
    429: "Too many requests in a short time. Wait a moment.",
}
_CODES = {
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    413: "too_large",
    415: "unsupported_type",
}


class _Http(ChatAppError):
    """An error of the framework in our words."""

    def __init__(self, status: int) -> None:
        super().__init__(_SENTENCES.get(status, "The request was refused."))
        self.status = status
        self.code = _CODES.get(status, "bad_request")


def shown_by(page: Callable[..., str]) -> Callable[[View], View]:
    """Let a form's own page show its errors, with what was typed kept: ``page(error, **view arguments)``."""

    def mark(view: View) -> View:
        cast("Any", view).shows_errors = page
        return view

    return mark


def beside(error: ChatAppError | None, *fields: str) -> dict[str, str]:
    """Return the sentence under the name of its field where the page has that field, else under ``""``."""
    if error is None:
        return {}
    return {error.field if error.field in fields else "": error.message}


def install(app: Flask) -> None:
    """Handle all errors of the application."""
    app.register_error_handler(ChatAppError, respond)
    app.register_error_handler(HTTPException, _framework_error)
    app.register_error_handler(Exception, _unforeseen)


def respond(error: ChatAppError) -> AnyResponse:
    """Return the error in the form the client wants."""
    error = _told(error)
    g.error_code, g.error_field = error.code, error.field
    # An EventSource can do nothing with a page, nor with a redirect to one.
    response = _json(error) if wants_json() or wants_events() else _page(error)
    if isinstance(error, TooMany):
        response.headers["Retry-After"] = str(error.retry_after_s)
    return response


def _told(error: ChatAppError) -> ChatAppError:
    """Return the error as the one who asked may read it: where the server keeps its files is for root alone."""
    if not isinstance(error, StorageFailed):
        return error
    if isinstance(error, StoreDamaged):
        log.error("store_damaged", path=request.path, reason=error.message)
    user = g.get("user")
    return error if user is not None and user.is_root else type(error)(error.public, field=error.field)


def _json(error: ChatAppError) -> Response:
    fields = {"code": error.code, "message": error.message, "field": error.field}
    response = jsonify({"error": fields, "request_id": g.request_id})
    response.status_code = error.status
    return response


def _page(error: ChatAppError) -> AnyResponse:
    anonymous = isinstance(error, NotAuthenticated) and g.get("user") is None
    if anonymous and request.endpoint != "auth.login" and not _typed():
        return redirect(_way_in(), 303)
    view = current_app.view_functions.get(request.endpoint or "")
    page = getattr(view, "shows_errors", None)
    if page is not None and g.get("host_is_ours") and not (anonymous and _typed()):
        try:
            return Response(
                page(error, **(request.view_args or {})), status=error.status, mimetype="text/html"
            )
        except ChatAppError as second:
            error = _told(second)  # the page itself cannot be shown: the chat is gone, the disk is gone
    return Response(render_error(error), status=error.status, mimetype="text/html")


def _way_in() -> str:
    if services().accounts.is_empty:
        return url_for("auth.register_form")
    back = request.full_path.rstrip("?") if request.method == "GET" else None
    return url_for("auth.login_form", next=None if back == "/" else back)


def _typed() -> str:
    """Return a message that was sent and must not be lost with its page, ``""`` without one."""
    return body.kept("content") if request.method == "POST" and g.get("host_is_ours") else ""


def render_error(error: ChatAppError) -> str:
    """Return the error page."""
    return render_template(
        "error.html",
        status=error.status,
        title=_title(error),
        message=error.message,
        detail=error.detail,
        request_id=g.request_id,
        typed=_typed(),
        actions=[_action(error)],
    )


def _action(error: ChatAppError) -> dict[str, str]:
    if isinstance(error, NotAuthenticated):
        return {"label": "Log in", "url": _way_in()}
    return {"label": "Back to the start", "url": "/"}


def _title(error: ChatAppError) -> str:
    if isinstance(error, NotFound):
        return "Not found"
    if isinstance(error, Invalid | TooLarge):
        return "That did not work"
    return {401: "Sign in", 403: "Not allowed", 429: "Too fast", 500: "Something went wrong"}.get(
        error.status, "That did not work"
    )


def _framework_error(error: HTTPException) -> AnyResponse:
    if error.code is not None and error.code < 400:
        return error.get_response()
    if isinstance(error, RateLimitExceeded):
        return respond(_too_fast())
    response = respond(_Http(error.code or 500))
    allowed = dict(error.get_headers()).get("Allow")
    if allowed:
        response.headers["Allow"] = allowed
    return response


def _too_fast() -> TooMany:
    from chatapp.routes.rates import seconds_left

    return TooMany(
        "Too many tries in a short time. Wait a moment, then try again.", retry_after_s=seconds_left()
    )


def _unforeseen(error: Exception) -> AnyResponse:
    log.error("request_failed", path=request.path, exc_info=error)
    return respond(ChatAppError("Something went wrong on the server. Try again; if it stays, tell root."))
