"""Ready-made scripts for the scriptable Ollama. A script writes one answer on a wire."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any, Literal

from tests.fakes import traces
from tests.fakes.wire import Wire

Script = Callable[[Wire], None]
Ending = Literal["end", "fin", "reset", "stall"]


def play(
    name: str,
    *,
    piece_bytes: int | None = None,
    cut_after_bytes: int | None = None,
    ending: Ending = "end",
    chunked: bool = True,
) -> Script:
    """Play a recording.

    Args:
        name: the recording.
        piece_bytes: cut it into pieces of this many bytes instead of where Ollama cut it.
        cut_after_bytes: send no more than this many bytes of the body.
        ending: what comes then; see :func:`finish`.
        chunked: as Ollama sends it, or with nothing that marks the end but the connection's.
    """
    trace = traces.load(name)
    body = trace.body[:cut_after_bytes]
    whole = trace.pieces() if cut_after_bytes is None else [body]
    pieces = _cut(body, piece_bytes) if piece_bytes else whole

    def script(wire: Wire) -> None:
        wire.begin(trace.status, trace.content_type, chunked=chunked)
        for piece in pieces:
            wire.send(piece)
        finish(wire, ending)

    return script


def send(
    *pieces: bytes, ending: Ending = "end", status: int = 200, content_type: str = "application/x-ndjson"
) -> Script:
    """Send these bytes, each a piece of its own, without a pause."""

    def script(wire: Wire) -> None:
        wire.begin(status, content_type)
        for piece in pieces:
            wire.send(piece)
        finish(wire, ending)

    return script


def lines(*objects: Any, ending: Ending = "end", between_s: float = 0.0) -> Script:
    """Send these objects, a line each, with a pause before each but the first."""

    def script(wire: Wire) -> None:
        wire.begin()
        for count, value in enumerate(objects):
            wire.pause(between_s if count else 0)
            wire.line(value)
        finish(wire, ending)

    return script


def answer(status: int, body: Any = b"", content_type: str = "application/json; charset=utf-8") -> Script:
    """Answer at once and whole: bytes as they are, anything else as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    def script(wire: Wire) -> None:
        wire.begin(status, content_type, length=len(content))
        wire.send(content)

    return script


def error(status: int, text: str) -> Script:
    """Answer as Ollama does when it refuses."""
    return answer(status, {"error": text})


def busy() -> Script:
    """Answer as Ollama does when its waiting line is full."""
    return error(503, "server busy, please try again.  maximum pending requests exceeded")


def html(status: int) -> Script:
    """Answer as a proxy does when what is behind it is gone."""
    body = f"<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>".encode()
    return answer(status, body, "text/html")


def redirect(location: str) -> Script:
    """Point to another address."""

    def script(wire: Wire) -> None:
        wire.begin(307, "text/html", length=0, headers=(("Location", location),))

    return script


def silence() -> Script:
    """Take the request and never answer."""
    return Wire.stall


def hang_up(ending: Ending = "fin") -> Script:
    """Take the request and close the connection without a word."""
    return lambda wire: finish(wire, ending)


def after(event: threading.Event, script: Script) -> Script:
    """Wait for ``event`` before the first byte, as Ollama does while it loads a model."""

    def waiting(wire: Wire) -> None:
        wire.wait_for(event)
        script(wire)

    return waiting


def late(seconds: float, script: Script) -> Script:
    """Wait ``seconds`` before the first byte."""

    def waiting(wire: Wire) -> None:
        wire.pause(seconds)
        script(wire)

    return waiting


def piece(content: str = "", thinking: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a line of a reply."""
    message = {"role": "assistant", "content": content}
    if thinking is not None:
        message["thinking"] = thinking
    return {
        "model": "m",
        "created_at": "2026-11-20T05:04:23.2500275Z",
        "message": message,
        "done": False,
        **more,
    }


def done(content: str = "", **more: Any) -> dict[str, Any]:
    """Return the last line of a reply."""
    return piece(content) | {"done": True, "done_reason": "stop"} | more


def finish(wire: Wire, ending: Ending) -> None:
    """End an answer: complete, or the connection closed or broken off in the middle, or silent for ever."""
    endings: dict[Ending, Callable[[], None]] = {
        "end": wire.end,
        "fin": wire.fin,
        "reset": wire.reset,
        "stall": wire.stall,
    }
    endings[ending]()


def _cut(body: bytes, piece_bytes: int) -> list[bytes]:
    return [body[start : start + piece_bytes] for start in range(0, len(body), piece_bytes)]
