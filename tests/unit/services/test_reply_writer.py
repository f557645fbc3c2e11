"""Whatever happens while a reply is written, it ends once and is stored if it can be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from chatapp.errors import OllamaTimeout, StorageFailed, StorageFull, StoreDamaged
from chatapp.jobs.events import TERMINAL_EVENTS, Event
from chatapp.jobs.job import Job
from chatapp.models import Chat, Message
from chatapp.ollama.types import Cancelled, ChatEnd, ChatPiece, RunningModel
from chatapp.services import reply_writer
from chatapp.services.reply_writer import LONGEST_REPLY_CHARACTERS, ReplyWriter
from chatapp.storage.memory import MemoryChatRepository, MemoryStore
from tests.records import a_chat, a_message, a_reply

END = ChatEnd(done_reason="stop")


class Model:
    """A model that says these things; an exception among them is raised, a function is called."""

    def __init__(self, *said: Any) -> None:
        self.said = said

    def chat(
        self, model: str, messages: Sequence[Mapping[str, Any]], *, options: Mapping[str, Any] | None = None
    ) -> Model:
        return self

    def ps(self) -> Sequence[RunningModel]:
        return []

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        """There is no connection to close."""

    def __iter__(self) -> Iterator[ChatPiece | ChatEnd]:
        for thing in self.said:
            if isinstance(thing, Exception):
                raise thing
            if callable(thing):
                thing()
            else:
                yield thing

    def cancel(self) -> None:
        """The next thing said is an exception."""


class FailingDisk(MemoryChatRepository):
    """Stores chats and questions, and fails for replies."""

    def __init__(self, failure: StorageFailed) -> None:
        super().__init__()
        self.failure = failure

    def append_part(self, *part: Any) -> None:
        raise self.failure

    def finish_message(self, owner_id: str, chat_id: str, message: Message) -> Message:
        raise self.failure


class Writing:
    """One reply in a chat of its own."""

    def __init__(self, model: Model, chats: MemoryChatRepository | None = None) -> None:
        self.chats = chats or MemoryStore().chats
        self.chat: Chat = self.chats.add(a_chat(messages=(a_message("Question"), a_reply())))
        self.reply = self.chat.messages[1]
        self.job = Job("reply", self.chat.id, self.chat.owner_id)
        self.writer = ReplyWriter(
            self.job, self.chat.owner_id, self.chat.id, self.reply, self.chat.messages[:1], self.chats, model
        )

    def run(self) -> list[Event]:
        """Write, and return all events."""
        self.writer.write()
        return [event for event in self.job.follow() if event is not None]

    def stored(self) -> Message:
        message = self.chats.get(self.chat.owner_id, self.chat.id).message(self.reply.id)
        assert message is not None
        return message


def said(text: str) -> ChatPiece:
    return ChatPiece(content=text, thinking="")


def text_of(events: Sequence[Event], name: str = "piece") -> str:
    return "".join(event.data["text"] for event in events if event.name == name)


@pytest.mark.parametrize(
    ("things", "end", "status", "content"),
    [
        ([said("Yes."), END], "done", "complete", "Yes."),
        ([END], "done", "complete", ""),
        ([said("Ye"), OllamaTimeout("Nothing came.")], "failed", "failed", "Ye"),
        ([OllamaTimeout("Nothing came.")], "failed", "failed", ""),
        ([said("Ye"), RuntimeError("our own slip")], "failed", "failed", "Ye"),
        ([said("Ye"), Cancelled()], "stopped", "stopped", "Ye"),
    ],
)
def test_every_reply_ends_once_and_is_stored_as_far_as_it_came(
    things: list[Any], end: str, status: str, content: str
) -> None:
    writing = Writing(Model(*things))

    events = writing.run()

    assert [event.name for event in events if event.name in TERMINAL_EVENTS] == [end]
    assert events[-1].name == end
    assert (writing.stored().status, writing.stored().content) == (status, content)
    assert text_of(events) == content


def test_a_reply_that_the_shutdown_cut_is_interrupted() -> None:
    writing: Writing = Writing(Model(said("Ye"), lambda: writing.job.cancel("interrupted"), Cancelled()))

    assert writing.run()[-1].name == "interrupted"
    assert writing.stored().status == "interrupted"


def test_our_own_slip_is_told_without_its_details() -> None:
    events = Writing(Model(RuntimeError("the secret inside"))).run()

    assert "secret" not in str(events)
    assert events[-1].data["code"] == "internal"


@pytest.mark.parametrize(
    "failure", [StorageFull("The disk is full."), StorageFailed("The disk does not answer.")]
)
def test_a_full_disk_lets_the_words_go_on_and_says_that_they_are_not_kept(failure: StorageFailed) -> None:
    writing = Writing(Model(said("One "), said("two."), END), FailingDisk(failure))

    events = writing.run()

    assert text_of(events) == "One two."
    assert events[-1].name == "failed"
    assert events[-1].data["code"] == failure.code
    assert failure.message in events[-1].data["message"]
    assert "Copy it" in events[-1].data["message"]


def test_a_reply_to_a_damaged_chat_ends_without_the_paths_of_the_server() -> None:
    damaged = StoreDamaged("data/chats.json is damaged at byte 7.")

    events = Writing(Model(said("One."), END), FailingDisk(damaged)).run()

    assert events[-1].data["code"] == "store_damaged"
    assert "chats.json" not in events[-1].data["message"]
    assert "Copy it" in events[-1].data["message"]


def test_a_chat_removed_meanwhile_is_not_brought_back() -> None:
    chats = MemoryStore().chats
    writing: Writing = Writing(
        Model(said("Ye"), lambda: chats.delete(writing.chat.owner_id, writing.chat.id), END), chats
    )

    events = writing.run()

    assert (events[-1].name, events[-1].data["code"]) == ("failed", "deleted")
    assert chats.list(writing.chat.owner_id) == []


def test_a_text_that_cannot_be_rendered_is_stored_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def __init__(self, **_: object) -> None: ...

        def add(self, text: str) -> list[tuple[int, str]]:
            raise ValueError(text)

        def finish(self) -> list[tuple[int, str]]:
            raise ValueError

    monkeypatch.setattr(reply_writer, "BlockStream", Broken)
    writing = Writing(Model(said("Odd"), END))

    events = writing.run()

    assert events[-1].name == "failed"
    assert writing.stored().content == "Odd"


@pytest.mark.parametrize(
    "pieces",
    [
        [said("x" * 10_000)] * 150,
        [said("x" * 3_000_000)],
        [ChatPiece(content="", thinking="x" * 10_000)] * 150,
        [ChatPiece(content="y", thinking="x" * 3_000_000)],
    ],
    ids=["many", "one", "thoughts", "one thought"],
)
def test_a_reply_without_an_end_is_ended_at_its_longest(pieces: list[ChatPiece]) -> None:
    writing = Writing(Model(*pieces, RuntimeError("read too far")))

    events = writing.run()

    stored = writing.stored()
    assert events[-1].name == "done"
    assert len(stored.content) + len(stored.thinking) == LONGEST_REPLY_CHARACTERS
    assert stored.usage is not None
    assert stored.usage.done_reason == "length"


def test_half_a_character_is_replaced_because_it_can_be_neither_sent_nor_stored() -> None:
    writing = Writing(Model(said("a\ud800b"), ChatPiece(content="", thinking="\udfff"), END))

    writing.run()

    assert writing.stored().content == "a?b"
    assert writing.stored().thinking == "?"


def test_every_word_and_thought_is_handed_to_the_store_at_once() -> None:
    """A kill between two pieces must not take the one that came before."""
    seen: list[tuple[str, str]] = []

    def look() -> None:
        reply = writing.stored()
        seen.append((reply.thinking, reply.content))

    writing = Writing(
        Model(ChatPiece(content="", thinking="Hm. "), look, ChatPiece(content="", thinking="Ah."), look,
              said("One "), look, said("two."), look, ChatEnd(done_reason="stop"))
    )  # fmt: skip
    writing.run()

    assert seen == [("Hm. ", ""), ("Hm. Ah.", ""), ("Hm. Ah.", "One "), ("Hm. Ah.", "One two.")]
