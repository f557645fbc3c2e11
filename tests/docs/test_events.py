"""docs/EVENTS.md against the vocabulary, a real reply and a real download."""

from __future__ import annotations

import json
import re

import pytest

from chatapp.jobs.events import PULL_EVENTS, REPLY_EVENTS, TERMINAL_EVENTS
from chatapp.jobs.job import Job
from tests.cast import Browser, services_of
from tests.docs.pages import rows, section, words
from tests.fakes import scripts
from tests.fakes.ollama import FakeOllama

SECTIONS = {"Reply": REPLY_EVENTS, "Download": PULL_EVENTS}
EVENT = re.compile(r"^event: (\w+)\n(?:id: (\S+)\n)?data: (.+)$", re.MULTILINE)


def documented(heading: str) -> dict[str, set[str]]:
    """Return the fields of each event, by its name."""
    return {
        words(name)[0]: set(words(fields)) for name, fields, *_ in rows(section("docs/EVENTS.md", heading))
    }


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_event_is_in_the_table_and_nothing_else_is(heading: str) -> None:
    assert set(documented(heading)) == SECTIONS[heading]


@pytest.mark.parametrize("heading", SECTIONS)
def test_the_terminal_events_are_set_in_bold(heading: str) -> None:
    names = [row[0] for row in rows(section("docs/EVENTS.md", heading))]

    assert {words(name)[0] for name in names if name.startswith("**")} == SECTIONS[heading] & TERMINAL_EVENTS


def told(stream: str) -> dict[str, set[str]]:
    """Return the fields of each event in a stream, by its name."""
    return {name: set(json.loads(data)) for name, _id, data in EVENT.findall(stream)}


def assert_documented(heading: str, stream: str) -> None:
    table = documented(heading)

    assert {name: fields - table[name] for name, fields in told(stream).items()} == {
        name: set() for name in told(stream)
    }


def ask(person: Browser, model: str) -> str:
    """Return the event stream of a whole reply."""
    answer = person.send("/chat", {"content": "Hello", "model": model}, Accept="text/event-stream")
    return answer.get_data(as_text=True)


def test_a_reply_tells_what_the_table_says(alice: Browser, ollama: FakeOllama) -> None:
    ollama.believable.add("thinker:1b")

    stream = ask(alice, "thinker:1b")

    assert {"started", "thinking", "piece", "block", "usage", "done"} <= set(told(stream))
    assert_documented("Reply", stream)


def test_a_failed_reply_tells_what_the_table_says(alice: Browser, ollama: FakeOllama) -> None:
    ollama.next("/api/chat", scripts.error(500, "llama runner process has terminated"))

    stream = ask(alice, "smollm2:135m")

    assert "failed" in told(stream)
    assert_documented("Reply", stream)


def test_a_stopped_reply_tells_what_the_table_says(alice: Browser, ollama: FakeOllama) -> None:
    ollama.believable.tokens_per_s = 2.0
    chat_id = alice.send("/chat", {"content": "Hello", "model": "smollm2:135m"}).json["id"]  # type: ignore[index]

    alice.send(f"/chat/{chat_id}/stop")
    stream = alice.get(f"/chat/{chat_id}/events").get_data(as_text=True)

    assert "stopped" in told(stream)
    assert_documented("Reply", stream)


@pytest.mark.parametrize(("name", "end"), [("llama3.2:3b", "done"), ("nope:1b", "failed")])
def test_a_download_tells_what_the_table_says(alice: Browser, name: str, end: str) -> None:
    alice.send(f"/model/download/{name}")
    stream = alice.get(f"/model/download/{name}").get_data(as_text=True)

    assert {"progress", end} <= set(told(stream))
    assert_documented("Download", stream)


def test_an_id_is_the_job_and_a_position_and_the_tail_has_none(alice: Browser, ollama: FakeOllama) -> None:
    ollama.believable.tokens_per_s = 20.0
    asked = alice.send("/chat", {"content": "Hello", "model": "smollm2:135m"}).json
    assert asked is not None
    stream = alice.get(asked["events_url"]).get_data(as_text=True)
    job: Job = services_of(alice.app).jobs.get(asked["job_id"])

    ids = {name: event_id for name, event_id, _data in EVENT.findall(stream)}

    assert ids["tail"] == ""
    assert ids["done"] == f"{job.id}.{job.end_position}"
