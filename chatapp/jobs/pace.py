"""How often one follower is woken by a fast writer: texts that come meanwhile go out together."""

from __future__ import annotations

import time
from collections.abc import Callable

from chatapp.ids import monotonic_s

# Faster than any reader and most models; beyond it a piece waits 10 ms at most for those behind it.
WAKES_PER_S = 100
# The first ones, and those after a quiet moment, are never held back.
BURST = 50


class Pace:
    """Counts the wakes of one follower: ``BURST`` at once, ``WAKES_PER_S`` in the long run. For one thread."""

    def __init__(
        self, now_s: Callable[[], float] = monotonic_s, sleep_s: Callable[[float], None] = time.sleep
    ) -> None:
        self._now_s = now_s
        self._sleep_s = sleep_s
        self._left = float(BURST)
        self._counted_s = now_s()

    def wait(self) -> None:
        """Return at once, or after a few milliseconds when there were too many wakes just now."""
        self._refill()
        if self._left < 1:
            self._sleep_s((1 - self._left) / WAKES_PER_S)
            self._refill()
        self._left -= 1

    def _refill(self) -> None:
        now_s = self._now_s()
        self._left = min(self._left + (now_s - self._counted_s) * WAKES_PER_S, BURST)
        self._counted_s = now_s
