"""The clock jumps while people use the site: a day and an hour back, ten years on, to 1970, and stands still."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Self

import pytest
from flask import Flask

from chatapp import create_app, ids
from chatapp.config import Config
from chatapp.models import Chat
from chatapp.storage.json_store import JsonStore, open_store
from tests.cast import PASSWORD, Browser, add_user, services_of
from tests.fakes.ollama import FakeOllama
from tests.records import a_chat, a_message, a_reply
from tests.start.processes import eventually

pytestmark = pytest.mark.crash

JUMPS = {
    "a day back": timedelta(days=-1),
    "an hour back": timedelta(hours=-1),
    "ten years on": timedelta(days=3653),
    "to 1970": datetime(1970, 1, 1, 0, 1, tzinfo=UTC) - datetime.now(UTC),
}


class Clock:
    """The wall clock of this process. Durations keep their own clock, as they do on a real machine."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.offset = timedelta()
        self.stands_at: datetime | None = None
        self._real_time = time.time
        monkeypatch.setattr(time, "time", lambda: self.now().timestamp())
        clock = self

        class Jumping(datetime):
            @classmethod
            def now(cls, _zone: tzinfo | None = None) -> Self:
                return cls.fromtimestamp(clock.now().timestamp(), UTC)

        monkeypatch.setattr(ids, "datetime", Jumping)

    def now(self) -> datetime:
        return self.stands_at or datetime.fromtimestamp(self._real_time(), UTC) + self.offset


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def opened(folder: Path) -> closing[JsonStore]:
    return closing(open_store(folder, checkpoint_after_s=0.05))


@contextmanager
def site(folder: Path, ollama: FakeOllama, **settings: str) -> Iterator[Flask]:
    """The application over a real store."""
    environment = {
        "CHATAPP_DATA_DIR": str(folder),
        "OLLAMA_URL": ollama.url,
        "LOG_LEVEL": "error",
        **settings,
    }
    store = open_store(folder, checkpoint_after_s=0.05)
    app = create_app(Config.from_env(environment, dotenv=None), store=store)
    yield app
    services_of(app).shutdown(grace_s=0)


def ask(alice: Browser, chat_id: str, content: str) -> None:
    headers = {"Accept": "application/json", "X-CSRFToken": alice.token()}
    answer = alice.client.post(f"/chat/{chat_id}/message?wait=1", json={"content": content}, headers=headers)
    assert answer.status_code == 200, answer.text


def new_chat(alice: Browser) -> str:
    headers = {"Accept": "application/json", "X-CSRFToken": alice.token()}
    chat_id: str = alice.client.post("/chat", json={"model": "smollm2:135m"}, headers=headers).get_json()[
        "id"
    ]
    return chat_id


@pytest.mark.parametrize("jump", JUMPS.values(), ids=JUMPS)
def test_the_order_of_messages_and_the_time_of_a_chat_survive_a_jump(
    tmp_path: Path, ollama: FakeOllama, clock: Clock, jump: timedelta
) -> None:
    with site(tmp_path / "data", ollama, RATELIMIT_ENABLED="false") as app:
        user = add_user(app, "alice")
        alice = Browser(app, user)
        chat_id, other_id = new_chat(alice), new_chat(alice)
        chats = services_of(app).store.chats
        updated = []
        for number in range(4):
            ask(alice, chat_id, f"question {number}")
            updated.append(chats.get(user.id, chat_id).updated_at)
            clock.offset = jump * ((number + 1) % 2)
            alice = Browser(app, user)  # some jumps are longer than a session lasts
        before = chats.get(user.id, chat_id)
        listed = [each.id for each in chats.list(user.id)]
    clock.offset = -jump if jump < timedelta() else timedelta()
    with opened(tmp_path / "data") as store:
        after = store.chats.get(user.id, chat_id)

    assert updated == sorted(updated)
    assert questions(before) == [f"question {number}" for number in range(4)]
    assert after == before
    assert listed == [chat_id, other_id]
    assert all(each.parent_id == previous.id for previous, each in itertools.pairwise(before.messages))
    durations = [
        value
        for each in before.messages
        if each.usage
        for value in (each.usage.duration_ms, each.usage.first_token_ms, each.usage.tokens_per_s)
        if value is not None
    ]
    assert durations
    assert min(durations) >= 0


def questions(chat: Chat) -> list[str]:
    return [each.content for each in chat.messages if each.role == "user"]


@pytest.mark.parametrize(
    "jump", [timedelta(hours=-1), timedelta(days=-1), timedelta(days=1), JUMPS["to 1970"]]
)
def test_a_jump_signs_nobody_out(tmp_path: Path, ollama: FakeOllama, clock: Clock, jump: timedelta) -> None:
    with site(tmp_path / "data", ollama) as app:
        alice = Browser(app, add_user(app, "alice"))
        assert alice.get("/settings").status_code == 200

        clock.offset = jump
        assert alice.get("/settings").status_code == 200
        assert alice.submit("/settings", theme="dark").status_code < 400

        clock.offset = timedelta()
        assert alice.get("/settings").status_code == 200


def test_sessions_that_seem_too_old_are_there_again_when_the_clock_is_put_right(
    tmp_path: Path, ollama: FakeOllama, clock: Clock
) -> None:
    with site(tmp_path / "data", ollama) as app:
        user = add_user(app, "alice")
        phone, desk = Browser(app, user), Browser(app, user)

        clock.offset = JUMPS["ten years on"]
        assert phone.get("/settings").status_code == 303
        clock.offset = timedelta()

        assert desk.get("/settings").status_code == 200


@pytest.mark.parametrize("jump", JUMPS.values(), ids=JUMPS)
def test_limits_go_on_to_hold_for_who_reached_them_and_for_nobody_else(
    tmp_path: Path, ollama: FakeOllama, clock: Clock, jump: timedelta
) -> None:
    with site(tmp_path / "data", ollama) as app:
        add_user(app, "alice")
        add_user(app, "bob")
        anybody = Browser(app)
        for _ in range(10):
            assert anybody.submit("/login", username="alice", password="wrong").status_code == 401
        refused = anybody.submit("/login", username="alice", password="wrong")
        clock.offset = jump

        later = anybody.submit("/login", username="alice", password="wrong")
        bob = anybody.submit("/login", username="bob", password=PASSWORD)

    assert refused.status_code == 429
    assert later.status_code == (401 if jump > timedelta() else 429)
    assert later.status_code == 401 or int(later.headers["Retry-After"]) >= 1
    assert bob.status_code == 303


@pytest.mark.parametrize("jump", JUMPS.values(), ids=JUMPS)
def test_the_files_follow_whatever_the_clock_does(tmp_path: Path, clock: Clock, jump: timedelta) -> None:
    chats, reply = tmp_path / "data" / "chats.json", a_reply()
    with closing(open_store(tmp_path / "data", checkpoint_after_s=0.3)) as store:
        chat = store.chats.add(a_chat(messages=[reply]))
        store.chats.append_part(chat.owner_id, chat.id, reply.id, 0, "words before the jump")
        clock.offset = jump

        eventually(lambda: b"words before the jump" in chats.read_bytes())
        store.chats.add_messages(chat.owner_id, chat.id, [a_message("text of later")])
        eventually(lambda: b"text of later" in chats.read_bytes())


@pytest.mark.parametrize("jump", JUMPS.values(), ids=JUMPS)
def test_journal_files_that_somebody_may_be_copying_stay(
    tmp_path: Path, clock: Clock, jump: timedelta
) -> None:
    def write() -> set[str]:
        store.chats.add(a_chat())
        store.checkpoint()
        return {path.name for path in (tmp_path / "data" / "journal").iterdir()}

    with closing(open_store(tmp_path / "data", checkpoint_after_s=math.inf)) as store:
        before = [write() for _ in range(3)][-1]
        clock.offset = jump

        assert before < write()


def test_files_of_others_are_all_kept_while_the_clock_stands_still(tmp_path: Path, clock: Clock) -> None:
    clock.stands_at = datetime(2026, 1, 1, tzinfo=UTC)
    with opened(tmp_path / "data") as store:
        strangers = [f'{{"stranger": {number}}}' for number in range(3)]
        for stranger in strangers:
            (tmp_path / "data" / "chats.json").unlink()
            (tmp_path / "data" / "chats.json").write_text(stranger)
            store.chats.add(a_chat(messages=[a_message()]))
            store.checkpoint()

    kept = [path.read_text() for path in (tmp_path / "data").glob("chats.json.foreign-*")]
    assert sorted(kept) == strangers


def test_a_server_started_in_another_time_goes_on_with_the_same_journal(tmp_path: Path, clock: Clock) -> None:
    texts = []
    for number, offset in enumerate((timedelta(), *JUMPS.values(), timedelta())):
        clock.offset = offset
        with opened(tmp_path / "data") as store:
            if not number:
                store.chats.add(a_chat("alice-id", id="chat-id"))
            texts.append(f"text {number}")
            message = a_message(texts[-1], created_at=ids.now_utc())
            store.chats.add_messages("alice-id", "chat-id", [message])
    with opened(tmp_path / "data") as store:
        chat = store.chats.get("alice-id", "chat-id")

    assert [message.content for message in chat.messages] == texts
    assert chat.updated_at == max(message.created_at for message in chat.messages)
