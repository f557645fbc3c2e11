"""Reading chats while they change: a long chat holds nobody up, and an old reading is never kept."""

from __future__ import annotations

import threading

import pytest

from chatapp.models import Message
from chatapp.storage.chat_state import ChatState
from chatapp.storage.json_store import JsonStore
from tests.records import a_chat, a_message, a_user
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


def test_while_a_chat_is_parsed_everything_else_goes_on(
    store: JsonStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, chat = Held(monkeypatch), the_chat(store)
    reader = threading.Thread(target=texts, args=[store])
    reader.start()
    assert held.begun.wait(PATIENCE_S)
    others = threading.Thread(
        target=store.chats.add_messages, args=[*chat, [a_message("three")]], daemon=True
    )
    others.start()
    others.join(PATIENCE_S / 2)

    assert not others.is_alive()
    held.may_go_on.set()
    reader.join()


def test_what_was_read_before_a_change_is_not_shown_after_it(
    store: JsonStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, chat = Held(monkeypatch), the_chat(store)
    reader = threading.Thread(target=texts, args=[store])
    reader.start()
    assert held.begun.wait(PATIENCE_S)
    writer = threading.Thread(
        target=store.chats.add_messages, args=[*chat, [a_message("three")]], daemon=True
    )
    writer.start()
    writer.join(PATIENCE_S / 2)
    held.may_go_on.set()
    reader.join()

    assert texts(store) == ["one", "two", "three"]


def test_a_message_with_quotation_marks_in_its_id_is_found(store: JsonStore) -> None:
    chat, message = the_chat(store), a_message("three", id='say "hi" \x7f \u2028')
    store.chats.add_messages(*chat, [message])
    assert store.chats.add_messages(*chat, [message.model_copy(update={"content": "again"})]) == [message]
    store.checkpoint()

    assert store.chats.add_messages(*chat, [message.model_copy(update={"content": "again"})]) == [message]
