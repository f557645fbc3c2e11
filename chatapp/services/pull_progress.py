"""What Ollama says of a pull, layer by layer, as one bar that never runs backwards."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from chatapp.ollama.types import PullStatus

# Speed is measured over this long: short enough to follow the line, long enough to be readable.
_WINDOW_S = 10.0
# A further layer may always be named, so a hundred percent is not reached before the end.
_MOST_PERCENT = 99


@dataclass(slots=True)
class _Layer:
    total_bytes: int = 0
    completed_bytes: int = 0


class PullProgress:
    """Sums the layers of one pull. Not thread-safe; the job's thread owns it.

    Ollama names a layer only when its turn comes, may report less than before after a retry, and need not report a
    layer's last bytes; so sum and percent keep the best value seen, and a layer counts as whole once the next begins.
    """

    def __init__(self) -> None:
        self._layers: dict[str, _Layer] = {}
        self._current: str | None = None
        self._status = ""
        self._best_bytes = 0
        self._best_percent = 0
        self._samples: deque[tuple[float, int]] = deque()

    def add(self, line: PullStatus, now_s: float) -> None:
        """Take in one line of the pull."""
        self._status = line.status
        if line.digest != self._current:
            self._complete_current()
            self._current = line.digest
        if line.digest is not None:
            layer = self._layers.setdefault(line.digest, _Layer())
            layer.total_bytes = max(layer.total_bytes, line.total_bytes or 0)
            completed = max(layer.completed_bytes, line.completed_bytes or 0)
            layer.completed_bytes = min(completed, layer.total_bytes) if layer.total_bytes else completed
        self._sample(now_s)

    def _complete_current(self) -> None:
        if self._current is not None:
            layer = self._layers[self._current]
            layer.completed_bytes = layer.total_bytes or layer.completed_bytes

    def _sample(self, now_s: float) -> None:
        self._best_bytes = max(
            self._best_bytes, sum(layer.completed_bytes for layer in self._layers.values())
        )
        self._samples.append((now_s, self._best_bytes))
        if total := self.total_bytes:
            self._best_percent = max(self._best_percent, min(100 * self._best_bytes // total, _MOST_PERCENT))
        while len(self._samples) > 2 and now_s - self._samples[0][0] > _WINDOW_S:
            self._samples.popleft()

    @property
    def completed_bytes(self) -> int:
        return self._best_bytes

    @property
    def total_bytes(self) -> int | None:
        """The size of the layers named so far, or ``None`` before the first size is known."""
        total = sum(layer.total_bytes for layer in self._layers.values())
        return max(total, self._best_bytes) or None

    def event(self) -> dict[str, Any]:
        """Return the data of a ``progress`` event. What is not known yet is ``None``."""
        bytes_per_s = self._bytes_per_s()
        left = (self.total_bytes or 0) - self._best_bytes
        return {
            "status": self._status,
            "digest": self._current,
            "layer": list(self._layers).index(self._current) + 1 if self._current else None,
            "completed_bytes": self._best_bytes,
            "total_bytes": self.total_bytes,
            "percent": self._best_percent if self.total_bytes else None,
            "bytes_per_s": bytes_per_s,
            "eta_s": round(left / bytes_per_s) if bytes_per_s and self.total_bytes else None,
        }

    def _bytes_per_s(self) -> int | None:
        if len(self._samples) < 2:
            return None
        (first_s, first_bytes), (last_s, last_bytes) = self._samples[0], self._samples[-1]
        # A layer that was already on the disk counts as completed without having been fetched.
        return round((last_bytes - first_bytes) / (last_s - first_s)) if last_s - first_s >= 0.5 else None
