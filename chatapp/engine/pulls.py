"""Pulls that several clients can watch: one download per model, for as long as anybody waits for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chatapp.engine.wire import Json

log = logging.getLogger(__name__)

_POLL_S = 0.1

Report = Callable[[Json], None]
Work = Callable[[Report, threading.Event], None]


class PullFailed(Exception):
    """The pull ended without its model. The text is what the clients are told."""


class PullCancelled(Exception):
    """Everybody who waited has left."""


class Pull:
    """One pull on a thread of its own. Lines of the same ``status`` replace each other: only the newest count.

    The last line is ``{"status": "success"}`` or ``{"error": …}``. Safe for many threads.
    """

    def __init__(self, work: Work) -> None:
        self.followers = 0
        self.cancelled = threading.Event()
        self._work = work
        self._changed = threading.Condition()
        self._lines: list[tuple[int, Json]] = []
        self._last_number = 0
        self._has_ended = False
        self._thread = threading.Thread(target=self._run, name="pull", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout_s: float | None = None) -> None:
        self._thread.join(timeout_s)

    def lines(self) -> Iterator[Json | None]:
        """Yield the lines so far and those to come, and ``None`` every 100 ms in which there is nothing new."""
        seen, has_ended = 0, False
        while not has_ended:
            with self._changed:
                if seen == self._last_number and not self._has_ended:
                    self._changed.wait(_POLL_S)
                fresh = [line for number, line in self._lines if number > seen]
                seen, has_ended = self._last_number, self._has_ended
            if fresh:
                yield from fresh
            else:
                yield None

    def _run(self) -> None:
        try:
            self._work(self._report, self.cancelled)
            self._report({"status": "success"})
        except PullFailed as error:
            self._report({"error": str(error)})
        except PullCancelled:
            self._report({"error": "context canceled"})
        except Exception as error:
            log.exception("a pull failed")
            self._report({"error": f"the engine could not store the model: {error}"})
        finally:
            self._end()

    def _report(self, line: Json) -> None:
        with self._changed:
            if self._lines and self._lines[-1][1].get("status") == line.get("status"):
                self._lines.pop()
            self._last_number += 1
            self._lines.append((self._last_number, line))
            self._changed.notify_all()

    def _end(self) -> None:
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()


class Pulls:
    """The running pulls by model. Safe for many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, Pull] = {}

    @contextmanager
    def following(self, model: str, work: Work) -> Iterator[Pull]:
        """Join the model's pull, starting it with ``work`` if there is none; the last one to leave cancels it."""
        pull = self._join(model, work)
        try:
            yield pull
        finally:
            self._leave(model, pull)

    def cancel_all(self, timeout_s: float) -> None:
        """End all pulls, for example before the process ends; waits so long for each to clean up."""
        with self._lock:
            pulls = list(self._running.values())
        for pull in pulls:
            pull.cancelled.set()
        for pull in pulls:
            pull.join(timeout_s)

    def _join(self, model: str, work: Work) -> Pull:
        with self._lock:
            pull = self._running.get(model)
            if pull is None:
                pull = self._running[model] = Pull(work)
                pull.start()
            pull.followers += 1
            return pull

    def _leave(self, model: str, pull: Pull) -> None:
        with self._lock:
            pull.followers -= 1
            if pull.followers == 0 and self._running.get(model) is pull:
                # Whoever asks from now on gets a pull of its own, never the end of this one.
                del self._running[model]
                pull.cancelled.set()
