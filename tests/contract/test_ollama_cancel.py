"""A reply or a pull can be cancelled by another thread at any moment, and Ollama sees it at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

import pytest
from urllib3.util import connection

from chatapp.errors import ChatAppError
from chatapp.ollama.client import OllamaClient
from chatapp.ollama.streams import ChatStream, PullStream
from chatapp.ollama.types import Cancelled, ChatEnd, ChatPiece
from tests.fakes import scripts
from tests.fakes.ollama import FakeOllama

ASKED = [{"role": "user", "content": "Hi"}]
AT_ONCE_S = 1.0


@pytest.fixture
def ollama() -> Iterator[FakeOllama]:
    with FakeOllama() as fake:
        yield fake


@pytest.fixture
def client(ollama) -> OllamaClient:
    return OllamaClient(ollama.url)


class Reader:
    """Reads a stream in a thread of its own, as a job does."""

    def __init__(self, stream: ChatStream | PullStream) -> None:
        self.items: list[Any] = []
        self.first = threading.Event()
        self.ended_with: Exception | None = None
        self._stream = stream
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def ends_within(self, seconds: float) -> bool:
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _read(self) -> None:
        with self._stream as stream:
            try:
                for item in stream:
                    self.items.append(item)
                    self.first.set()
            except (Cancelled, ChatAppError) as error:
                self.ended_with = error


def test_a_reply_cancelled_before_it_is_begun_never_reaches_ollama(ollama, client):
    stream = client.chat("smollm2:135m", ASKED)
    stream.cancel()

    reader = Reader(stream)

    assert reader.ends_within(AT_ONCE_S)
    assert isinstance(reader.ended_with, Cancelled)
    assert ollama.calls == []


def test_a_reply_cancelled_while_the_connection_is_made_never_reaches_ollama(ollama, client, monkeypatch):
    stream = client.chat("smollm2:135m", ASKED)
    connect = connection.create_connection

    def connect_and_be_cancelled(*args, **kwargs):
        made = connect(*args, **kwargs)
        stream.cancel()
        return made

    monkeypatch.setattr(connection, "create_connection", connect_and_be_cancelled)
    reader = Reader(stream)

    assert reader.ends_within(AT_ONCE_S)
    assert isinstance(reader.ended_with, Cancelled)
    assert ollama.calls == []


def test_a_reply_is_cancelled_while_ollama_has_not_sent_a_byte(ollama, client):
    ollama.next("/api/chat", scripts.silence())
    stream = client.chat("smollm2:135m", ASKED)
    reader = Reader(stream)
    call = ollama.wait_for_call("/api/chat")

    stream.cancel()

    assert call.client_left.wait(AT_ONCE_S)
    assert reader.ends_within(AT_ONCE_S)
    assert isinstance(reader.ended_with, Cancelled)


def test_a_reply_is_cancelled_after_the_headers_and_before_the_first_line(ollama, client):
    began = threading.Event()

    def headers_only(wire):
        wire.begin()
        began.set()
        wire.stall()

    ollama.next("/api/chat", headers_only)
    stream = client.chat("smollm2:135m", ASKED)
    reader = Reader(stream)
    assert began.wait(5)

    stream.cancel()

    assert ollama.wait_for_call("/api/chat").client_left.wait(AT_ONCE_S)
    assert reader.ends_within(AT_ONCE_S)
    assert isinstance(reader.ended_with, Cancelled)


def test_a_reply_is_cancelled_between_two_lines(ollama, client):
    ollama.next("/api/chat", scripts.lines(scripts.piece("a"), ending="stall"))
    stream = client.chat("smollm2:135m", ASKED)
    reader = Reader(stream)
    assert reader.first.wait(5)

    stream.cancel()

    assert ollama.wait_for_call("/api/chat").client_left.wait(AT_ONCE_S)
    assert reader.ends_within(AT_ONCE_S)
    assert isinstance(reader.ended_with, Cancelled)
    assert [item.content for item in reader.items] == ["a"]


def test_a_reply_is_cancelled_in_the_middle_of_a_line(ollama, client):
    ollama.next("/api/chat", scripts.send(b'{"message":{"content":"a"}}\n', b'{"message":', ending="stall"))
    stream = client.chat("smollm2:135m", ASKED)
    reader = Reader(stream)
    assert reader.first.wait(5)

    stream.cancel()

    assert reader.ends_within(AT_ONCE_S)
    assert isinstance(reader.ended_with, Cancelled)


def test_a_reply_that_pours_is_cancelled_without_reading_on(ollama, client):
    ollama.believable.reply = "word " * 20_000
    ollama.believable.tokens_per_s = 2_000
    stream = client.chat("smollm2:135m", ASKED)
    reader = Reader(stream)
    assert reader.first.wait(5)

    stream.cancel()

    assert ollama.wait_for_call("/api/chat").client_left.wait(AT_ONCE_S)
    assert reader.ends_within(AT_ONCE_S)
    assert isinstance(reader.ended_with, Cancelled)


def test_lines_that_have_arrived_already_do_not_come_after_a_cancel(ollama, client):
    line = b'{"message":{"content":"a"}}\n'
    ollama.next("/api/chat", scripts.send(line * 100, ending="stall"))

    with client.chat("smollm2:135m", ASKED) as stream:
        items = iter(stream)
        next(items)
        stream.cancel()
        with pytest.raises(Cancelled):
            next(items)


def test_a_refusal_whose_body_does_not_come_can_be_cancelled(ollama, client):
    ollama.next("/api/chat", scripts.send(b'{"error":', status=500, ending="stall"))
    stream = client.chat("smollm2:135m", ASKED)
    reader = Reader(stream)
    ollama.wait_for_call("/api/chat")

    stream.cancel()

    assert reader.ends_within(AT_ONCE_S)
    assert isinstance(reader.ended_with, Cancelled)


def test_a_pull_is_cancelled_while_it_is_silent(ollama, client):
    ollama.next("/api/pull", scripts.lines({"status": "pulling manifest"}, ending="stall"))
    stream = client.pull("qwen3:0.6b")
    reader = Reader(stream)
    assert reader.first.wait(5)

    stream.cancel()

    assert ollama.wait_for_call("/api/pull").client_left.wait(AT_ONCE_S)
    assert reader.ends_within(AT_ONCE_S)
    assert isinstance(reader.ended_with, Cancelled)


def test_cancelling_after_the_end_changes_nothing(client):
    with client.chat("smollm2:135m", ASKED) as stream:
        items = list(stream)
        stream.cancel()
        stream.cancel()

    assert isinstance(items[-1], ChatEnd)
    stream.cancel()


def test_cancelling_twice_is_cancelling_once(ollama, client):
    ollama.next("/api/chat", scripts.silence())
    stream = client.chat("smollm2:135m", ASKED)
    reader = Reader(stream)
    ollama.wait_for_call("/api/chat")

    stream.cancel()
    stream.cancel()

    assert reader.ends_within(AT_ONCE_S)
    assert isinstance(reader.ended_with, Cancelled)


def test_cancelling_one_reply_leaves_another_alone(ollama, client):
    go_on = threading.Event()
    ollama.next("/api/chat", scripts.silence())
    ollama.next("/api/chat", scripts.after(go_on, scripts.lines(scripts.piece("b"), scripts.done())))
    first = client.chat("smollm2:135m", ASKED)
    first_reader = Reader(first)
    ollama.wait_for_call("/api/chat", count=1)
    second_reader = Reader(client.chat("smollm2:135m", ASKED))
    ollama.wait_for_call("/api/chat", count=2)

    first.cancel()
    assert first_reader.ends_within(AT_ONCE_S)
    go_on.set()

    assert second_reader.ends_within(5)
    assert second_reader.ended_with is None
    assert [item.content for item in second_reader.items[:-1]] == ["b"]


def test_leaving_a_stream_early_closes_the_connection(ollama, client):
    ollama.next("/api/chat", scripts.lines(scripts.piece("a"), ending="stall"))

    with client.chat("smollm2:135m", ASKED) as stream:
        next(iter(stream))

    assert ollama.wait_for_call("/api/chat").client_left.wait(AT_ONCE_S)


@pytest.mark.parametrize("pieces_before", range(0, 40, 3))
def test_whenever_a_reply_is_cancelled_it_ends_as_cancelled_or_whole(ollama, client, pieces_before):
    ollama.believable.reply = "word " * 30
    stream = client.chat("smollm2:135m", ASKED)
    before: list[object] = []
    after: list[object] = []

    with stream:
        items = iter(stream)
        before.extend(islice(items, pieces_before))
        canceller = threading.Thread(target=stream.cancel)
        canceller.start()
        with suppress(Cancelled):
            after.extend(items)
        canceller.join()

    contents = [item.content for item in before + after if isinstance(item, ChatPiece)]
    ends = [item for item in before + after if isinstance(item, ChatEnd)]
    assert ollama.believable.reply.startswith("".join(contents))
    assert (len(ends) == 1) == (len(contents) == 31)
