"""Starts jobs, finds them again, ends them at shutdown. The only place that starts threads for work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import structlog

from chatapp.errors import ChatAppError, NotFound
from chatapp.ids import monotonic_s
from chatapp.jobs.job import Job

# How long an ended job can still be read. The contract promises ten minutes.
KEPT_AFTER_END_S = 15 * 60.0

log = structlog.get_logger()


class ShuttingDown(ChatAppError):
    """The server is stopping and takes no new work."""

    status = 503
    code = "shutting_down"


class JobRegistry:
    """All jobs of this process: the running ones, and the ended ones for a quarter of an hour."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_id: dict[str, Job] = {}
        self._latest: dict[tuple[str, str], Job] = {}
        self._closing = False

    def reserve(
        self, kind: str, key: str, owner_id: str, about: Mapping[str, str] | None = None
    ) -> tuple[Job, bool]:
        """Return the running job for ``kind`` and ``key``, or make one; the flag says whether it is new.

        A new job does nothing until ``run`` or ``discard``. Two callers never both get a new one.
        Raises ``ShuttingDown``.
        """
        with self._lock:
            if self._closing:
                raise ShuttingDown("The server is stopping. Try again in a moment.")
            self._forget_old()
            job = self._latest.get((kind, key))
            if job is not None and job.is_running:
                return job, False
            job = Job(kind, key, owner_id, about)
            self._by_id[job.id] = self._latest[kind, key] = job
            return job, True

    def run(self, job: Job, work: Callable[[Job], None]) -> None:
        """Do ``work(job)`` in a thread of its own. Work that ends without a terminal event ends as failed."""
        job.ready.set()
        threading.Thread(target=_work, args=(job, work), name=f"{job.kind}-{job.id}", daemon=True).start()

    def discard(self, job: Job) -> None:
        """Forget a reserved job that was never run."""
        with self._lock:
            self._by_id.pop(job.id, None)
            if self._latest.get((job.kind, job.key)) is job:
                del self._latest[job.kind, job.key]
        job.publish("failed", {"code": "discarded", "message": "This was never started."})
        job.ready.set()

    def latest(self, kind: str, key: str) -> Job | None:
        """Return the newest job for ``kind`` and ``key``, running or ended, or ``None``."""
        with self._lock:
            return self._latest.get((kind, key))

    def get(self, job_id: str) -> Job:
        """Return the job. Raises ``NotFound``."""
        with self._lock:
            if job_id in self._by_id:
                return self._by_id[job_id]
        raise NotFound("This job does not exist any more.")

    def of_kind(self, kind: str) -> list[Job]:
        """Return the newest job for every key of that kind, in the order in which they were started."""
        with self._lock:
            jobs = self._by_id.values()  # in the order in which they were reserved
            return [job for job in jobs if job.kind == kind and self._latest.get((kind, job.key)) is job]

    def running(self) -> list[Job]:
        """Return all jobs that have not ended."""
        with self._lock:
            return [job for job in self._by_id.values() if job.is_running]

    def shutdown(self, grace_s: float, saving_s: float = 2.0) -> None:
        """Take no new jobs, give the running ones ``grace_s`` to end, then interrupt them and let them save."""
        with self._lock:
            self._closing = True
        deadline_s = monotonic_s() + grace_s
        for job in self.running():
            job.wait_ended(max(deadline_s - monotonic_s(), 0))
        late = self.running()
        for job in late:
            job.cancel("interrupted")
        deadline_s = monotonic_s() + saving_s
        for job in late:
            job.wait_ended(max(deadline_s - monotonic_s(), 0))

    def _forget_old(self) -> None:
        oldest_s = monotonic_s() - KEPT_AFTER_END_S
        old = [
            job for job in self._by_id.values() if job.ended_at_s is not None and job.ended_at_s < oldest_s
        ]
        for job in old:
            del self._by_id[job.id]
            if self._latest.get((job.kind, job.key)) is job:
                del self._latest[job.kind, job.key]


def _work(job: Job, work: Callable[[Job], None]) -> None:
    """Run ``work`` and see to it that the job ends. The last resort against a follower that waits for ever."""
    try:
        work(job)
    except Exception:
        log.exception("job_crashed", job=job.id, kind=job.kind)
    finally:
        job.publish(
            "failed", {"code": "internal", "message": "Something went wrong on the server. Try again."}
        )
        log.info("job_ended", job=job.id, kind=job.kind, end=job.last_event.name if job.last_event else None)
