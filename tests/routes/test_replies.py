"""Asking: what is stored, what is told, and what a reader sees when Ollama misbehaves."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, cast

import pytest
from flask import Flask

from chatapp.jobs.job import Job
from tests.cast import Browser, services_of
from tests.fakes import scripts
from tests.fakes.believable import REPLY
from tests.fakes.ollama import FakeOllama

MODEL = "smollm2:135m"


def new_chat(person: Browser) -> str:
    answer = person.send("/chat", {"model": MODEL})
    assert answer.json is not None
    return str(answer.json["id"])


def ask(person: Browser, chat_id: str, content: str = "What is the capital?", **more: Any) -> dict[str, Any]:
    answer = person.send(f"/chat/{chat_id}/message?wait=1", {"content": content, **more})
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return dict(answer.json or {})


def events_of(body: bytes) -> list[tuple[str, dict[str, Any]]]:
    """Return the named events of a whole event stream."""
    found = []
    for frame in body.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in frame.split("\n") if ": " in line[1:])
        if "event" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def stream(person: Browser, chat_id: str, content: str = "Go") -> list[tuple[str, dict[str, Any]]]:
    answer = person.send(f"/chat/{chat_id}/message", {"content": content}, Accept="text/event-stream")
    assert answer.status_code == 200
    return events_of(answer.data)


def stored(person: Browser, chat_id: str) -> list[dict[str, Any]]:
    answer = person.get(f"/chat/{chat_id}/export.json")
    return list(json.loads(answer.data)["messages"])


def pieces(events: list[tuple[str, dict[str, Any]]]) -> str:
    return "".join(data["text"] for name, data in events if name == "piece")


def test_a_question_and_its_reply_are_answered_together_with_wait(alice: Browser) -> None:
    answer = ask(alice, new_chat(alice))

    assert answer["question"]["content"] == "What is the capital?"
    assert answer["reply"]["content"] == REPLY
    assert answer["reply"]["status"] == "complete"
    assert answer["reply"]["usage"]["reply_tokens"] > 0


def test_question_and_empty_reply_are_stored_before_the_model_is_asked(
    alice: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, chat_id = services_of(alice.app).jobs, new_chat(alice)
    run, stored_by_then = jobs.run, []

    def run_later(job: Job, work: Callable[[Job], None]) -> None:
        stored_by_then.append([each["status"] for each in stored(alice, chat_id)])
        run(job, work)

    monkeypatch.setattr(jobs, "run", run_later)
    ask(alice, chat_id)

    assert stored_by_then == [["complete", "streaming"]]


def test_the_post_answers_at_once_with_where_to_look(alice: Browser, ollama: FakeOllama) -> None:
    go_on = threading.Event()
    ollama.next("/api/chat", scripts.after(go_on, scripts.lines(scripts.piece("Hi"), scripts.done())))
    chat_id = new_chat(alice)

    answer = alice.send(f"/chat/{chat_id}/message", {"content": "Hello"})
    go_on.set()

    assert answer.status_code == 202
    assert answer.json is not None
    assert set(answer.json) >= {"job_id", "question_id", "reply_id", "events_url"}
    assert stored(alice, chat_id)[0]["content"] == "Hello"


def test_the_streamed_pieces_are_the_stored_content_and_the_end_comes_once(alice: Browser) -> None:
    chat_id = new_chat(alice)

    events = stream(alice, chat_id)

    names = [name for name, _ in events]
    assert pieces(events) == REPLY
    assert names[-1] == "done"
    assert sum(name in {"done", "stopped", "failed", "interrupted"} for name in names) == 1
    assert events[-1][1]["message"]["content"] == REPLY
    assert stored(alice, chat_id)[-1]["content"] == REPLY


def test_streamed_blocks_are_the_html_of_the_page(alice: Browser) -> None:
    chat_id = new_chat(alice)

    blocks = [data["html"] for name, data in stream(alice, chat_id) if name == "block"]

    page = alice.get(f"/chat/{chat_id}").get_data(as_text=True)
    assert len(blocks) >= 3
    assert all(block in page for block in blocks)


def test_a_form_is_redirected_to_the_chat(alice: Browser) -> None:
    chat_id = new_chat(alice)

    answer = alice.submit(f"/chat/{chat_id}/message", content="Hello")

    assert answer.status_code == 303
    assert answer.location == f"/chat/{chat_id}"


def test_a_new_chat_can_be_asked_at_once_and_is_named_after_the_question(alice: Browser) -> None:
    answer = alice.send("/chat", {"content": "Why is the sky blue?", "model": MODEL})

    assert answer.status_code == 201
    assert answer.json is not None
    page = alice.get(answer.json["url"]).get_data(as_text=True)
    assert "<title>Why is the sky blue? · chatapp</title>" in page


def test_the_same_message_id_twenty_times_at_once_is_one_question(alice: Browser, ollama: FakeOllama) -> None:
    chat_id = new_chat(alice)
    tabs = [alice.another_tab() for _ in range(20)]

    def send(number: int) -> tuple[int, str]:
        answer = tabs[number].send(
            f"/chat/{chat_id}/message", {"content": "Once", "message_id": "client-id-0001"}
        )
        return answer.status_code, (answer.json or {}).get("reply_id", "")

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(send, range(20)))

    assert {status for status, _ in answers} == {202}
    assert len({reply_id for _, reply_id in answers}) == 1
    assert len(ollama.calls_to("/api/chat")) == 1
    assert len(stored(alice, chat_id)) == 2


def test_a_question_sent_again_while_a_later_one_is_answered_is_the_first_one(
    alice: Browser, ollama: FakeOllama
) -> None:
    chat_id = new_chat(alice)
    first = ask(alice, chat_id, "Once", message_id="client-id-0001")
    ollama.always("/api/chat", scripts.silence())
    alice.send(f"/chat/{chat_id}/message", {"content": "Later"})

    again = alice.send(f"/chat/{chat_id}/message", {"content": "Once", "message_id": "client-id-0001"})

    assert (again.json or {})["reply_id"] == first["reply"]["id"]
    assert len(stored(alice, chat_id)) == 4


def test_a_second_question_while_one_is_answered_is_refused_and_its_text_kept(
    alice: Browser, ollama: FakeOllama
) -> None:
    go_on = threading.Event()
    ollama.next("/api/chat", scripts.after(go_on, scripts.lines(scripts.piece("Hi"), scripts.done())))
    chat_id = new_chat(alice)
    alice.send(f"/chat/{chat_id}/message", {"content": "First"})

    refused = alice.send(f"/chat/{chat_id}/message", {"content": "Second"})
    page = alice.submit(f"/chat/{chat_id}/message", content="Second <again>")
    go_on.set()

    assert refused.status_code == 409
    assert refused.json is not None
    assert refused.json["error"]["code"] == "reply_running"
    assert page.status_code == 409
    assert "Second &lt;again&gt;</textarea>" in page.get_data(as_text=True)
    assert [m["content"] for m in stored(alice, chat_id) if m["role"] == "user"] == ["First"]


def test_stop_closes_the_line_to_ollama_and_keeps_the_text(alice: Browser, ollama: FakeOllama) -> None:
    ollama.believable.reply = "word " * 500
    ollama.believable.tokens_per_s = 50
    chat_id = new_chat(alice)
    alice.send(f"/chat/{chat_id}/message", {"content": "Long"})
    job = services_of(alice.app).jobs.latest("reply", chat_id)
    assert job is not None
    follower = job.follow()
    while (event := next(follower)) is None or event.name != "piece":
        pass

    answer = alice.send(f"/chat/{chat_id}/stop")

    assert answer.json == {"stopped": True}
    assert ollama.client_left.wait(1.0)
    assert job.wait_ended(1.0)
    last = stored(alice, chat_id)[-1]
    assert last["status"] == "stopped"
    assert last["content"].startswith("word")
    assert len(last["content"]) < 2500


def test_stop_works_before_the_first_word(alice: Browser, ollama: FakeOllama) -> None:
    ollama.always("/api/chat", scripts.silence())
    chat_id = new_chat(alice)
    alice.send(f"/chat/{chat_id}/message", {"content": "Slow"})
    ollama.wait_for_call("/api/chat")

    alice.send(f"/chat/{chat_id}/stop")

    assert ollama.client_left.wait(1.0)
    assert stored(alice, chat_id)[-1]["status"] == "stopped"


def test_leaving_the_page_does_not_stop_the_reply(alice: Browser) -> None:
    chat_id = new_chat(alice)
    headers = {"Accept": "text/event-stream", "X-CSRFToken": alice.token()}
    answer = alice.client.post(f"/chat/{chat_id}/message", json={"content": "Hello"}, headers=headers)
    answer.close()
    job = services_of(alice.app).jobs.latest("reply", chat_id)

    assert job is not None
    assert job.wait_ended(5)
    assert stored(alice, chat_id)[-1]["content"] == REPLY


def test_a_reader_who_comes_back_gets_exactly_the_rest(alice: Browser) -> None:
    chat_id = new_chat(alice)
    ask(alice, chat_id)
    job = services_of(alice.app).jobs.latest("reply", chat_id)
    assert job is not None

    rests = [
        pieces(
            events_of(
                alice.get(f"/chat/{chat_id}/events", headers={"Last-Event-ID": f"{job.id}.{position}"}).data
            )
        )
        for position in range(job.end_position)
    ]

    assert rests[0] == REPLY
    assert rests[-1] == ""
    assert all(REPLY.endswith(rest) for rest in rests)
    assert {len(before) - len(after) for before, after in pairwise(rests)} == {0, 1}


def test_whoever_has_seen_the_end_is_told_that_nothing_is_left(alice: Browser) -> None:
    chat_id = new_chat(alice)
    assert alice.get(f"/chat/{chat_id}/events").status_code == 204
    ask(alice, chat_id)
    job = services_of(alice.app).jobs.latest("reply", chat_id)
    assert job is not None

    seen = alice.get(f"/chat/{chat_id}/events", headers={"Last-Event-ID": f"{job.id}.{job.end_position}"})
    foreign = alice.get(f"/chat/{chat_id}/events", headers={"Last-Event-ID": "other.99"})

    assert seen.status_code == 204
    assert pieces(events_of(foreign.data)) == REPLY


def test_event_streams_are_not_buffered_or_stored(alice: Browser) -> None:
    chat_id = new_chat(alice)
    ask(alice, chat_id)

    answer = alice.get(f"/chat/{chat_id}/events")

    assert answer.content_type == "text/event-stream; charset=utf-8"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert answer.headers["Cache-Control"] == "no-store, no-transform"


def test_regenerating_keeps_the_earlier_reply_beside_the_new_one(alice: Browser, ollama: FakeOllama) -> None:
    chat_id = new_chat(alice)
    first = ask(alice, chat_id)["reply"]
    ollama.believable.reply = "Another answer."

    answer = alice.send(f"/chat/{chat_id}/regenerate?wait=1", {"message_id": first["id"]})

    assert answer.json is not None
    assert answer.json["reply"]["content"] == "Another answer."
    messages = stored(alice, chat_id)
    assert [m["content"] for m in messages[1:]] == [REPLY, "Another answer."]
    assert messages[1]["parent_id"] == messages[2]["parent_id"] == messages[0]["id"]
    page = alice.get(f"/chat/{chat_id}").get_data(as_text=True)
    assert "Another answer." in page
    assert "Seine" not in page
    assert "Seine" in alice.get(f"/chat/{chat_id}?at={first['id']}").get_data(as_text=True)


def test_only_the_visible_path_is_sent_to_the_model(alice: Browser, ollama: FakeOllama) -> None:
    chat_id = new_chat(alice)
    first = ask(alice, chat_id, "One")["reply"]
    ollama.believable.reply = "Second try."
    alice.send(f"/chat/{chat_id}/regenerate?wait=1", {"message_id": first["id"]})

    ask(alice, chat_id, "Two")

    sent = ollama.calls_to("/api/chat")[-1].json["messages"]
    assert [m["content"] for m in sent] == ["One", "Second try.", "Two"]


def test_thinking_is_told_and_stored_apart_from_the_reply(alice: Browser, ollama: FakeOllama) -> None:
    ollama.next("/api/chat", scripts.play("chat-think-true"))
    chat_id = new_chat(alice)

    events = stream(alice, chat_id)

    thinking = "".join(data["text"] for name, data in events if name == "thinking")
    last = stored(alice, chat_id)[-1]
    assert thinking
    assert last["thinking"] == thinking
    assert last["thinking_ms"] >= 0
    assert thinking not in last["content"]


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (scripts.error(404, "model 'smollm2:135m' not found"), "model_missing"),
        (
            scripts.error(500, "model requires more system memory (9.5 GiB) than is available"),
            "ollama_refused",
        ),
        (scripts.busy(), "ollama_busy"),
        (scripts.html(502), "ollama_broken"),
        (scripts.hang_up("reset"), "ollama_broken"),
        (scripts.lines(scripts.piece("Half a "), {"error": "unexpected EOF"}), "ollama_broken"),
        (scripts.lines(scripts.piece("Half a ")), "ollama_broken"),
        (scripts.lines(scripts.piece("Half a "), ending="reset"), "ollama_broken"),
        (scripts.send(b'{"message":{"content":"Half a "}}\nthis is no JSON\n'), "ollama_broken"),
        (scripts.redirect("http://127.0.0.1:1/"), "ollama_broken"),
    ],
)
def test_a_failing_ollama_fails_the_reply_and_keeps_question_and_words(
    alice: Browser, ollama: FakeOllama, script: Any, code: str
) -> None:
    ollama.next("/api/chat", script)
    chat_id = new_chat(alice)

    events = stream(alice, chat_id, "Question")

    assert events[-1][0] == "failed"
    assert len(events[-1][1]["message"]) > 20
    question, reply = stored(alice, chat_id)
    assert question["content"] == "Question"
    assert reply["status"] == "failed"
    assert reply["content"] == pieces(events)
    page = alice.get(f"/chat/{chat_id}").get_data(as_text=True)
    assert "Try again" in page
    assert "Traceback" not in page
    assert events[-1][1]["code"] == reply["error"]["code"] == code


def test_ollama_not_running_is_a_sentence_and_the_site_works_on(alice: Browser, ollama: FakeOllama) -> None:
    chat_id = new_chat(alice)
    ollama.close()

    events = stream(alice, chat_id, "Are you there?")

    assert events[-1][0] == "failed"
    assert events[-1][1]["code"] == "ollama_unreachable"
    assert alice.get(f"/chat/{chat_id}").status_code == 200
    assert alice.get("/dashboard").status_code == 200


def test_an_empty_answer_is_complete_and_empty(alice: Browser, ollama: FakeOllama) -> None:
    ollama.next("/api/chat", scripts.lines(scripts.done()))

    reply = ask(alice, new_chat(alice))["reply"]

    assert reply["status"] == "complete"
    assert reply["content"] == ""


def test_text_with_line_separators_and_emoji_comes_through_unchanged(
    alice: Browser, ollama: FakeOllama
) -> None:
    text = "a\u2028b\u0085c 👩‍👩‍👧‍👦 é e\u0301 مرحبا"
    ollama.next("/api/chat", scripts.lines(*[scripts.piece(c) for c in text], scripts.done()))

    assert ask(alice, new_chat(alice), text)["reply"]["content"] == text


def test_deleting_a_chat_stops_its_reply_and_nothing_comes_back(alice: Browser, ollama: FakeOllama) -> None:
    ollama.always("/api/chat", scripts.silence())
    chat_id = new_chat(alice)
    alice.send(f"/chat/{chat_id}/message", {"content": "Hello"})
    ollama.wait_for_call("/api/chat")

    alice.send(f"/chat/{chat_id}/delete")

    assert ollama.client_left.wait(1.0)
    assert alice.get(f"/chat/{chat_id}").status_code == 404
    assert alice.get(f"/chat/{chat_id}/events").status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 400, "content"),
        ({"content": ""}, 400, "content"),
        ({"content": " \n\t "}, 400, "content"),
        ({"content": None}, 400, "content"),
        ({"content": 5}, 400, "content"),
        ({"content": ["a"]}, 400, "content"),
        ({"content": "a\0b"}, 400, "content"),
        ({"content": "x" * 100_001}, 413, "content"),
        ({"content": "x", "model": "http://evil/x"}, 400, "model"),
        ({"content": "x", "model": "../../etc"}, 400, "model"),
        ({"content": "x", "message_id": "short"}, 400, "message_id"),
        ({"content": "x", "message_id": "bad id!!"}, 400, "message_id"),
        ({"content": "x", "parent_id": "not-in-this-chat"}, 404, "parent_id"),
        ({"content": "x", "options": {"temperature": -1}}, 400, "options.temperature"),
        ({"content": "x", "options": {"temperature": "hot"}}, 400, "options.temperature"),
        ({"content": "x", "options": {"num_ctx": 10**9}}, 400, "options.num_ctx"),
        ({"content": "x", "options": {"role": "root"}}, 400, "options.role"),
        ({"content": "x", "options": []}, 400, "options"),
        ({"content": "x", "role": "system"}, 400, "role"),
        ({"content": "x", "attachments": ["a"]}, 400, "attachments"),
        ({"content": "x", "model": "nope:1b"}, 404, "model"),
    ],
)
def test_a_bad_message_is_refused_and_nothing_is_stored(
    alice: Browser, body: dict[str, Any], status: int, field: str
) -> None:
    chat_id = new_chat(alice)

    answer = alice.send(f"/chat/{chat_id}/message", body)

    assert answer.status_code == status
    assert answer.json is not None
    assert answer.json["error"]["field"] == field
    assert answer.json["error"]["message"].endswith(".")
    assert answer.json["request_id"]
    assert stored(alice, chat_id) == []


def test_the_longest_message_is_taken(alice: Browser) -> None:
    assert ask(alice, new_chat(alice), "é" * 100_000)["question"]["content"] == "é" * 100_000


def test_a_role_sent_by_a_client_changes_nothing(alice: Browser) -> None:
    chat_id = new_chat(alice)

    ask(alice, chat_id, "Hello", role="user", owner_id="x", status="failed")

    assert stored(alice, chat_id)[0]["role"] == "user"
    assert stored(alice, chat_id)[0]["status"] == "complete"


def test_options_reach_ollama_unchanged(alice: Browser, ollama: FakeOllama) -> None:
    ask(alice, new_chat(alice), options={"temperature": 0.2, "seed": 7, "stop": ["x"]})

    sent = ollama.calls_to("/api/chat")[-1].json
    assert sent["options"] == {"temperature": 0.2, "seed": 7, "stop": ["x"]}


def test_browser_headers_never_reach_ollama(alice: Browser, ollama: FakeOllama) -> None:
    alice.send(
        f"/chat/{new_chat(alice)}/message?wait=1",
        {"content": "x"},
        **{"Origin": "http://localhost", "X-Forwarded-For": "1.2.3.4", "User-Agent": "spy"},
    )

    headers = {name.lower(): value for name, value in ollama.calls_to("/api/chat")[-1].headers.items()}
    assert not {"origin", "cookie", "x-forwarded-for", "x-csrftoken"} & set(headers)
    assert "spy" not in str(headers)


def test_another_persons_chat_is_the_same_as_a_missing_one(app: Flask, alice: Browser, bob: Browser) -> None:
    chat_id = new_chat(alice)
    ask(alice, chat_id)
    paths = ["message", "stop", "regenerate", "rename", "delete", "restore"]

    for path in paths:
        body = {"content": "x", "title": "x"}
        foreign = bob.send(f"/chat/{chat_id}/{path}", body)
        missing = bob.send(f"/chat/{'0' * 26}/{path}", body)
        assert foreign.status_code == missing.status_code == 404
        assert (foreign.json or {})["error"] == (missing.json or {})["error"]
    for path in ("", "/events", "/export.json", "/export.md"):
        assert bob.get(f"/chat/{chat_id}{path}").status_code == 404
    assert len(stored(alice, chat_id)) == 2


def test_signing_out_closes_an_open_stream(alice: Browser, ollama: FakeOllama) -> None:
    ollama.always("/api/chat", scripts.silence())
    chat_id = new_chat(alice)
    alice.send(f"/chat/{chat_id}/message", {"content": "x"})
    answer = alice.client.get(f"/chat/{chat_id}/events", buffered=False)
    frames = cast("Iterator[bytes]", iter(answer.response))
    next(frames)
    user = alice.user
    assert user is not None

    alice.send("/logout")
    rest = b"".join(frames)

    assert b"event: done" not in rest
    services_of(alice.app).jobs.latest("reply", chat_id).cancel("stopped")  # type: ignore[union-attr]


def test_too_many_streams_are_refused_politely(alice: Browser, ollama: FakeOllama) -> None:
    chat_id = new_chat(alice)
    ask(alice, chat_id)
    slots = services_of(alice.app).streams
    for _ in range(40):
        slots.take(alice.user.id)  # type: ignore[union-attr]

    answer = alice.get(f"/chat/{chat_id}/events", headers={"Accept": "application/json"})

    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0
    assert alice.get("/dashboard").status_code == 200


def test_a_reply_keeps_the_digest_of_the_weights_that_answered(alice: Browser, ollama: FakeOllama) -> None:
    reply = ask(alice, new_chat(alice))["reply"]

    assert reply["model_digest"] == ollama.believable.models[MODEL]["digest"]
