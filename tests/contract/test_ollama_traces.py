"""Every recorded stream, played by a real server, comes out as the same text however its bytes are cut."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from chatapp.errors import ChatAppError, ModelMissing, OllamaBroken, OllamaBusy, OllamaRefused
from chatapp.ollama.client import OllamaClient
from chatapp.ollama.streams import ChatStream, PullStream
from chatapp.ollama.types import ChatEnd, ChatPiece, PullStatus
from tests.fakes import scripts, traces
from tests.fakes.ollama import FakeOllama

ENDED_EARLY = "The reply ended early: Ollama stopped sending before it was complete. Try again."
HUNG_UP = (
    "Ollama closed the connection before its answer was complete. "
    "Try again; if that happens again, look at Ollama's own log."
)
PULL_ENDED_EARLY = (
    "The download of m:1b ended before it was complete. Start it again; it goes on where it stopped."
)
NO_SUCH_MODEL = "There is no model called m:1b. Check the name and the part after the colon."
SOURCE_AWAY = (
    "Ollama cannot reach the place that m:1b comes from. "
    "Check the server's internet connection, then start the download again."
)

FAILING_CHATS = {
    "chat-client-disconnect": (OllamaBroken, ENDED_EARLY),
    "chat-stream-ends-without-done": (OllamaBroken, ENDED_EARLY),
    "chat-stream-runner-killed": (
        OllamaBroken,
        "The model stopped working. Try again; if that happens again, choose a smaller model.",
    ),
}
FAILING_PULLS = {
    "pull-again-right-after-disconnect": (
        OllamaBusy,
        "A download of m:1b is just being stopped. Try again in a few seconds.",
    ),
    "pull-blob-404": (OllamaRefused, "A part of m:1b is missing where it comes from. Try again later."),
    "pull-client-disconnect": (OllamaBroken, PULL_ENDED_EARLY),
    "pull-cloud-model": (ModelMissing, NO_SUCH_MODEL),
    "pull-digest-mismatch": (OllamaBroken, "The download of m:1b was damaged on its way. Start it again."),
    "pull-http-registry-without-insecure": (OllamaRefused, SOURCE_AWAY),
    "pull-http-scheme-without-insecure": (OllamaRefused, SOURCE_AWAY),
    "pull-missing-model": (ModelMissing, NO_SUCH_MODEL),
    "pull-offline": (OllamaRefused, SOURCE_AWAY),
    "pull-registry-403": (
        OllamaRefused,
        "The place that m:1b comes from does not hand it out. It may be private, or need an account.",
    ),
    "pull-registry-500": (OllamaRefused, "The place that m:1b comes from is out of order. Try again later."),
    "pull-registry-unreachable": (OllamaRefused, SOURCE_AWAY),
    "pull-two-first-leaves-first": (OllamaBroken, PULL_ENDED_EARLY),
}
WHOLE_CHATS = sorted(set(traces.streamed("/api/chat")) - set(FAILING_CHATS))
WHOLE_PULLS = sorted(set(traces.streamed("/api/pull")) - set(FAILING_PULLS))
CUTS = {
    "as Ollama cut it": {},
    "byte by byte": {"piece_bytes": 1},
    "seven bytes": {"piece_bytes": 7},
    "all at once": {"piece_bytes": 1_000_000},
    "without chunks": {"piece_bytes": 100, "chunked": False},
}
every_cut = pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS.keys())


@dataclass
class Outcome:
    """What came out of a stream until it ended, one way or the other."""

    items: list[Any] = field(default_factory=list)
    failures: list[ChatAppError] = field(default_factory=list)

    def text(self, part: str) -> str:
        return "".join(getattr(item, part) for item in self.items if isinstance(item, ChatPiece))

    def why(self) -> tuple[type[ChatAppError], str]:
        """What it failed with, and the sentence. Raises ValueError when it did not fail."""
        (error,) = self.failures
        return type(error), error.message


@pytest.fixture(scope="module")
def ollama() -> Iterator[FakeOllama]:
    with FakeOllama() as fake:
        yield fake


@pytest.fixture
def client(ollama) -> OllamaClient:
    return OllamaClient(ollama.url)


def outcome(stream: ChatStream | PullStream) -> Outcome:
    result = Outcome()
    with stream:
        try:
            for item in stream:
                result.items.append(item)
        except ChatAppError as error:
            result.failures.append(error)
    return result


def ask(client: OllamaClient) -> Outcome:
    return outcome(client.chat("m:1b", [{"role": "user", "content": "Hi"}]))


def recorded_lines(body: bytes) -> list[dict[str, Any]]:
    """Return the lines that are whole, read in the plainest way."""
    return [json.loads(line) for line in body.split(b"\n")[:-1] if line]


def recorded_text(body: bytes, part: str) -> str:
    return "".join(line.get("message", {}).get(part, "") for line in recorded_lines(body))


def recorded_statuses(body: bytes) -> list[tuple[Any, ...]]:
    rows = [line for line in recorded_lines(body) if "error" not in line]
    return [(row["status"], row.get("digest"), row.get("total"), row.get("completed")) for row in rows]


def statuses(result: Outcome) -> list[tuple[Any, ...]]:
    rows = [item for item in result.items if isinstance(item, PullStatus)]
    return [(row.status, row.digest, row.total_bytes, row.completed_bytes) for row in rows]


@every_cut
@pytest.mark.parametrize("name", WHOLE_CHATS)
def test_a_recorded_reply_comes_out_whole(ollama, client, name, cut):
    ollama.next("/api/chat", scripts.play(name, **cut))

    result = ask(client)

    body = traces.load(name).body
    last = recorded_lines(body)[-1]
    assert result.failures == []
    assert result.text("content") == recorded_text(body, "content")
    assert result.text("thinking") == recorded_text(body, "thinking")
    assert [item for item in result.items if isinstance(item, ChatEnd)] == result.items[-1:]
    assert result.items[-1].done_reason == last.get("done_reason")
    assert result.items[-1].reply_tokens == last.get("eval_count")


@every_cut
@pytest.mark.parametrize("name", FAILING_CHATS)
def test_a_recorded_reply_that_failed_keeps_its_text_and_says_why(ollama, client, name, cut):
    ollama.next("/api/chat", scripts.play(name, **cut))

    result = ask(client)

    error, sentence = FAILING_CHATS[name]
    assert result.text("content") == recorded_text(traces.load(name).body, "content")
    assert not any(isinstance(item, ChatEnd) for item in result.items)
    assert result.why() == (error, sentence)


@every_cut
@pytest.mark.parametrize("name", WHOLE_PULLS)
def test_a_recorded_pull_comes_out_line_by_line(ollama, client, name, cut):
    ollama.next("/api/pull", scripts.play(name, **cut))

    result = outcome(client.pull("m:1b"))

    assert result.failures == []
    assert statuses(result) == recorded_statuses(traces.load(name).body)
    assert result.items[-1] == PullStatus("success")


@every_cut
@pytest.mark.parametrize("name", FAILING_PULLS)
def test_a_recorded_pull_that_failed_says_why(ollama, client, name, cut):
    ollama.next("/api/pull", scripts.play(name, **cut))

    result = outcome(client.pull("m:1b"))

    error, sentence = FAILING_PULLS[name]
    assert statuses(result) == recorded_statuses(traces.load(name).body)
    assert result.why() == (error, sentence)


def test_text_in_many_scripts_survives():
    body = traces.load("chat-stream-history-utf8").body

    assert recorded_text(body, "content").startswith("你好 🙂 naïve café 👩")


@pytest.mark.parametrize(
    "cut_after_bytes", range(1, len(traces.load("chat-stream-history-utf8").body) - 1, 149)
)
@pytest.mark.parametrize(("ending", "sentence"), [("end", ENDED_EARLY), ("fin", HUNG_UP)])
def test_a_reply_cut_short_anywhere_keeps_its_whole_lines_and_is_a_failure(
    ollama, client, cut_after_bytes, ending, sentence
):
    name = "chat-stream-history-utf8"
    ollama.next("/api/chat", scripts.play(name, cut_after_bytes=cut_after_bytes, ending=ending))

    result = ask(client)

    assert result.text("content") == recorded_text(traces.load(name).body[:cut_after_bytes], "content")
    assert result.why() == (OllamaBroken, sentence)


@pytest.mark.parametrize("cut_after_bytes", [0, 1, 300, 1_500, 2_200])
def test_a_reply_broken_off_hard_is_a_failure(ollama, client, cut_after_bytes):
    name = "chat-stream-history-utf8"
    ollama.next("/api/chat", scripts.play(name, cut_after_bytes=cut_after_bytes, ending="reset"))

    result = ask(client)

    assert recorded_text(traces.load(name).body, "content").startswith(result.text("content"))
    assert result.why() == (OllamaBroken, HUNG_UP)


@pytest.mark.parametrize("cut_after_bytes", range(1, len(traces.load("pull-present").body) - 1, 97))
@pytest.mark.parametrize(("ending", "sentence"), [("end", PULL_ENDED_EARLY), ("fin", HUNG_UP)])
def test_a_pull_cut_short_anywhere_is_a_failure(ollama, client, cut_after_bytes, ending, sentence):
    ollama.next("/api/pull", scripts.play("pull-present", cut_after_bytes=cut_after_bytes, ending=ending))

    result = outcome(client.pull("m:1b"))

    assert statuses(result) == recorded_statuses(traces.load("pull-present").body[:cut_after_bytes])
    assert result.why() == (OllamaBroken, sentence)
