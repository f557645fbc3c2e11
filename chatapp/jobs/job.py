"""A job: work that outlives the request that started it, and the events it tells.

One thread writes, any number follow, each from any position. Leaving does not stop the job; ``cancel`` does.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

from chatapp.ids import monotonic_s, new_id
from chatapp.jobs.events import STATE_EVENTS, TERMINAL_EVENTS, Event

# Neighbouring texts are kept as one up to this length: memory follows the text, not the number of pieces.
_JOINED_CHARACTERS = 4096


@dataclass(slots=True)
class _Entry:
    """An event as it is kept. ``start`` and ``end`` are positions; a text entry's length is ``end - start``."""

    name: str
    data: Mapping[str, Any] | None
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Tail:
    """The unfinished end of a reply: it covers the text up to ``position``."""

    position: int
    html: str
    number: int

    def event(self) -> Event:
        return Event("tail", {"html": self.html}, None)


class Job:
    """An append-only list of events. All methods may be called from any thread.

    ``key`` says what the job works on (a chat id, a model name); ``about`` holds facts that never change.
    """

    def __init__(self, kind: str, key: str, owner_id: str, about: Mapping[str, str] | None = None) -> None:
        self.id = new_id()
        self.kind = kind
        self.key = key
        self.owner_id = owner_id
        self.about = dict(about or {})
        self.ready = threading.Event()
        self.ended_at_s: float | None = None
        self.cancelled_as: str | None = None
        self._entries: list[_Entry] = []
        self._starts: list[int] = []
        self._end = 0
        self._tail: _Tail | None = None
        self._tails = 0
        self._changed = threading.Condition()
        self._on_cancel: list[Callable[[], None]] = []

    # -- the writer's side

    def publish(self, name: str, data: Mapping[str, Any] | None = None) -> None:
        """Append an event. After the terminal event nothing is appended any more, and none is lost before it."""
        with self._changed:
            if self.ended_at_s is not None:
                return
            if name in STATE_EVENTS and self._entries and self._entries[-1].name == name:
                self._entries.pop()
                self._starts.pop()
            self._append(_Entry(name, dict(data or {}), "", self._end, self._end + 1))
            if name in TERMINAL_EVENTS:
                self.ended_at_s = monotonic_s()
                self._tail = None
            self._changed.notify_all()

    def publish_text(self, name: str, text: str) -> None:
        """Append text to the ``thinking`` or ``piece`` events; empty text changes nothing."""
        with self._changed:
            if self.ended_at_s is not None or not text:
                return
            last = self._entries[-1] if self._entries else None
            if last is not None and last.name == name and len(last.text) < _JOINED_CHARACTERS:
                last.text += text
                last.end += len(text)
                self._end = last.end
            else:
                self._append(_Entry(name, None, text, self._end, self._end + len(text)))
            self._changed.notify_all()

    def show_tail(self, html: str) -> None:
        """Show the unfinished end of a reply to whoever follows live. It replaces the tail shown before."""
        with self._changed:
            self._tails += 1
            self._tail = _Tail(self._end, html, self._tails)
            self._changed.notify_all()

    def _append(self, entry: _Entry) -> None:
        self._entries.append(entry)
        self._starts.append(entry.start)
        self._end = entry.end

    # -- the followers' side

    @property
    def is_running(self) -> bool:
        return self.ended_at_s is None

    @property
    def end_position(self) -> int:
        """The position of the newest event."""
        return self._end

    @property
    def last_event(self) -> Event | None:
        """The newest kept event, or ``None`` before the first."""
        with self._changed:
            return _whole(self._entries[-1]) if self._entries else None

    def latest(self, name: str) -> Event | None:
        """Return the newest event of that name, or ``None``."""
        with self._changed:
            entry = next((entry for entry in reversed(self._entries) if entry.name == name), None)
            return _whole(entry) if entry else None

    def texts(self) -> tuple[int, dict[str, str]]:
        """Return the position of now, and all text of each text event up to it."""
        with self._changed:
            found: dict[str, list[str]] = {}
            for entry in self._entries:
                if entry.data is None:
                    found.setdefault(entry.name, []).append(entry.text)
            return self._end, {name: "".join(texts) for name, texts in found.items()}

    def follow(
        self, after: int = 0, wait_s: float = 15.0, pace: Callable[[], None] | None = None
    ) -> Generator[Event | None, None, None]:
        """Yield the events after position ``after``, then live ones, up to and with the terminal event.

        Yields ``None`` when nothing happened for ``wait_s`` seconds, so that the caller can give a sign of life.
        A position that this job never had starts from the beginning. ``pace`` is called after each handful of
        events and may wait: texts that come meanwhile are joined. Closing the iterator has no effect on the job.
        """
        position = after if 0 <= after <= self._end else 0
        tail_seen = 0
        while True:
            with self._changed:
                events, position = self._news(position, tail_seen)
                tail_seen = self._tails
                if not events:
                    if self.ended_at_s is not None:
                        return
                    if not self._changed.wait(wait_s):
                        events = [None]
            yield from events
            if events and pace is not None:
                pace()

    def _news(self, position: int, tail_seen: int) -> tuple[list[Event | None], int]:
        """Return what a follower at ``position`` has not seen; the tail only at its own place in the text."""
        events: list[Event | None] = []
        tail = self._tail if self._tail is not None and self._tail.number > tail_seen else None
        for entry in self._entries[self._first_after(position) :]:
            if tail is not None and position <= tail.position < entry.end:
                if position < tail.position:
                    events.append(_event(entry, position, tail.position))
                events.append(tail.event())
                position, tail = tail.position, None
            events.append(_event(entry, position, entry.end))
            position = entry.end
        if tail is not None and tail.position == position:
            events.append(tail.event())
        return events, position

    def _first_after(self, position: int) -> int:
        index = max(bisect_right(self._starts, position) - 1, 0)
        while index < len(self._entries) and self._entries[index].end <= position:
            index += 1
        return index

    # -- ending it

    def cancel(self, word: str) -> None:
        """Ask the job to end as ``word`` (``stopped``, ``cancelled``, ``interrupted``). The first word holds."""
        with self._changed:
            if self.ended_at_s is not None or self.cancelled_as is not None:
                return
            self.cancelled_as = word
            hooks = list(self._on_cancel)
        for hook in hooks:
            hook()

    def on_cancel(self, hook: Callable[[], None]) -> None:
        """Call ``hook`` when the job is cancelled, at once if it already is. It runs in the canceller's thread."""
        with self._changed:
            self._on_cancel.append(hook)
            already = self.cancelled_as is not None
        if already:
            hook()

    def wait_ended(self, timeout_s: float | None = None) -> bool:
        """Wait for the terminal event; return whether it came."""
        with self._changed:
            return self._changed.wait_for(lambda: self.ended_at_s is not None, timeout_s)


def _event(entry: _Entry, position: int, upto: int) -> Event:
    """Return an entry as an event; of a text only what lies between the two positions."""
    if entry.data is not None:
        return Event(entry.name, entry.data, entry.end)
    begin = max(position - entry.start, 0)
    return Event(entry.name, {"text": entry.text[begin : upto - entry.start]}, upto)


def _whole(entry: _Entry) -> Event:
    return _event(entry, entry.start, entry.end)
