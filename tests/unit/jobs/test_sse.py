"""Events as bytes: framing, ids, and who may go on reading."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from chatapp.jobs import sse
from chatapp.jobs.events import Event
from chatapp.jobs.job import Job


def job_with(text: str) -> Job:
    job = Job("reply", "chat", "user")
    job.publish_text("piece", text)
    return job


def test_a_frame_names_its_event_and_carries_id_and_json() -> None:
    frame = sse.frame("job1", Event("piece", {"text": "Grüße"}, 5))

    assert frame.decode() == 'event: piece\nid: job1.5\ndata: {"text":"Grüße"}\n\n'


def test_the_tail_has_no_id() -> None:
    assert b"id:" not in sse.frame("job1", Event("tail", {"html": "<p>x</p>"}, None))


@pytest.mark.parametrize("text", ["\n\ndata: x", "\r\nevent: done\r\n", "a\n\nevent: failed\ndata: {}\n\n"])
def test_no_text_can_break_out_of_its_frame(text: str) -> None:
    frame = sse.frame("job1", Event("piece", {"text": text}, 5)).decode()

    lines = frame.removesuffix("\n\n").split("\n")
    assert [line.split(":")[0] for line in lines] == ["event", "id", "data"]
    assert json.loads(lines[2].removeprefix("data: "))["text"] == text
    assert "\r" not in frame


@pytest.mark.parametrize(
    ("event_id", "position"),
    [
        ("{job}.2", 2),
        ("{job}.3", 3),
        ("{job}.4", 0),
        ("{job}.-1", 0),
        ("{job}.1e1", 0),
        ("{job}.٣", 0),
        ("{job}." + "9" * 400, 0),
        ("{job}", 0),
        ("other.2", 0),
        ("", 0),
        (None, 0),
    ],
)
def test_only_an_id_of_this_job_resumes(event_id: str | None, position: int) -> None:
    job = job_with("abc")

    assert sse.position_of(event_id and event_id.replace("{job}", job.id), job) == position


def test_a_stream_ends_with_the_terminal_event() -> None:
    job = job_with("abc")
    job.publish("done", {})

    body = b"".join(sse.stream(job, 0, allowed=lambda: True)).decode()

    assert [line for line in body.splitlines() if line.startswith("event")] == ["event: piece", "event: done"]


def test_a_stream_ends_soon_after_its_reader_was_signed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "_RECHECK_S", 0.01)
    job = job_with("abc")

    body = b"".join(sse.stream(job, 0, allowed=lambda: False))

    assert b"event: done" not in body
    assert job.is_running


def test_a_quiet_stream_shows_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "_RECHECK_S", 0.01)
    monkeypatch.setattr(sse, "HEARTBEAT_S", 0.05)
    stream = sse.stream(job_with("abc"), 0, allowed=lambda: True)

    frames = [next(stream) for _ in range(4)]
    stream.close()

    assert frames[-1].startswith(b":")


class QuietClock:
    """Goes on only when somebody waits in vain for news."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s

    def wait(self, timeout_s: float) -> bool:
        assert self.now_s < 1200, "no sign of life in minutes"
        self.now_s += timeout_s
        return False


def test_a_quiet_stream_shows_a_sign_of_life_at_least_every_fifteen_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = QuietClock()
    job = Job("reply", "chat", "user")
    monkeypatch.setattr(sse, "monotonic_s", clock)
    monkeypatch.setattr(job._changed, "wait", clock.wait)
    stream = sse.stream(job, 0, allowed=lambda: True)

    signs = [(next(stream)[:1], clock.now_s) for _ in range(5)]
    stream.close()

    assert {first for first, _ in signs} == {b":"}
    assert all(later - earlier <= 15 for (_, earlier), (_, later) in pairwise(signs))
    assert sse.HEARTBEAT_S <= 15
