"""Asking the same question once more, of another model."""

from __future__ import annotations

from tests.cast import Browser
from tests.fakes.ollama import FakeOllama
from tests.routes.test_replies import MODEL, ask, new_chat, stored

OTHER = "llama3.2:1b"


def test_the_same_question_can_be_answered_by_another_model(alice: Browser, ollama: FakeOllama) -> None:
    chat_id = new_chat(alice)
    first = ask(alice, chat_id)["reply"]

    body = {"message_id": first["id"], "model": OTHER}
    answer = alice.send(f"/chat/{chat_id}/regenerate?wait=1", body)

    assert answer.json is not None
    assert answer.json["reply"]["model"] == OTHER
    assert [call.json["model"] for call in ollama.calls_to("/api/chat")] == [MODEL, OTHER]
    assert [m["model"] for m in stored(alice, chat_id)[1:]] == [MODEL, OTHER]


def test_what_is_no_model_name_answers_nothing_again(alice: Browser, ollama: FakeOllama) -> None:
    chat_id = new_chat(alice)
    first = ask(alice, chat_id)["reply"]

    body = {"message_id": first["id"], "model": "http://evil.example/m"}
    answer = alice.send(f"/chat/{chat_id}/regenerate", body)

    assert answer.status_code == 400
    assert len(stored(alice, chat_id)) == 2
    assert len(ollama.calls_to("/api/chat")) == 1
