"""Event streams over HTTP: where one goes on, what one may see, what no text can forge, and what they cost."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from chatapp.jobs.job import Job
from chatapp.jobs.pace import BURST, WAKES_PER_S
from tests.cast import Browser, add_user, services_of, short
from tests.fakes import scripts
from tests.fakes.believable import REPLY
from tests.fakes.ollama import FakeOllama
from tests.routes.test_replies import ask, events_of, new_chat, pieces, stored, stream


def reply_job(person: Browser, chat_id: str) -> Job:
    job = services_of(person.app).jobs.latest("reply", chat_id)
    assert job is not None
    return job


@pytest.mark.parametrize(
    "event_id",
    [
        "", "0", "x", "-1", "{job}", "{job}.", "{job}.-1", "{job}.999999", "{job}.1e3", "{job}.0x1", "{job}.٣",
        "{job}.1.1", "{job}. 1", "{job}.\0", "{job}." + "9" * 8000, "x" * 8000, "0" * 26 + ".5", "{job}.5; drop",
        "../../etc", "\xff\xfe", "{job}.1\t",
    ],
    ids=short,
)  # fmt: skip
def test_a_strange_position_starts_from_the_beginning(alice: Browser, event_id: str) -> None:
    chat_id = new_chat(alice)
    ask(alice, chat_id)
    event_id = event_id.replace("{job}", reply_job(alice, chat_id).id)

    by_header = alice.get(f"/chat/{chat_id}/events", headers={"Last-Event-ID": event_id.replace("\0", "")})
    by_address = alice.get(f"/chat/{chat_id}/events", query_string={"after": event_id})

    assert pieces(events_of(by_header.data)) == REPLY
    assert pieces(events_of(by_address.data)) == REPLY


def test_the_position_of_another_chat_shows_nothing_of_it(
    alice: Browser, bob: Browser, ollama: FakeOllama
) -> None:
    ollama.believable.reply = "Alice's secret."
    chat_of_alice = new_chat(alice)
    ask(alice, chat_of_alice)
    ollama.believable.reply = "Bob's answer."
    chat_of_bob = new_chat(bob)
    ask(bob, chat_of_bob)

    answer = bob.get(
        f"/chat/{chat_of_bob}/events",
        headers={"Last-Event-ID": f"{reply_job(alice, chat_of_alice).id}.3"},
    )

    assert pieces(events_of(answer.data)) == "Bob's answer."


def test_the_newer_of_two_positions_is_the_headers(alice: Browser) -> None:
    """A browser that reconnects keeps the address of its page and sends where it really is."""
    chat_id = new_chat(alice)
    ask(alice, chat_id)
    job = reply_job(alice, chat_id)

    answer = alice.get(
        f"/chat/{chat_id}/events?after={job.id}.0", headers={"Last-Event-ID": f"{job.id}.{job.end_position}"}
    )

    assert answer.status_code == 204


@pytest.mark.parametrize(
    "text",
    [
        "a\n\ndata: {}\n\n", "\n\nevent: done\ndata: {}\n\n", "\r\n\r\nid: x.1\r\n", ": comment\n\n",
        "\u2028data:\u2029", "retry: 1\n", "\0\x1b[31m",
        "data: x", "]]>--><!--", "\\n\\n", '"},"x":{"', "event: failed\r\rdata: {}",
    ],
    ids=short,
)  # fmt: skip
def test_no_text_of_a_model_can_forge_an_event(alice: Browser, ollama: FakeOllama, text: str) -> None:
    ollama.next("/api/chat", scripts.lines(scripts.piece(text), scripts.piece("end"), scripts.done()))
    chat_id = new_chat(alice)
    answer = alice.send(f"/chat/{chat_id}/message", {"content": "x"}, Accept="text/event-stream")

    events = events_of(answer.data)

    assert pieces(events) == text + "end"
    assert [name for name, _ in events].count("done") == 1
    assert stored(alice, chat_id)[-1]["content"] == text + "end"


def test_head_gets_headers_and_holds_nothing(alice: Browser, ollama: FakeOllama) -> None:
    ollama.always("/api/chat", scripts.silence())
    chat_id = new_chat(alice)
    alice.send(f"/chat/{chat_id}/message", {"content": "x"})

    answer = alice.client.head(f"/chat/{chat_id}/events", buffered=True)

    assert answer.status_code == 200
    assert answer.content_type == "text/event-stream; charset=utf-8"
    assert answer.data == b""
    assert services_of(alice.app).streams.open == 0


def test_a_browser_that_opens_the_address_of_a_missing_stream_gets_a_page(alice: Browser) -> None:
    answer = alice.get(f"/chat/{'0' * 26}/events", headers={"Accept": "text/html"})

    assert answer.status_code == 404
    assert answer.content_type.startswith("text/html")
    assert "does not exist" in answer.get_data(as_text=True)


def test_a_program_that_follows_a_missing_stream_gets_json(alice: Browser) -> None:
    answer = alice.get(
        f"/chat/{'0' * 26}/events", headers={"Accept": "text/event-stream, application/json;q=0.5"}
    )

    assert answer.status_code == 404
    assert (answer.json or {})["error"]["code"] == "not_found"


def test_every_stream_that_ends_or_is_left_gives_its_place_back(alice: Browser, ollama: FakeOllama) -> None:
    ollama.believable.tokens_per_s = 50
    chat_id = new_chat(alice)
    alice.send(f"/chat/{chat_id}/message", {"content": "x"})
    left = [alice.client.get(f"/chat/{chat_id}/events") for _ in range(5)]
    for answer in left[:3]:
        next(iter(answer.response))
    taken = services_of(alice.app).streams.open
    for answer in left:
        answer.close()
    alice.get(f"/chat/{chat_id}/events")

    assert taken == 5
    assert services_of(alice.app).streams.open == 0


def test_one_person_cannot_take_all_streams(alice: Browser, bob: Browser, ollama: FakeOllama) -> None:
    ollama.always("/api/chat", scripts.silence())
    chat_id = new_chat(alice)
    alice.send(f"/chat/{chat_id}/message", {"content": "x"})
    held = [alice.client.get(f"/chat/{chat_id}/events") for _ in range(40)]

    refused = alice.get(f"/chat/{chat_id}/events", headers={"Accept": "application/json"})
    chat_of_bob = new_chat(bob)
    bob.send(f"/chat/{chat_of_bob}/message", {"content": "x"})
    other = bob.client.get(f"/chat/{chat_of_bob}/events")

    assert refused.status_code == 429
    assert other.status_code == 200
    for answer in (*held, other):
        answer.close()


def test_a_question_that_no_stream_is_free_for_is_not_stored(alice: Browser) -> None:
    chat_id = new_chat(alice)
    assert alice.user is not None
    for _ in range(40):
        services_of(alice.app).streams.take(alice.user.id)

    streamed = alice.send(f"/chat/{chat_id}/message", {"content": "x"}, Accept="text/event-stream")
    waited = alice.send(f"/chat/{chat_id}/message?wait=1", {"content": "x"})
    plain = alice.send(f"/chat/{chat_id}/message", {"content": "taken"})

    assert (streamed.status_code, waited.status_code, plain.status_code) == (429, 429, 202)
    assert [m["content"] for m in stored(alice, chat_id) if m["role"] == "user"] == ["taken"]


def test_signing_out_everywhere_closes_the_streams_of_other_browsers(
    alice: Browser, ollama: FakeOllama
) -> None:
    ollama.always("/api/chat", scripts.silence())
    chat_id = new_chat(alice)
    alice.send(f"/chat/{chat_id}/message", {"content": "x"})
    other = Browser(alice.app, alice.user)
    answer = other.client.get(f"/chat/{chat_id}/events", buffered=False)
    first = next(answer.iter_encoded())

    alice.send("/settings/sessions/end", {"session": "others"})
    rest = answer.data

    assert first.startswith(b": ")
    assert b"event: done" not in rest
    assert alice.get(f"/chat/{chat_id}").status_code == 200


def test_a_burst_of_tokens_is_joined_into_few_frames_without_losing_a_byte(
    alice: Browser, ollama: FakeOllama
) -> None:
    """20 replies of 2,000 tokens each, as quickly as they can be sent."""
    tokens = [f"t{number} " for number in range(2000)]
    ollama.always("/api/chat", scripts.lines(*[scripts.piece(token) for token in tokens], scripts.done()))
    people = [Browser(alice.app, add_user(alice.app, f"user{number}")) for number in range(20)]
    chats = [new_chat(person) for person in people]
    began_s = time.monotonic()

    with ThreadPoolExecutor(20) as pool:
        streams = list(pool.map(stream, people, chats))

    wakes = BURST + WAKES_PER_S * (time.monotonic() - began_s)
    assert {pieces(events) for events in streams} == {"".join(tokens)}
    assert {events[-1][0] for events in streams} == {"done"}
    assert max(sum(name == "piece" for name, _ in events) for events in streams) <= wakes * 2
