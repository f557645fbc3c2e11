"""A chat that the disk changed under a running server: people get a sentence, the log and root get the place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from chatapp import create_app
from chatapp.config import Config
from chatapp.models import Chat, User
from chatapp.storage.json_store import open_store
from tests.cast import Browser, services_of
from tests.records import a_chat, a_message, a_user

PLACE = "chats.json is damaged at byte "
JSON = {"Accept": "application/json"}


@pytest.fixture
def data(environment: dict[str, str]) -> Path:
    return Path(environment["CHATAPP_DATA_DIR"])


@pytest.fixture
def chats(data: Path) -> dict[str, tuple[User, Chat]]:
    """A chat of root and one of an ordinary user, in chats.json."""
    store = open_store(data)
    owners = [store.users.add(a_user(name)) for name in ("alice", "bob")]
    made = {each.username: (each, store.chats.add(a_chat(each.id, messages=(a_message("hello"),))))
            for each in owners}  # fmt: skip
    store.close()
    return made


@pytest.fixture
def app(environment: dict[str, str], data: Path, chats: dict[str, tuple[User, Chat]]) -> Iterator[Flask]:
    """The server, under which every message was changed after its start."""
    app = create_app(Config.from_env(environment, dotenv=None))
    content = (data / "chats.json").read_bytes()
    assert content.count(b"hello") == len(chats)
    (data / "chats.json").write_bytes(content.replace(b"hello", b"jello"))
    yield app
    services_of(app).shutdown(grace_s=0)


@pytest.mark.parametrize("headers", [{}, JSON])
def test_an_ordinary_user_reads_a_sentence_without_paths(
    app: Flask,
    chats: dict[str, tuple[User, Chat]],
    capsys: pytest.CaptureFixture[str],
    headers: dict[str, str],
) -> None:
    bob, chat = chats["bob"]

    answer = Browser(app, bob).get(f"/chat/{chat.id}", headers=headers)

    text = answer.get_data(as_text=True)
    assert answer.status_code == 503
    assert "Tell whoever looks after the server" in text
    for hidden in ("chats.json", "flask store", "data/"):
        assert hidden not in text
    [line] = [each for each in capsys.readouterr().err.splitlines() if "store_damaged" in each]
    assert PLACE in json.loads(line)["reason"]


@pytest.mark.parametrize("headers", [{}, JSON])
def test_root_reads_where_and_what_to_do(
    app: Flask, chats: dict[str, tuple[User, Chat]], headers: dict[str, str]
) -> None:
    alice, chat = chats["alice"]

    answer = Browser(app, alice).get(f"/chat/{chat.id}", headers=headers)

    text = answer.get_data(as_text=True)
    assert answer.status_code == 503
    assert PLACE in text
    assert "flask store repair" in text


def test_what_was_typed_into_such_a_chat_is_kept_without_paths_beside_it(
    app: Flask, chats: dict[str, tuple[User, Chat]]
) -> None:
    bob, chat = chats["bob"]

    answer = Browser(app, bob).submit(f"/chat/{chat.id}/message", content="Not to be lost")

    text = answer.get_data(as_text=True)
    assert answer.status_code == 503
    assert "Not to be lost" in text
    assert "chats.json" not in text
