"""Starting, finding and ending jobs."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from chatapp.errors import NotFound
from chatapp.ids import monotonic_s
from chatapp.jobs import registry as registry_module
from chatapp.jobs.job import Job
from chatapp.jobs.registry import JobRegistry, ShuttingDown


@pytest.fixture
def jobs() -> JobRegistry:
    return JobRegistry()


def test_twenty_callers_at_once_get_one_new_job(jobs: JobRegistry) -> None:
    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(lambda _: jobs.reserve("pull", "m", "u"), range(20)))

    assert sum(is_new for _, is_new in results) == 1
    assert len({job.id for job, _ in results}) == 1


def test_a_key_is_free_again_when_its_job_ended(jobs: JobRegistry) -> None:
    first, _ = jobs.reserve("reply", "chat", "u")
    jobs.run(first, lambda job: job.publish("done"))
    first.wait_ended(5)

    second, is_new = jobs.reserve("reply", "chat", "u")

    assert is_new
    assert second is not first
    assert jobs.latest("reply", "chat") is second


def test_work_that_raises_still_ends_with_one_terminal_event(jobs: JobRegistry) -> None:
    def crash(job: Job) -> None:
        raise RuntimeError("boom")

    job, _ = jobs.reserve("reply", "chat", "u")
    jobs.run(job, crash)

    events = [event for event in job.follow() if event]
    assert [event.name for event in events] == ["failed"]
    assert "boom" not in events[0].data["message"]


def test_a_discarded_reservation_frees_the_key_and_its_followers(jobs: JobRegistry) -> None:
    job, _ = jobs.reserve("reply", "chat", "u")

    jobs.discard(job)

    assert jobs.latest("reply", "chat") is None
    assert [event.name for event in job.follow() if event] == ["failed"]


def test_an_unknown_job_is_not_found(jobs: JobRegistry) -> None:
    with pytest.raises(NotFound):
        jobs.get("nothing")


def test_ended_jobs_are_forgotten_only_after_their_time(
    jobs: JobRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, _ = jobs.reserve("reply", "chat", "u")
    old.publish("done")
    jobs.reserve("reply", "other", "u")
    assert jobs.get(old.id) is old

    later_s = monotonic_s() + registry_module.KEPT_AFTER_END_S + 1
    monkeypatch.setattr(registry_module, "monotonic_s", lambda: later_s)
    jobs.reserve("reply", "third", "u")

    with pytest.raises(NotFound):
        jobs.get(old.id)


def test_an_ended_job_can_be_read_for_ten_minutes(jobs: JobRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    ended, _ = jobs.reserve("reply", "chat", "u")
    ended.publish("done")

    later_s = monotonic_s() + 600
    monkeypatch.setattr(registry_module, "monotonic_s", lambda: later_s)
    jobs.reserve("reply", "other", "u")

    assert jobs.get(ended.id) is ended
    assert jobs.latest("reply", "chat") is ended


def test_shutdown_waits_for_work_that_ends_in_time(jobs: JobRegistry) -> None:
    release = threading.Event()

    def work(job: Job) -> None:
        release.wait(5)
        job.publish("done")

    job, _ = jobs.reserve("reply", "chat", "u")
    jobs.run(job, work)
    release.set()

    jobs.shutdown(grace_s=5)

    assert job.last_event is not None
    assert job.last_event.name == "done"
    assert job.cancelled_as is None


def test_shutdown_interrupts_work_that_does_not_end(jobs: JobRegistry) -> None:
    cancelled = threading.Event()

    def work(job: Job) -> None:
        job.on_cancel(cancelled.set)
        cancelled.wait(10)
        job.publish(job.cancelled_as or "done")

    job, _ = jobs.reserve("reply", "chat", "u")
    jobs.run(job, work)

    jobs.shutdown(grace_s=0.05)

    assert job.last_event is not None
    assert job.last_event.name == "interrupted"


def test_nothing_new_starts_after_shutdown(jobs: JobRegistry) -> None:
    jobs.shutdown(grace_s=0)

    with pytest.raises(ShuttingDown):
        jobs.reserve("reply", "chat", "u")
