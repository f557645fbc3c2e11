"""Three downloads at once: two run, the third waits for its turn and can be cancelled meanwhile."""

from __future__ import annotations

import threading
from typing import Any

from tests.cast import Browser, services_of
from tests.fakes import scripts
from tests.fakes.ollama import FakeOllama

NAMES = ("one:1b", "two:1b", "three:1b")


def start_three(person: Browser, ollama: FakeOllama) -> threading.Event:
    """Start three downloads that move only when the returned event is set."""
    go_on = threading.Event()
    success = scripts.lines({"status": "pulling manifest"}, {"status": "success"})
    ollama.always("/api/pull", scripts.after(go_on, success))
    for name in NAMES:
        ollama.believable.add(name)
        assert person.send(f"/model/download/{name}").status_code == 202
    ollama.wait_for_call("/api/pull", count=2)
    return go_on


def pulls(person: Browser) -> list[dict[str, Any]]:
    return list((person.get("/models/list").json or {})["pulls"])


def test_the_third_waits_and_runs_when_a_place_is_free(alice: Browser, ollama: FakeOllama) -> None:
    go_on = start_three(alice, ollama)
    jobs = services_of(alice.app).jobs.of_kind("pull")
    first = next(event for event in jobs[2].follow() if event is not None)

    assert (first.name, first.data) == ("queued", {"place": 1})
    assert [pull["state"] for pull in pulls(alice)] == ["running", "running", "queued"]
    assert len(ollama.calls_to("/api/pull")) == 2
    go_on.set()
    assert all(job.wait_ended(5) for job in jobs)
    assert len(ollama.calls_to("/api/pull")) == 3


def test_a_waiting_download_is_cancelled_at_once(alice: Browser, ollama: FakeOllama) -> None:
    go_on = start_three(alice, ollama)
    job = services_of(alice.app).jobs.of_kind("pull")[2]

    alice.send(f"/model/cancel/{NAMES[2]}")

    assert job.last_event is not None
    assert job.last_event.name == "cancelled"
    assert len(ollama.calls_to("/api/pull")) == 2
    go_on.set()
