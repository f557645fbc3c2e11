"""An Ollama that talks nonsense, and a disk that is full: what is told, what is kept, and that the site goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from flask import Flask

from chatapp import create_app
from chatapp.config import Config
from chatapp.errors import StorageFull
from chatapp.models import ChatSummary, Message
from chatapp.services.reply_writer import LONGEST_REPLY_CHARACTERS
from chatapp.storage.memory import MemoryChatRepository, MemoryStore
from tests.cast import Browser, add_user, services_of, short
from tests.fakes import scripts
from tests.fakes.ollama import FakeOllama
from tests.routes.test_replies import ask, new_chat, pieces, stored, stream


def as_line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


HELLO, DONE = as_line(scripts.piece("Hello 🦙")), as_line(scripts.done())


@pytest.mark.parametrize(
    "body",
    [
        HELLO + DONE,
        b"\xef\xbb\xbf" + HELLO + DONE,
        (HELLO + DONE).replace(b"\n", b"\r\n"),
        b"\n\n \n" + HELLO + b"\n\r\n" + DONE + b"\n\n",
        HELLO + DONE.rstrip(b"\n"),
        HELLO + DONE + b"trailing garbage",
        HELLO + as_line({"unknown": 1}) + as_line({"message": None}) + as_line({"message": {"content": None}}) + DONE,
        HELLO + as_line({"message": {"content": 5, "thinking": [], "tool_calls": [{}]}}) + DONE,
    ],
    ids=["plain", "BOM", "CRLF", "blank lines", "no last line end", "after the end", "odd lines", "odd types"],
)  # fmt: skip
def test_what_can_be_understood_is(alice: Browser, ollama: FakeOllama, body: bytes) -> None:
    ollama.next("/api/chat", scripts.send(body))

    reply = ask(alice, new_chat(alice))["reply"]

    assert (reply["status"], reply["content"]) == ("complete", "Hello 🦙")


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\n", b"garbage\n", b"[]\n", b'"x"\n', b"null\n", b"5\n", b"<html><body>502</body></html>",
        b"\x00" * 100 + b"\n", (HELLO + DONE).decode().encode("utf-16"), b"\xff\xfe\n",
        HELLO.replace(b"\xf0\x9f\xa6\x99", b"\xf0\x9f"), HELLO[:-10], b"data: " + HELLO,
        HELLO + b"garbage\n" + DONE, b"{" * 100_000 + b"\n", b'{"a":' * 100_000 + b"\n", HELLO + DONE[:10],
    ],
    ids=short,
)  # fmt: skip
def test_what_cannot_be_understood_is_a_failure_in_words(
    alice: Browser, ollama: FakeOllama, body: bytes
) -> None:
    ollama.next("/api/chat", scripts.send(body))
    chat_id = new_chat(alice)

    events = stream(alice, chat_id, "Question")

    question, reply = stored(alice, chat_id)
    assert events[-1][0] == "failed"
    assert events[-1][1]["code"] == "ollama_broken"
    assert question["content"] == "Question"
    assert (reply["status"], reply["content"]) == ("failed", pieces(events))
    assert ask(alice, chat_id)["reply"]["status"] == "complete"


def test_an_answer_cut_at_every_byte_is_the_same(alice: Browser, ollama: FakeOllama) -> None:
    body = HELLO + DONE
    chat_id = new_chat(alice)

    for cut in range(1, len(body), 7):
        ollama.next("/api/chat", scripts.send(body[:cut], body[cut:]))
        assert ask(alice, chat_id)["reply"]["content"] == "Hello 🦙"


def test_a_line_of_ten_megabytes_is_read_and_the_reply_ends_at_its_longest(
    alice: Browser, ollama: FakeOllama
) -> None:
    ollama.next("/api/chat", scripts.send(as_line(scripts.piece("word " * 2_000_000)), DONE))

    reply = ask(alice, new_chat(alice))["reply"]

    assert reply["status"] == "complete"
    assert len(reply["content"]) == LONGEST_REPLY_CHARACTERS
    assert reply["usage"]["done_reason"] == "length"


def test_a_line_without_an_end_is_given_up(alice: Browser, ollama: FakeOllama) -> None:
    ollama.next("/api/chat", scripts.send(*[b"x" * 1_000_000] * 34))

    events = stream(alice, new_chat(alice))

    assert (events[-1][0], events[-1][1]["code"]) == ("failed", "ollama_broken")


def test_a_reply_that_falls_silent_is_given_up_and_its_words_kept(
    open_app: Callable[..., Flask], ollama: FakeOllama
) -> None:
    app = open_app(OLLAMA_STALL_TIMEOUT_S="1")
    alice = Browser(app, add_user(app, "alice"))
    ollama.next("/api/chat", scripts.send(HELLO, ending="stall"))
    chat_id = new_chat(alice)

    events = stream(alice, chat_id)

    assert (events[-1][0], events[-1][1]["code"]) == ("failed", "ollama_timeout")
    assert stored(alice, chat_id)[-1]["content"] == "Hello 🦙"
    assert ollama.client_left.wait(1)


def test_a_model_that_never_begins_is_given_up(open_app: Callable[..., Flask], ollama: FakeOllama) -> None:
    app = open_app(OLLAMA_TIMEOUT_S="1")
    alice = Browser(app, add_user(app, "alice"))
    ollama.next("/api/chat", scripts.silence())

    events = stream(alice, new_chat(alice))

    assert (events[-1][0], events[-1][1]["code"]) == ("failed", "ollama_timeout")


def test_somebody_deleted_while_being_answered_takes_the_reply_along(
    alice: Browser, bob: Browser, ollama: FakeOllama
) -> None:
    ollama.believable.tokens_per_s = 50
    chat_id = new_chat(bob)
    bob.send(f"/chat/{chat_id}/message", {"content": "x"})
    job = services_of(bob.app).jobs.latest("reply", chat_id)
    assert bob.user is not None
    assert job is not None

    services_of(bob.app).store.users.delete(bob.user.id)

    assert job.wait_ended(10)
    assert job.last_event is not None
    assert job.last_event.data["code"] == "deleted"
    assert bob.client.get("/", headers={"Accept": "application/json"}).status_code == 401


# -- a full disk


class FullDisk(MemoryChatRepository):
    """Refuses every new message while ``is_full``."""

    is_full = False

    def add_messages(
        self,
        owner_id: str,
        chat_id: str,
        messages: Sequence[Message],
        change: Callable[[ChatSummary], ChatSummary] | None = None,
    ) -> Sequence[Message]:
        if self.is_full and messages:
            raise StorageFull(
                "The disk is full. Root must free some space; your text is kept here until then."
            )
        return super().add_messages(owner_id, chat_id, messages, change)


def test_a_question_that_cannot_be_stored_is_given_back_and_the_chat_is_free_again(
    environment: dict[str, str], ollama: FakeOllama
) -> None:
    store = MemoryStore()
    disk = store.chats = FullDisk()
    app = create_app(Config.from_env(environment, dotenv=None), store=store)
    alice = Browser(app, add_user(app, "alice"))
    chat_id = new_chat(alice)
    disk.is_full = True

    refused = alice.send(f"/chat/{chat_id}/message", {"content": "x"})
    page = alice.submit(f"/chat/{chat_id}/message", content="Not to be lost")
    disk.is_full = False
    again = ask(alice, chat_id, "Not to be lost")

    assert refused.status_code == 503
    assert (refused.json or {})["error"]["code"] == "storage_full"
    assert page.status_code == 503
    assert "Not to be lost</textarea>" in page.get_data(as_text=True)
    assert "The disk is full" in page.get_data(as_text=True)
    assert len(ollama.calls_to("/api/chat")) == 1
    assert again["reply"]["status"] == "complete"
    assert len(stored(alice, chat_id)) == 2
    services_of(app).shutdown(grace_s=0)
