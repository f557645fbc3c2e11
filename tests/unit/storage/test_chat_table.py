"""Reading chats while they change: a long chat holds nobody up, and an old reading is never kept."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from chatapp.models import Message
from chatapp.storage import chat_table
from chatapp.storage.chat_state import ChatState
from chatapp.storage.checkpoint import Checkpointer
from chatapp.storage.json_store import JsonStore
from tests.records import a_chat, a_message, a_reply, a_user
from tests.unit.storage.conftest import Opener

PATIENCE_S = 20


@pytest.fixture
def store(open_folder: Opener) -> JsonStore:
    """Alice with a chat in chats.json that nobody has looked at since the start."""
    store = open_folder()
    alice = store.users.add(a_user("alice"))
    store.chats.add(a_chat(alice.id, messages=(a_message("one"), a_message("two"))))
    store.close()
    return open_folder()


class Held:
    """Holds the next reading of a chat's messages still."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = threading.Event()
        self.may_go_on = threading.Event()
        real = ChatState.messages

        def messages(state: ChatState) -> tuple[Message, ...]:
            found = real(state)
            if not self.begun.is_set():
                self.begun.set()
                self.may_go_on.wait(PATIENCE_S)
            return found

        monkeypatch.setattr(ChatState, "messages", messages)


def the_chat(store: JsonStore) -> tuple[str, str]:
    [alice] = store.users.all()
    [summary] = store.chats.list(alice.id)
    return alice.id, summary.id


def texts(store: JsonStore) -> list[str]:
    return [each.content for each in store.chats.get(*the_chat(store)).messages]


@contextmanager
def while_the_chat_is_parsed(store: JsonStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Thread]:
    """Hold a reader of the chat still while somebody adds a message; give that somebody's thread."""
    held, chat = Held(monkeypatch), the_chat(store)
    reader = threading.Thread(target=texts, args=[store])
    reader.start()
    assert held.begun.wait(PATIENCE_S)
    writer = threading.Thread(
        target=store.chats.add_messages, args=[*chat, [a_message("three")]], daemon=True
    )
    writer.start()
    writer.join(PATIENCE_S / 2)
    yield writer
    held.may_go_on.set()
    reader.join()


def test_while_a_chat_is_parsed_everything_else_goes_on(
    store: JsonStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with while_the_chat_is_parsed(store, monkeypatch) as writer:
        assert not writer.is_alive()


def test_what_was_read_before_a_change_is_not_shown_after_it(
    store: JsonStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with while_the_chat_is_parsed(store, monkeypatch):
        pass

    assert texts(store) == ["one", "two", "three"]


def test_a_message_with_quotation_marks_in_its_id_is_found(store: JsonStore) -> None:
    chat, message = the_chat(store), a_message("three", id='say "hi" \x7f \u2028')
    store.chats.add_messages(*chat, [message])
    assert store.chats.add_messages(*chat, [message.model_copy(update={"content": "again"})]) == [message]
    store.checkpoint()

    assert store.chats.add_messages(*chat, [message.model_copy(update={"content": "again"})]) == [message]


def test_a_chat_that_changes_during_every_checkpoint_does_not_carry_its_history_along(
    store: JsonStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat, numbers, write = the_chat(store), itertools.count(3), Checkpointer._write

    def write_while_somebody_asks(self: Checkpointer, moment: Any) -> Any:
        store.chats.add_messages(*chat, [a_message(f"{next(numbers)}")])
        return write(self, moment)

    monkeypatch.setattr(Checkpointer, "_write", write_while_somebody_asks)
    store.chats.add_messages(*chat, [a_message("two and a half")])
    for _ in range(10):
        store.checkpoint()

    state = store._chats.state(chat[1])
    assert state is not None
    assert state.length == 1
    assert texts(store) == ["one", "two", "two and a half", *(f"{number}" for number in range(3, 13))]


def test_a_reply_that_ends_during_a_checkpoint_is_in_its_place_after_it(
    store: JsonStore, monkeypatch: pytest.MonkeyPatch, open_folder: Opener
) -> None:
    chat, write = the_chat(store), Checkpointer._write
    [old] = store.chats.add_messages(*chat, [a_reply("…")])
    store.checkpoint()
    [new, _] = store.chats.add_messages(*chat, [a_reply("…"), a_message("after")])

    def write_while_replies_end(self: Checkpointer, moment: Any) -> Any:
        for reply in (old, new):
            store.chats.finish_message(
                *chat, reply.model_copy(update={"content": "end", "status": "complete"})
            )
        return write(self, moment)

    monkeypatch.setattr(Checkpointer, "_write", write_while_replies_end)
    store.checkpoint()

    assert texts(store) == ["one", "two", "end", "end", "after"]
    monkeypatch.undo()
    store.close()
    assert texts(open_folder()) == ["one", "two", "end", "end", "after"]


def test_a_message_of_a_long_chat_is_found_by_its_id_without_reading_the_chat_again(
    store: JsonStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same id again is what a page sends after a lost answer; it must cost little in a chat of any length."""
    chat = the_chat(store)
    store.chats.add_messages(*chat, [a_message("three", id="third-id")])
    readings: list[ChatState] = []
    monkeypatch.setattr(ChatState, "ids", readings.append)

    for number in range(5):
        store.chats.add_messages(*chat, [a_message(f"{number}"), a_message("again", id="third-id")])
        store.checkpoint()

    assert readings == []
    assert texts(store) == ["one", "two", "three", "0", "1", "2", "3", "4"]


def test_somebody_with_more_chats_than_are_kept_finds_them_all(
    store: JsonStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_table, "_KEPT_STATES", 3)
    [alice] = store.users.all()
    for number in range(10):
        store.chats.add(a_chat(alice.id, title=f"{number}"))
    store.checkpoint()

    store.chats.list(alice.id)
    kept = dict(store._chats._unchanged)

    assert len(store.chats.list(alice.id)) == 11
    assert len(kept) == 3
    assert sum(store._chats._unchanged.get(key) is state for key, state in kept.items()) >= 2


def test_ids_read_before_a_change_are_not_relied_on_after_it(
    store: JsonStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat, message, real = the_chat(store), a_message("three", id="third-id"), ChatState.ids

    def ids_while_somebody_asks(state: ChatState) -> set[bytes]:
        found = real(state)
        monkeypatch.setattr(ChatState, "ids", real)
        store.chats.add_messages(*chat, [message])
        return found

    monkeypatch.setattr(ChatState, "ids", ids_while_somebody_asks)
    store._chats.message(chat[1], "unknown-id")
    store.checkpoint()
    store.chats.add_messages(*chat, [message])

    assert texts(store) == ["one", "two", "three"]
