"""The forms an answer takes: page or JSON, by what the client asks for, and event streams."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, cast

from flask import Response, current_app, jsonify, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from chatapp.jobs import sse
from chatapp.jobs.job import Job
from chatapp.routes.access import current_user, services, still_signed_in
from chatapp.services.replies import Asked

View = TypeVar("View", bound=Callable[..., Any])

_FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})
# How long `?wait=1` waits for a reply before it answers with what there is.
_LONGEST_WAIT_S = 3600.0


def data_only(view: View) -> View:
    """Mark a view that answers with data and never with a page, so that its errors are data, too."""
    cast("Any", view).data_only = True
    return view


def wants_json() -> bool:
    """Return whether a program asks: by its Accept header, else by what it sent.

    A browser's forms say ``text/html``. A client that accepts anything gets a page for GET and for a form,
    JSON for everything else.
    """
    accepts = request.accept_mimetypes
    if accepts["application/json"] != accepts["text/html"]:
        return accepts["application/json"] > accepts["text/html"]
    view = current_app.view_functions.get(request.endpoint or "")
    if getattr(view, "data_only", False) or request.is_json:
        return True
    return request.method not in ("GET", "HEAD") and request.mimetype not in _FORMS


def wants_events() -> bool:
    """Return whether the client asks for the events themselves."""
    accepts = request.accept_mimetypes
    return accepts["text/event-stream"] > max(accepts["text/html"], accepts["application/json"])


def done(data: Mapping[str, Any], location: str, status: int = 200) -> AnyResponse:
    """Return the data to a program, and a redirect to a browser's form."""
    if wants_json():
        return _json(data, status)
    return redirect(location, 303)


def _json(data: Mapping[str, Any], status: int) -> Response:
    response = jsonify(data)
    response.status_code = status
    return response


def events(job: Job, after: int | None = None) -> Response:
    """Stream a job's events. Raises ``TooMany`` when no stream is free."""
    user_id, slots = current_user().id, services().streams
    slots.take(user_id)
    start = _resume_position(job) if after is None else after
    body = _Slotted(sse.stream(job, start, still_signed_in()), lambda: slots.give_back(user_id))
    return Response(body, content_type=sse.CONTENT_TYPE, headers=sse.HEADERS)


def already_seen(job: Job) -> bool:
    """Return whether the client has the job's terminal event, so that nothing is left to say."""
    return not job.is_running and _resume_position(job) == job.end_position


def nothing_to_follow() -> Response:
    """Return 204, which tells an EventSource to stay quiet."""
    return Response(status=204)


def _resume_position(job: Job) -> int:
    """Return where the client is: its ``Last-Event-ID``, else ``?after=`` (what its page already held)."""
    return sse.position_of(request.headers.get("Last-Event-ID") or request.args.get("after"), job)


class _Slotted:
    """A body that calls ``closed`` exactly once, also when the server never began to iterate it."""

    def __init__(self, body: Iterator[bytes], closed: Any) -> None:
        self._body = body
        self._closed = closed

    def __iter__(self) -> Iterator[bytes]:
        return self._body

    def close(self) -> None:
        closed, self._closed = self._closed, None
        if closed is not None:
            closed()
        close_body = getattr(self._body, "close", None)
        if close_body is not None:
            close_body()


def check_room() -> None:
    """Raise ``TooMany``, before anything is stored, when the client wants to stay for a reply and no stream is free."""
    if wants_events() or _waits():
        services().streams.check(current_user().id)


def _waits() -> bool:
    return request.args.get("wait") == "1"


def asked(result: Asked, status: int = 202) -> AnyResponse:
    """Answer a question that was taken: events, the whole reply (``?wait=1``), where to look, or a redirect."""
    if wants_events() and result.job is not None:
        return events(result.job, after=0)
    if _waits():
        return _finished(result)
    page = url_for("chats.show", chat_id=result.chat_id)
    events_url = url_for("chats.events", chat_id=result.chat_id)
    return done(
        {
            "id": result.chat_id,
            "url": page,
            "job_id": result.job.id if result.job else None,
            "question_id": result.question.id,
            "reply_id": result.reply.id,
            "events_url": events_url,
        },
        page,
        status,
    )


def _finished(result: Asked) -> Response:
    if result.job is not None:
        with services().streams.slot(current_user().id):
            result.job.wait_ended(_LONGEST_WAIT_S)
    chat = services().chats.get(current_user(), result.chat_id)
    reply = chat.message(result.reply.id) or result.reply
    return _json(
        {
            "question": result.question.model_dump(mode="json", exclude_none=True),
            "reply": reply.model_dump(mode="json", exclude_none=True),
        },
        200,
    )
