"""One pull as a job: relays Ollama's lines, tries again after a broken line, believes only the list of models."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

import structlog

from chatapp.errors import ChatAppError, OllamaBroken, OllamaTimeout, OllamaUnreachable
from chatapp.ids import monotonic_s
from chatapp.jobs.job import Job
from chatapp.ollama.names import same_name
from chatapp.ollama.types import Cancelled, ModelInfo, PullStatus
from chatapp.services.pull_progress import PullProgress
from chatapp.services.pull_turns import PullTurns

log = structlog.get_logger()

_PROGRESS_EVERY_S = 0.2
_STALLED_AFTER_S = 15.0
_RETRIES = 5
_FIRST_PAUSE_S = 1.0
# Ollama's word when a new pull joins one that was just given up (it is gone a moment later).
_DYING_DOWNLOAD = "context canceled"


class PullSource(Protocol):
    """What a pull needs of Ollama."""

    def pull(self, name: str) -> AbstractContextManager[_Lines]: ...

    def tags(self) -> list[ModelInfo]: ...


class _Lines(Protocol):
    def __iter__(self) -> Iterator[PullStatus]: ...

    def cancel(self) -> None: ...


class Puller:
    """Pulls one model. Used by one job thread only. ``check`` raises what would make the pull fail anyway."""

    def __init__(
        self, job: Job, name: str, ollama: PullSource, turns: PullTurns, check: Callable[[], None]
    ) -> None:
        self._job = job
        self._name = name
        self._ollama = ollama
        self._turns = turns
        self._ticket = turns.join()
        self._check = check
        self._progress = PullProgress()
        self._cancelled = threading.Event()
        self._last_line_s = self._published_s = 0.0
        self._last_bytes = -1
        self._moved_s = monotonic_s()
        job.on_cancel(self._give_up)

    def _give_up(self) -> None:
        self._cancelled.set()
        self._turns.wake()

    def pull(self) -> None:
        """Wait for a turn, then pull until success, cancel or a failure that trying again does not mend."""
        try:
            with self._turns.turn(self._ticket, self._tell_place, self._cancelled.is_set) as came:
                if not came:
                    raise Cancelled
                self._check()
                self._pull_in_turn()
        except Cancelled:
            self._job.publish(self._job.cancelled_as or "cancelled")
        except ChatAppError as error:
            data = {"code": error.code, "message": error.message, "detail": error.detail}
            self._job.publish("failed", data)

    def _tell_place(self, place: int) -> None:
        self._job.publish("queued", {"place": place})

    def _pull_in_turn(self) -> None:
        self._moved_s = monotonic_s()
        threading.Thread(target=self._watch, name=f"watch-{self._job.id}", daemon=True).start()
        self._pull_with_retries()
        self._check_installed()
        self._job.publish("progress", self._progress.event())
        self._job.publish("done")

    def _pull_with_retries(self) -> None:
        """Relay until success. Tries that brought nothing are counted; one that brought bytes begins anew."""
        attempt = 0
        while True:
            had_bytes = self._progress.completed_bytes
            try:
                self._relay()
                return
            except ChatAppError as error:
                attempt = 1 if self._progress.completed_bytes > had_bytes else attempt + 1
                if not _is_passing(error) or attempt > _RETRIES:
                    raise
                self._job.publish("retrying", {"attempt": attempt, "message": error.message})
                if self._cancelled.wait(_FIRST_PAUSE_S * 2 ** (attempt - 1)):
                    raise Cancelled from None

    def _relay(self) -> None:
        with self._ollama.pull(self._name) as lines:
            self._job.on_cancel(lines.cancel)
            for line in lines:
                self._take(line)

    def _take(self, line: PullStatus) -> None:
        now_s = monotonic_s()
        before = self._progress.event()["status"]
        self._progress.add(line, now_s)
        if self._progress.completed_bytes != self._last_bytes or line.status != before:
            self._last_bytes, self._moved_s = self._progress.completed_bytes, now_s
        if line.status != before or now_s - self._published_s >= _PROGRESS_EVERY_S:
            self._job.publish("progress", self._progress.event())
            self._published_s = now_s

    def _watch(self) -> None:
        """Tell when nothing moves, once per stall."""
        told_s = 0.0
        while not self._job.wait_ended(timeout_s=1.0):
            silent_s = monotonic_s() - self._moved_s
            if silent_s >= _STALLED_AFTER_S and told_s != self._moved_s:
                told_s = self._moved_s
                self._job.publish("stalled", {"silent_s": round(silent_s)})

    def _check_installed(self) -> None:
        """Ollama says success even when a delete took a shared layer away meanwhile; the list tells the truth."""
        if not any(same_name(model.name, self._name) for model in self._ollama.tags()):
            raise OllamaBroken(
                f"The download ended, but {self._name} is not among the models: a model that shares parts with it "
                "was probably deleted meanwhile. Download it again."
            )


def _is_passing(error: ChatAppError) -> bool:
    """Return whether the same pull may work a moment later."""
    if isinstance(error, OllamaBroken | OllamaTimeout | OllamaUnreachable):
        return True
    return _DYING_DOWNLOAD in (error.detail or "")
