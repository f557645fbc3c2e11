"""A job's events: order, resuming, joining, the tail's place, ending."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from chatapp.jobs.events import Event
from chatapp.jobs.job import Job

TEXTS = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=30)


def new_job() -> Job:
    return Job("reply", "chat-1", "user-1")


def ended(job: Job) -> Job:
    job.publish("done", {"message": {}})
    return job


def followed(job: Job, after: int = 0) -> list[Event]:
    return [event for event in job.follow(after) if event is not None]


def text_of(events: list[Event]) -> str:
    return "".join(event.data["text"] for event in events if event.name == "piece")


def test_a_follower_sees_all_events_in_order_and_the_terminal_one_last() -> None:
    job = new_job()
    job.publish("started")
    job.publish_text("piece", "Hello")
    job.publish("block", {"index": 0, "html": "<p>Hello</p>"})

    names = [event.name for event in followed(ended(job))]

    assert names == ["started", "piece", "block", "done"]


@given(TEXTS, st.data())
def test_a_follower_can_resume_at_any_character(texts: list[str], data: st.DataObject) -> None:
    job = new_job()
    for text in texts:
        job.publish_text("piece", text)
    whole = "".join(texts)
    position = data.draw(st.integers(0, len(whole)))

    resumed = followed(ended(job), after=position)

    assert text_of(resumed) == whole[position:]
    assert resumed[-1].name == "done"


@given(TEXTS, st.lists(st.integers(0, 29)))
def test_the_tail_comes_exactly_behind_the_text_it_covers(texts: list[str], shown_after: list[int]) -> None:
    job = new_job()
    covered = ""
    for index, text in enumerate(texts):
        job.publish_text("piece", text)
        covered += text
        for _ in range(shown_after.count(index)):
            job.show_tail(covered)

    follower = job.follow()
    seen = ""
    tails = 0
    expected_tails = 1 if any(index < len(texts) for index in shown_after) else 0
    while len(seen) < len(covered) or tails < expected_tails:
        event = next(follower)
        assert event is not None
        seen += event.data.get("text", "")
        tails += event.name == "tail"
        assert event.name != "tail" or event.data["html"] == seen
    follower.close()


def test_the_tail_is_never_replayed_after_the_end() -> None:
    job = new_job()
    job.publish_text("piece", "abc")
    job.show_tail("<p>abc</p>")

    names = [event.name for event in followed(ended(job))]

    assert "tail" not in names


def test_many_pieces_are_kept_as_few_entries() -> None:
    job = new_job()
    for _ in range(20_000):
        job.publish_text("piece", "word ")

    events = followed(ended(job))

    assert len(events) < 40
    assert text_of(events) == "word " * 20_000


def test_progress_replaces_progress_so_that_a_long_pull_stays_small() -> None:
    job = Job("pull", "smollm2:135m", "user-1")
    for completed in range(1000):
        job.publish("progress", {"completed_bytes": completed})

    events = followed(ended(job))

    assert [event.name for event in events] == ["progress", "done"]
    assert events[0].data["completed_bytes"] == 999


def test_nothing_follows_the_terminal_event() -> None:
    job = ended(new_job())

    job.publish("failed", {"code": "internal", "message": "late"})
    job.publish_text("piece", "late")

    assert [event.name for event in followed(job)] == ["done"]


def test_a_position_the_job_never_had_starts_from_the_beginning() -> None:
    job = new_job()
    job.publish_text("piece", "abc")

    assert text_of(followed(ended(job), after=99)) == "abc"
    assert text_of(followed(job, after=-5)) == "abc"


def test_a_quiet_job_gives_a_sign_that_nothing_happened() -> None:
    follower = new_job().follow(wait_s=0.01)

    assert next(follower) is None


def test_a_follower_that_waits_is_woken_by_the_next_piece() -> None:
    job = new_job()
    seen: list[Event | None] = []
    reader = threading.Thread(target=lambda: seen.extend(job.follow(wait_s=10)))
    reader.start()

    job.publish_text("piece", "abc")
    ended(job)
    reader.join(timeout=5)

    assert not reader.is_alive()
    assert text_of([event for event in seen if event]) == "abc"


def test_the_first_word_of_a_cancel_holds_and_hooks_run_once() -> None:
    job = new_job()
    calls: list[str] = []
    job.on_cancel(lambda: calls.append("called"))

    job.cancel("stopped")
    job.cancel("interrupted")

    assert job.cancelled_as == "stopped"
    assert calls == ["called"]


def test_a_hook_added_after_the_cancel_runs_at_once() -> None:
    job = new_job()
    job.cancel("stopped")
    calls: list[str] = []

    job.on_cancel(lambda: calls.append("called"))

    assert calls == ["called"]


def test_an_ended_job_cannot_be_cancelled_any_more() -> None:
    job = ended(new_job())

    job.cancel("stopped")

    assert job.cancelled_as is None
