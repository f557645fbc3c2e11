"""Answers that are read whole: a JSON object, an empty body, or an error.

Ollama's own errors are ``{"error": "text"}``; its router answers 404 and 405 in plain text, and a wrong Host
with a bare 403.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from chatapp.errors import ChatAppError
from chatapp.ollama.exchange import Exchange
from chatapp.ollama.failures import door_closed, unexpected_answer
from chatapp.ollama.ndjson import MAX_LINE_BYTES, NotJson, json_object

_MAX_ERROR_BYTES = 65_536
_ERROR_BODY_TIMEOUT_S = 10.0


class MakeFailure(Protocol):
    """Turns Ollama's text, and the status it came with, into one of our errors."""

    def __call__(self, text: str, *, status: int | None) -> ChatAppError: ...


def read_object(exchange: Exchange) -> dict[str, Any]:
    """Return the JSON object that the body holds.

    Raises:
        OllamaBroken: it holds something else, or more than a line may hold.
    """
    body = _body(exchange, MAX_LINE_BYTES)
    try:
        return json_object(body)
    except NotJson as error:
        raise unexpected_answer(error.start) from error


def expect_success(exchange: Exchange, make_failure: MakeFailure, public_url: str) -> None:
    """Send the request; return when the answer begins well, else raise the error that it stands for."""
    status = exchange.open()
    if 200 <= status < 300:
        return
    exchange.set_read_timeout(_ERROR_BODY_TIMEOUT_S)
    body = _body(exchange, _MAX_ERROR_BYTES)
    if status == 401 or (status == 403 and not body.strip()):
        raise door_closed(status, public_url)
    try:
        text = error_text(json_object(body))
    except NotJson as error:
        raise unexpected_answer(f"HTTP {status} ".encode() + error.start) from error
    raise make_failure(text, status=status)


def error_text(answer: Mapping[str, Any]) -> str:
    """Return the text of an error body or line. Compatible servers put an object where Ollama has a text."""
    error = answer.get("error")
    if isinstance(error, dict):
        error = error.get("message")
    return error if isinstance(error, str) else str(error or "")


def _body(exchange: Exchange, max_bytes: int) -> bytes:
    pieces: list[bytes] = []
    length_bytes = 0
    while piece := exchange.read():
        pieces.append(piece)
        length_bytes += len(piece)
        if length_bytes > max_bytes:
            raise unexpected_answer(b"".join(pieces))
    return b"".join(pieces)
