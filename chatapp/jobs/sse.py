"""Events as server-sent events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator

from chatapp.ids import monotonic_s
from chatapp.jobs.events import Event
from chatapp.jobs.job import Job
from chatapp.jobs.pace import Pace

CONTENT_TYPE = "text/event-stream; charset=utf-8"
HEADERS = {
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",  # nginx passes every event on at once
}
HEARTBEAT_S = 15.0
# How often a follower's right to follow is looked at again: a log-out closes its streams within this time.
_RECHECK_S = 2.0
# Not ends of a line to a browser, but to the way in which many programs split lines.
_LINE_ENDS = str.maketrans({"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def stream(job: Job, after: int, allowed: Callable[[], bool]) -> Generator[bytes, None, None]:
    """Yield the job's events as frames, with a comment after 15 quiet seconds.

    Ends after the terminal event, or without one as soon as ``allowed()`` is false.
    """
    yield b": connected\n\n"  # so that the browser knows at once that the line stands
    wrote_s = checked_s = monotonic_s()
    for event in job.follow(after, wait_s=_RECHECK_S, pace=Pace().wait):
        now_s = monotonic_s()
        if now_s - checked_s >= _RECHECK_S:
            if not allowed():
                return
            checked_s = now_s
        if event is not None:
            yield frame(job.id, event)
            wrote_s = now_s
        elif now_s - wrote_s >= HEARTBEAT_S - _RECHECK_S:
            yield b": still here\n\n"
            wrote_s = now_s


def frame(job_id: str, event: Event) -> bytes:
    """Return one event as bytes. The data is one line of JSON, so no text can break out of it."""
    data = json.dumps(event.data, ensure_ascii=False, separators=(",", ":")).translate(_LINE_ENDS)
    lines = [f"event: {event.name}", f"data: {data}"]
    if event.position is not None:
        lines.insert(1, f"id: {job_id}.{event.position}")
    return ("\n".join(lines) + "\n\n").encode()


def position_of(event_id: str | None, job: Job) -> int:
    """Return the position that a ``Last-Event-ID`` names; 0 when it is absent, malformed or another job's."""
    job_id, dot, number = (event_id or "").rpartition(".")
    if not dot or job_id != job.id or not (number.isascii() and number.isdigit()) or len(number) > 12:
        return 0
    position = int(number)
    return position if position <= job.end_position else 0
