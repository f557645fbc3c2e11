"""Whose turn it is: one model in memory, one request at a time, first come first served, as Ollama queues."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from chatapp.engine.gguf import Header
from chatapp.engine.options import DEFAULT_KEEP_ALIVE_S
from chatapp.engine.runner import Runner
from chatapp.engine.store import StoredModel
from chatapp.engine.wire import FOR_EVER_AT, ApiError
from chatapp.ids import now_utc

_POLL_S = 0.1
MAX_WAITING = 512

Load = Callable[[Path, int], Runner]


@dataclass(slots=True)
class Loaded:
    """A model in memory.

    ``size_bytes`` is roughly what it takes there: the weights and the cache of its context. ``used_s`` is on the
    monotonic clock, set at the load and at the end of every request. What is kept here about the file stays true
    when the model is deleted meanwhile.
    """

    model: StoredModel
    header: Header
    size_bytes: int
    runner: Runner
    keep_alive_s: float = DEFAULT_KEEP_ALIVE_S
    used_s: float = 0.0

    @property
    def expires_in_s(self) -> float:
        return self.used_s + self.keep_alive_s - time.monotonic()

    @property
    def expires_at(self) -> datetime:
        if math.isinf(self.keep_alive_s) or self.expires_in_s > (FOR_EVER_AT - now_utc()).total_seconds():
            return FOR_EVER_AT
        return now_utc() + timedelta(seconds=self.expires_in_s)


class Scheduler:
    """Hands the loaded model to one request after the other, and unloads it when it has been idle long enough.

    Safe for many threads. :meth:`close` ends its own thread.
    """

    def __init__(self, load: Load, max_waiting: int = MAX_WAITING) -> None:
        self._load = load
        self._max_waiting = max_waiting
        self._changed = threading.Condition()
        self._queue: deque[object] = deque()
        self._loaded: Loaded | None = None
        self._is_closed = False
        threading.Thread(target=self._unload_when_idle, name="unload", daemon=True).start()

    @contextmanager
    def turn(
        self, model: StoredModel, num_ctx: int, keep_alive_s: float | None, check: Callable[[], None]
    ) -> Iterator[Runner]:
        """Wait for one's turn and give the loaded model, loading or reloading it first where that is needed.

        Args:
            keep_alive_s: how long it stays after this request; ``None`` leaves what is in force.
            check: called every 100 ms while waiting; what it raises gives up the place.

        Raises:
            ApiError: 503, too many are waiting; 500, the model cannot be loaded.
        """
        ticket = self._enqueue()
        try:
            self._wait_for(ticket, check)
            loaded = self._with_context(model, num_ctx)
            if keep_alive_s is not None:
                loaded.keep_alive_s = keep_alive_s
            check()
            yield loaded.runner
        finally:
            self._leave(ticket)

    def running(self) -> list[Loaded]:
        """Return what is in memory; a model that is still loading is not among it."""
        loaded = self._loaded
        return [loaded] if loaded else []

    def expire(self, model: StoredModel) -> None:
        """Unload the model now, or when the running answer has ended. No matter if it was not loaded."""
        with self._changed:
            if self._loaded and self._loaded.model.weights == model.weights:
                self._loaded.keep_alive_s = 0
            self._unload_expired()
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _enqueue(self) -> object:
        ticket = object()
        with self._changed:
            if len(self._queue) > self._max_waiting:
                raise ApiError(503, "server busy, please try again.  maximum pending requests exceeded")
            self._queue.append(ticket)
        return ticket

    def _wait_for(self, ticket: object, check: Callable[[], None]) -> None:
        with self._changed:
            while self._queue[0] is not ticket:
                self._changed.wait(_POLL_S)
                check()

    def _leave(self, ticket: object) -> None:
        with self._changed:
            if self._loaded and self._queue[0] is ticket:
                self._loaded.used_s = time.monotonic()
            self._queue.remove(ticket)
            self._unload_expired()
            self._changed.notify_all()

    def _with_context(self, model: StoredModel, num_ctx: int) -> Loaded:
        # Only whoever has the turn comes here, so the load itself needs no lock.
        loaded = self._loaded
        if loaded and loaded.model.weights == model.weights and loaded.runner.num_ctx == num_ctx:
            return loaded
        self._unload()
        header = model.header
        size_bytes = model.weights.stat().st_size + header.cache_bytes(num_ctx)
        fresh = Loaded(model, header, size_bytes, self._load(model.weights, num_ctx))
        fresh.used_s = time.monotonic()
        self._loaded = fresh
        return fresh

    def _unload_when_idle(self) -> None:
        with self._changed:
            while not self._is_closed:
                self._unload_expired()
                self._changed.wait(self._until_next_expiry_s())

    def _until_next_expiry_s(self) -> float | None:
        if self._loaded is None or self._queue or math.isinf(self._loaded.keep_alive_s):
            return None
        return max(0.0, min(self._loaded.expires_in_s, threading.TIMEOUT_MAX))

    def _unload_expired(self) -> None:
        if self._loaded and not self._queue and self._loaded.expires_in_s <= 0:
            self._unload()

    def _unload(self) -> None:
        if self._loaded:
            self._loaded.runner.close()
            self._loaded = None
