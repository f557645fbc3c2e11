"""One thread that waits for signals, for what children write, and for the clock.

Threads would race with reaping: as process 1 the supervisor has to collect every process that ends, its own
children and strangers alike, and only one place can do that.
"""

from __future__ import annotations

import heapq
import itertools
import selectors
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

Handler = Callable[[], None]


class Loop:
    """Calls handlers until :meth:`stop`. Not thread-safe; belongs to the main thread, which signals reach."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Handler]] = []
        self._order = itertools.count()
        self._signals: dict[int, Handler] = {}
        self._before: dict[int, Any] = {}
        self._running = True
        self._wake, self._wake_write = socket.socketpair()
        self._wake.setblocking(False)
        self._wake_write.setblocking(False)
        signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)
        self.watch(self._wake, self._dispatch_signals)

    def on_signal(self, number: int, handler: Handler) -> None:
        """Call ``handler`` from the loop, never in the middle of something, each time the signal arrives."""
        self._signals[number] = handler
        self._before[number] = signal.signal(number, lambda _number, _frame: None)

    def watch(self, readable: Any, handler: Handler) -> None:
        """Call ``handler`` whenever ``readable`` (a socket or pipe) has something to read or has ended."""
        self._selector.register(readable, selectors.EVENT_READ, handler)

    def unwatch(self, readable: Any) -> None:
        self._selector.unregister(readable)

    def after(self, delay_s: float, handler: Handler) -> None:
        """Call ``handler`` once, ``delay_s`` seconds from now."""
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._order), handler))

    def stop(self) -> None:
        self._running = False

    def run(self) -> None:
        """Call handlers until one of them calls :meth:`stop`."""
        while self._running:
            for key, _events in self._selector.select(self._wait_s()):
                key.data()
            while self._timers and self._timers[0][0] <= time.monotonic():
                heapq.heappop(self._timers)[2]()

    def close(self) -> None:
        """Give the signals back and let go of everything that was watched."""
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._selector.close()
        self._wake.close()
        self._wake_write.close()

    def _wait_s(self) -> float | None:
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _dispatch_signals(self) -> None:
        for number in self._wake.recv(4096):
            self._signals.get(number, _nothing)()


def _nothing() -> None:
    """For a signal that nobody asked for."""
