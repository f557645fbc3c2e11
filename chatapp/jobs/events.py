"""The vocabulary of job events: a public contract, described in docs/EVENTS.md.

Reply: ``queued {place}`` ``loading {model}`` ``started {}`` ``thinking {text}`` ``piece {text}`` ``tail {html}``
``block {index, html}`` ``usage {…}``, then one of ``done {message}`` ``stopped {message}``
``failed {code, message}`` ``interrupted {message}``.

Pull: ``queued {place}`` ``progress {status, digest, layer, completed_bytes, total_bytes, percent, bytes_per_s, eta_s}``
``stalled {silent_s}`` ``retrying {attempt, message}``, then one of ``done {}`` ``cancelled {}``
``failed {code, message}`` ``interrupted {}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

REPLY_EVENTS = frozenset(
    {"queued", "loading", "started", "thinking", "piece", "tail", "block", "usage"}
    | {"done", "stopped", "failed", "interrupted"}
)
PULL_EVENTS = frozenset(
    {"queued", "progress", "stalled", "retrying"} | {"done", "cancelled", "failed", "interrupted"}
)
TERMINAL_EVENTS = frozenset({"done", "stopped", "cancelled", "failed", "interrupted"})

# Events whose texts simply follow one another: neighbours may be joined.
TEXT_EVENTS = frozenset({"thinking", "piece"})
# Events that tell a state: of several in a row only the newest matters to somebody who comes later.
STATE_EVENTS = frozenset({"progress", "queued"})


@dataclass(frozen=True, slots=True)
class Event:
    """One event as a follower sees it.

    ``position`` grows along the job and is the number after the dot in the SSE id. It counts characters of text
    events and one for every other event, so that joined pieces can be resumed at any character.
    It is ``None`` for ``tail``, which is never replayed.
    """

    name: str
    data: Mapping[str, Any]
    position: int | None

    @property
    def is_terminal(self) -> bool:
        return self.name in TERMINAL_EVENTS
