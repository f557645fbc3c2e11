"""A disk that takes nothing more, under the real server: refused clearly, read on, nothing lost, well again by itself.

The kernel refuses every write past a size that is set for the running worker (``RLIMIT_FSIZE``), with the error that
a full quota gives. No other process on the machine is in the way.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.fakes.ollama import FakeOllama
from tests.start.conftest import StartServer
from tests.start.processes import Person, Server, eventually

pytestmark = pytest.mark.crash

SMALL_BYTES = 100
BANNER = "nothing new can be saved"


@contextmanager
def full_disk(server: Server) -> Iterator[None]:
    """Let the server's files not grow past a few bytes."""
    worker = server.worker()
    before = resource.prlimit(worker, resource.RLIMIT_FSIZE, (SMALL_BYTES, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(worker, resource.RLIMIT_FSIZE, before)


def page(person: Person, path: str) -> str:
    answer = person.http.get(person.server.url + path, timeout=10)
    assert answer.status_code == 200
    return answer.text


def ask(person: Person, chat_id: str, text: str) -> requests.Response:
    return person.send(f"/chat/{chat_id}/message?wait=1", {"content": text, "message_id": f"{text}-message"})


def questions(person: Person, chat_id: str) -> list[str]:
    return [each["content"] for each in person.messages(chat_id) if each["role"] == "user"]


def test_a_full_disk_refuses_new_messages_and_shows_the_old_ones(start_server: StartServer) -> None:
    server = start_server().wait_until_ready()
    alice = Person(server, "alice")
    chat_id = alice.new_chat()
    assert ask(alice, chat_id, "before").status_code == 200

    with full_disk(server):
        refused = ask(alice, chat_id, "during")
        shown = page(alice, f"/chat/{chat_id}")

    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "storage_full")
    assert "Free some space" in refused.json()["error"]["message"]
    assert BANNER in shown
    assert questions(alice, chat_id) == ["before"]
    assert ask(alice, chat_id, "during").status_code == 200
    assert BANNER not in page(alice, f"/chat/{chat_id}")
    assert questions(alice, chat_id) == ["before", "during"]


def test_the_server_finds_out_by_itself_that_there_is_space_again(start_server: StartServer) -> None:
    server = start_server().wait_until_ready()
    alice = Person(server, "alice")
    with full_disk(server):
        assert alice.send("/chat", {"model": "smollm2:135m"}).status_code == 503
        assert BANNER in page(alice, "/dashboard")

    eventually(lambda: BANNER not in page(alice, "/dashboard"), timeout_s=20)


def test_a_reply_that_runs_into_a_full_disk_is_shown_and_said_to_be_unsaved(
    start_server: StartServer, ollama: FakeOllama
) -> None:
    ollama.believable.reply, ollama.believable.tokens_per_s = "one two three four five six", 4
    server = start_server().wait_until_ready()
    alice = Person(server, "alice")
    chat_id = alice.new_chat()
    events_url = alice.ask(chat_id, "Count.")["events_url"]

    with full_disk(server), alice.follow(events_url) as answer:
        seen = answer.text

    assert "event: failed" in seen
    assert "could not be saved" in seen
    assert "six" in seen
    assert questions(alice, chat_id) == ["Count."]


def test_what_was_acknowledged_before_the_disk_was_full_survives_a_restart(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server().wait_until_ready()
    alice = Person(server, "alice")
    chat_id = alice.new_chat()
    with full_disk(server):
        refused = ask(alice, chat_id, "refused")
    taken = [text for text in ("one", "two") if ask(alice, chat_id, text).ok]
    with full_disk(server):
        ask(alice, chat_id, "refused too")
        server.kill()

    alice.server = start_server(PORT=str(server.port)).wait_until_ready()

    assert refused.status_code == 503
    assert taken == ["one", "two"]
    assert questions(alice, chat_id) == taken
