"""Plain files of a simpler layout: what is taken over from them, what is not, and what is refused."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from werkzeug.security import generate_password_hash

from chatapp.errors import StorageFailed, StoreDamaged
from chatapp.models import Chat, User
from chatapp.storage.files import Files
from chatapp.storage.json_store import JsonStore, open_store
from chatapp.storage.layout import Layout
from chatapp.storage.recovery import load
from tests.fakes.files import FaultyFiles, error
from tests.memory_folder import memory_folder
from tests.records import a_message
from tests.unit.storage.killed import contents, lay_out, reopened

HASH = generate_password_hash("correct horse", "pbkdf2:sha256:1000")
SHA256 = "5E884898DA28047151D0E56F8DC6292773603D0D6AABBDD62A11EF721D1542D8"
ALICE = {"username": "alice", "password": HASH, "role": "root"}
BOB = {"username": "Bob", "pw": HASH, "role": "user"}
HELLO = {"role": "user", "content": "Hello"}
HI = {"role": "assistant", "content": "Hi!"}
TALK = {"title": "Talk", "messages": [HELLO, HI]}


@dataclass(frozen=True)
class Opened:
    users: list[User]
    chats: list[Chat]
    notices: list[str]

    def user(self, name: str) -> User:
        return next(user for user in self.users if user.username == name)

    def texts(self, name: str) -> list[list[str]]:
        """Return the texts of each chat of a user."""
        owned = [chat for chat in self.chats if chat.owner_id == self.user(name).id]
        return [[message.content for message in chat.messages] for chat in owned]

    def noticed(self, part: str) -> bool:
        return any(part in notice for notice in self.notices)


@pytest.fixture
def data() -> Iterator[Path]:
    with memory_folder() as folder:
        yield folder / "data"


def put(folder: Path, users: Any = None, chats: Any = None) -> None:
    """Make a folder that holds these files, as JSON or as bytes, and nothing else."""
    files = {"users.json": users, "chats.json": chats}
    lay_out(folder, {name: as_bytes(value) for name, value in files.items() if value is not None})


def as_bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def seen(store: JsonStore) -> Opened:
    users = list(store.users.all())
    chats = [store.chats.get(user.id, each.id) for user in users for each in store.chats.list(user.id)]
    return Opened(users, sorted(chats, key=lambda chat: chat.title), list(store.notices))


def opened(folder: Path) -> Opened:
    with reopened(folder) as store:
        return seen(store)


def refusal(folder: Path) -> str:
    """Return why a folder is refused, after making sure that nothing was touched."""
    left = contents(folder)
    with pytest.raises(StoreDamaged) as refused, reopened(folder):
        pass
    assert {name: data for name, data in contents(folder).items() if data or name in left} == left
    with pytest.raises(StoreDamaged):
        load(Files(), Layout(folder))
    return refused.value.message


# --- users.json -------------------------------------------------------------------------------------------------

USERS: dict[str, tuple[Any, dict[str, str]]] = {
    "object": ({}, {}),
    "list": ([], {}),
    "object in object": ({"users": {}}, {}),
    "list in object": ({"users": []}, {}),
    "list of users": ([ALICE, BOB], {"alice": "root", "Bob": "user"}),
    "list in an object": ({"version": 1, "users": [ALICE, BOB]}, {"alice": "root", "Bob": "user"}),
    "by name": (
        {"alice": {"password_hash": HASH, "role": "admin"}, "Bob": {"role": "user"}},
        {"alice": "root", "Bob": "user"},
    ),
    "by name in an object": ({"users": {"alice": ALICE}}, {"alice": "root"}),
    "by id": ({"17": ALICE, "u-2": BOB}, {"alice": "root", "Bob": "user"}),
    "hashes by name": ({"alice": HASH, "Bob": HASH}, {"alice": "root", "Bob": "user"}),
    "name": ([{"name": "alice", "hash": HASH, "is_admin": True}], {"alice": "root"}),
    "user": ([{"user": "alice", "hash": HASH, "admin": True}], {"alice": "root"}),
    "flags": ([ALICE | {"role": None, "root": True}, BOB], {"alice": "root", "Bob": "user"}),
    "a false flag": ([BOB | {"role": None, "is_root": False}], {"Bob": "user"}),
    "no roles, no dates": ([{"username": "Bob"}, {"username": "alice"}], {"Bob": "root", "alice": "user"}),
    "no roles, dates": (
        [{"username": "Bob", "created_at": 1_700_000_000}, {"username": "alice", "created_at": "2020-01-01"}],
        {"Bob": "user", "alice": "root"},
    ),
    "no roles, one date": (
        [{"username": "Bob"}, {"username": "alice", "created_at": "2020-01-01T00:00:00Z"}],
        {"Bob": "user", "alice": "root"},
    ),
    "no root": ([BOB], {"Bob": "user"}),
    "an unknown role": ([ALICE, BOB | {"role": "moderator"}], {"alice": "root", "Bob": "user"}),
}


@pytest.mark.parametrize(("users", "roles"), USERS.values(), ids=USERS)
def test_accounts_are_taken_over(data: Path, users: Any, roles: dict[str, str]) -> None:
    put(data, users)

    after = opened(data)

    assert {user.username: user.role for user in after.users} == roles
    assert opened(data).users == after.users
    assert json.loads((data / "users.json").read_bytes())["format"] == "users/1"


@pytest.mark.parametrize("users", [[ALICE], {"alice": ALICE}, {"alice": HASH}, [ALICE | {"hash": "x"}]])
def test_a_hash_that_is_known_here_is_taken_over(data: Path, users: Any) -> None:
    put(data, users)

    assert opened(data).user("alice").password_hash == HASH


@pytest.mark.parametrize(
    "password",
    ["secret", "$2b$12$abcdefghijk", "sha256$salt$00", "pbkdf2:sha256", "", None, 7, "md5:x$y$z", SHA256],
)
def test_anything_else_is_no_password(data: Path, password: Any) -> None:
    put(data, [ALICE, {"username": "bob", "password": password}])

    after = opened(data)

    assert after.user("bob").password_hash == ""
    assert after.noticed(
        "cannot sign in: bob. Stop the server and run `.venv/bin/flask user reset-password bob`"
    )
    assert b"secret" not in (data / "users.json").read_bytes()
    assert after.noticed("passwords as readable text") == (password in {"secret", "pbkdf2:sha256"})
    assert after.noticed("passwords in a form that is not known here") == (password == SHA256)


def test_the_oldest_account_becomes_root_only_with_a_notice(data: Path) -> None:
    put(data, [{"username": "bob"}])
    assert opened(data).noticed("No account in users.json was marked as root; bob, the oldest, is root now.")


def test_nobody_becomes_root_where_roles_are_known(data: Path) -> None:
    put(data, [BOB])

    with reopened(data) as store:
        [notice] = [each for each in store.notices if "role root" in each]
    assert notice.endswith("run `.venv/bin/flask user set-role NAME root`.")
    assert [each for each in opened(data).notices if "role root" in each] == [notice]


@pytest.mark.parametrize(
    ("created", "year"),
    [
        ("2021-05-01T12:00:00+02:00", 2021), ("2021-05-01 12:00", 2021),
        ("0001-01-01T00:00:00+14:00", None), (1_620_000_000, 2021),
        (1_620_000_000.5, 2021), (1_620_000_000_000, 2021), ("1620000000", 2021), (None, None), ("soon", None),
        (1e300, None), (True, None), ([], None),
    ],
)  # fmt: skip
def test_times_of_all_kinds_are_read(data: Path, created: Any, year: int | None) -> None:
    put(
        data,
        [ALICE | {"created_at": created}],
        [{"user": "alice", "created_at": created, "messages": [HELLO]}],
    )

    after = opened(data)
    times = [after.users[0].created_at, after.chats[0].created_at, after.chats[0].messages[0].created_at]

    assert all(time.tzinfo is not None for time in times)
    assert year is None or {time.year for time in times} == {year}


def test_a_disabled_account_stays_disabled(data: Path) -> None:
    put(data, [ALICE, BOB | {"is_active": False}, {"username": "eve", "disabled": True, "role": "user"}])

    assert [user.disabled for user in opened(data).users] == [False, True, True]


def test_fields_that_are_not_known_here_are_kept(data: Path) -> None:
    message = HELLO | {"stars": 5, "usage": "much"}
    chat = TALK | {"owner": "alice", "folder": {"a": [1]}, "messages": [message]}
    put(data, [ALICE | {"email": "a@example.org", "settings": "dark"}], [chat])

    after = opened(data)

    assert after.users[0].model_extra == {"email": "a@example.org", "imported_settings": "dark"}
    assert after.chats[0].model_extra == {"folder": {"a": [1]}}
    assert after.chats[0].messages[0].model_extra == {"stars": 5, "imported_usage": "much"}


USERS_REFUSED: dict[str, tuple[Any, str]] = {
    "empty": (b"", "at byte 0: .*it is empty"),
    "null": (b"null", "does not end as JSON does"),
    "a text": (b'"users"', "does not end as JSON does"),
    "numbers": ([1, 2], "its entry 1 is no user"),
    "truncated": (json.dumps([ALICE, BOB]).encode()[:-30], "at byte [1-9].*no whole JSON"),
    "truncated after a brace": (json.dumps([ALICE, BOB]).encode()[: -len(json.dumps(BOB)) - 3], "no whole JSON"),
    "zeros": (b"\0" * 300, "nothing but zeros"),
    "zeros at the end": (json.dumps([ALICE]).encode()[:-9] + b"\0" * 9, "no whole JSON"),
    "binary": (b"\x80\x04\x95\xff{}", "no text"),
    "not a number": (b'[{"username":"alice","x":NaN}]', "NaN is no JSON"),
    "a key twice": (b'{"alice":{},"alice":{}}', '"alice" occurs twice'),
    "no name": ([{"password": HASH}], "has no name"),
    "a name of spaces": ([{"username": " "}], "has no name"),
    "a name with a control character": ([{"username": "a\x00b"}], "has no name"),
    "one account alone": ({"username": "alice", "password": HASH}, "its entry username is no user"),
    "a number of 5000 digits": (b'[{"username":"a","x":' + b"9" * 5_000 + b"}]", "it holds what cannot be read"),
    "deep": (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
}  # fmt: skip
USERS_TWICE: dict[str, tuple[Any, str]] = {
    "a name twice": ([ALICE, ALICE | {"username": "ALICE"}], "two accounts have the name ALICE"),
    "an id twice": ([ALICE | {"id": 1}, BOB | {"id": "1"}], "Bob has the id of another"),
}
OTHER_FILES: dict[str, tuple[Any, str]] = {
    "a newer version": (b'{"format":"users/2","seq":0,"gen":1,"users":{}}', "its format is users/2"),
    "another kind": (
        {"format": "chats/1", "seq": 0, "gen": 1, "count": 0, "chats": {}},
        "its format is chats/1",
    ),
}


@pytest.mark.parametrize(("users", "reason"), USERS_REFUSED.values(), ids=USERS_REFUSED)
def test_what_is_no_set_of_accounts_is_refused_and_left_alone(data: Path, users: Any, reason: str) -> None:
    put(data, users, {})

    message = refusal(data)

    assert re.search(reason, message)
    assert "users.json is damaged at byte" in message
    assert message.endswith("or run `.venv/bin/flask store repair`.")


@pytest.mark.parametrize(("users", "reason"), USERS_TWICE.values(), ids=USERS_TWICE)
def test_accounts_that_cannot_be_told_apart_are_no_damage(data: Path, users: Any, reason: str) -> None:
    put(data, users, {})

    message = refusal(data)

    assert "users.json cannot be used: " in message
    assert reason in message
    assert "damaged" not in message


@pytest.mark.parametrize(("users", "reason"), OTHER_FILES.values(), ids=OTHER_FILES)
def test_a_file_of_another_version_or_kind_is_no_damage(data: Path, users: Any, reason: str) -> None:
    put(data, users, {})

    message = refusal(data)

    assert f"users.json was written by another version of chatapp, or is another file: {reason}." in message
    assert "damaged" not in message
    assert "Use that version, or put the right file back" in message


@pytest.mark.parametrize("format_", [b"users/3", b"users/0", b"chats/1"])
def test_a_format_that_alone_was_changed_is_damage(data: Path, format_: bytes) -> None:
    put(data, [ALICE], {})
    opened(data)
    ours = (data / "users.json").read_bytes()
    (data / "users.json").write_bytes(ours.replace(b"users/1", format_, 1))

    message = refusal(data)

    assert "users.json is damaged at byte 0: the name of its format was changed" in message
    assert message.endswith("or run `.venv/bin/flask store repair`.")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_any_encoding_of_json_is_read(data: Path, encoding: str) -> None:
    users = json.dumps([ALICE | {"username": "Jürgen"}], ensure_ascii=False, indent=2).replace("\n", "\r\n")
    put(data, users.encode(encoding))

    assert [user.username for user in opened(data).users] == ["Jürgen"]


@pytest.mark.parametrize("chats", [[TALK], {"c1": TALK}])
def test_chats_inside_an_account_are_not_passed_over_in_silence(data: Path, chats: Any) -> None:
    put(data, [ALICE | {"chats": chats}, BOB | {"chats": []}])

    after = opened(data)

    assert after.noticed("had chats inside users.json, which were not imported: alice.")
    [kept] = (data / "backups").glob("users.json-*")
    assert json.loads(kept.read_bytes())[0]["chats"] == chats


# --- chats.json -------------------------------------------------------------------------------------------------

CHATS: dict[str, tuple[Any, list[list[str]]]] = {
    "object": ({}, []),
    "list": ([], []),
    "object in object": ({"chats": {}}, []),
    "list of chats": ([TALK | {"owner": "alice"}], [["Hello", "Hi!"]]),
    "in an object": ({"chats": [TALK | {"user": "ALICE"}]}, [["Hello", "Hi!"]]),
    "by id": ({"c1": TALK | {"username": "alice"}}, [["Hello", "Hi!"]]),
    "by id in an object": ({"chats": {"c1": TALK | {"user_id": 17}}}, [["Hello", "Hi!"]]),
    "a list per user": ({"alice": [TALK, TALK], "Bob": []}, [["Hello", "Hi!"]] * 2),
    "a list per user id": ({"17": [TALK]}, [["Hello", "Hi!"]]),
    "an object per user": ({"alice": {"c1": TALK, "c2": TALK}, "Bob": {}}, [["Hello", "Hi!"]] * 2),
    "the messages of each user": ({"alice": [HELLO, HI]}, [["Hello", "Hi!"]]),
    "a whole owner": ([TALK | {"owner": {"id": 17, "name": "x"}}], [["Hello", "Hi!"]]),
    "history": ([{"owner": "alice", "name": "x", "history": [HELLO]}], [["Hello"]]),
    "no messages": ([{"owner": "alice", "messages": []}], [[]]),
    "null messages": ([{"owner": "alice", "messages": None}], [[]]),
    "text": ([{"owner": "alice", "messages": [{"role": "human", "text": "a"}, {"role": "AI", "message": "b"}]}],
             [["a", "b"]]),
    "sender": ([{"owner": "alice", "messages": [{"sender": "user", "text": "a"}, {"sender": "bot", "text": "b"}]}],
               [["a", "b"]]),
    "from": ({"alice": [{"from": "human", "text": "a"}, {"from": "ai", "text": "b"}]}, [["a", "b"]]),
    "a prompt and its response": ([{"owner": "alice", "title": "x", "prompt": "a", "response": "b"}], [["a", "b"]]),
    "a question and its answer": ([{"user": "alice", "question": "a", "answer": "b"}], [["a", "b"]]),
    "a prompt without response": ([{"owner": "alice", "prompt": "a", "response": None}], [["a"]]),
    "pairs": ([{"owner": "alice", "messages": [{"user": "a", "assistant": "b"}, {"prompt": "c", "response": "d"}]}],
              [["a", "b", "c", "d"]]),
    "pairs of each user": ({"alice": [{"user": "a", "assistant": "b"}, {"user": "c", "assistant": "d"}]},
                           [["a", "b", "c", "d"]]),
    "pairs with titles": ({"alice": [{"title": "x", "prompt": "a", "response": "b"}] * 2}, [["a", "b"]] * 2),
    "role and text": ([{"owner": "alice", "history": [["user", "a"], ["AI", "b"]]}], [["a", "b"]]),
    "role and text of each user": ({"alice": [["user", "a"], ["assistant", "b"]]}, [["a", "b"]]),
    "lists of messages": ({"alice": [[HELLO, HI], [["user", "a"]]]}, [["a"], ["Hello", "Hi!"]]),
    "fields without contents": ([{"owner": "alice", "pinned": True, "tags": [], "note": ""}], [[]]),
    "content null": ([{"owner": "alice", "messages": [{"role": "user", "content": None}]}], [[""]]),
    "content a number": ([{"owner": "alice", "messages": [{"role": "user", "content": 3.5}]}], [["3.5"]]),
    "content in parts": ([{"owner": "alice", "messages": [{"role": "user", "content": [
        {"type": "text", "text": "a"}, "b"]}]}], [["ab"]]),
    "content an object": ([{"owner": "alice", "messages": [{"role": "user", "content": {"ü": 1}}]}],
                          [['{"ü": 1}']]),
    "half of a surrogate pair": ([{"owner": "alice", "messages": [{"role": "user", "content": "a\ud83d"}]}],
                                 [["a\ufffd"]]),
    "the same id twice": ([TALK | {"owner": "alice", "id": 1}] * 2, [["Hello", "Hi!"]] * 2),
    "the same id of two people": ({"alice": [TALK | {"id": 1}], "Bob": [TALK | {"id": 1}]}, [["Hello", "Hi!"]]),
    "one id for all messages": ([{"owner": "alice", "messages": [HELLO | {"id": 1}, HI | {"id": 1}]}],
                                [["Hello", "Hi!"]]),
}  # fmt: skip


@pytest.mark.parametrize(("chats", "texts"), CHATS.values(), ids=CHATS)
def test_chats_are_taken_over(data: Path, chats: Any, texts: list[list[str]]) -> None:
    put(data, {"17": ALICE, "18": BOB}, chats)

    after = opened(data)

    assert after.texts("alice") == texts
    assert len({message.id for chat in after.chats for message in chat.messages}) >= max(
        map(len, texts), default=0
    )
    assert opened(data).chats == after.chats
    assert not after.noticed("not be used")
    assert json.loads((data / "chats.json").read_bytes())["format"] == "chats/1"


CHATS_REJECTED: dict[str, tuple[Any, str]] = {
    "no owner": (TALK, "it names no owner"),
    "an unknown owner": (TALK | {"owner": "eve"}, "its owner eve is not in users.json"),
    "an owner of a strange kind": (TALK | {"owner": [1]}, "is not in users.json"),
    "messages no list": ({"owner": "alice", "messages": "Hello"}, "its messages are no list"),
    "messages are texts": ({"owner": "alice", "messages": ["Hello"]}, "its message 1 is no object"),
    "a role unknown": ({"owner": "alice", "messages": [HELLO, {"role": "bard"}]}, "role 'bard' of its message 2"),
    "no role": ({"owner": "alice", "messages": [{"content": "x"}]}, "of its message 1 is not known"),
    "no chat": (7, "it is no object"),
    "half of a surrogate pair in a field unknown here": (TALK | {"owner": "alice", "x": "\ud83d"}, "surrogates"),
}  # fmt: skip


@pytest.mark.parametrize(("chat", "reason"), CHATS_REJECTED.values(), ids=CHATS_REJECTED)
def test_a_chat_that_cannot_be_used_is_put_aside_and_the_others_are_there(
    data: Path, chat: Any, reason: str
) -> None:
    put(data, [ALICE], {"chats": [TALK | {"owner": "alice"}, chat]})

    after = opened(data)

    assert after.texts("alice") == [["Hello", "Hi!"]]
    [notice] = [each for each in after.notices if "Chats that could not be used" in each]
    assert "could not be used: chat 2: " in notice
    assert reason in notice
    assert "Talk" not in notice
    [kept] = (data / "quarantine").iterdir()
    assert kept.name in notice
    assert json.loads(kept.read_bytes())[0]["value"] == chat
    assert opened(data).notices == []


NO_CONTENTS = "it has contents, but no messages under a name that is known here"


@pytest.mark.parametrize(
    "chat",
    [
        {"log": "a secret"},
        {"turns": [HELLO]},
        {"content": {"1": "a"}},
        {"prompt": "a"},
        {"prompt": ["a"], "response": "b"},
    ],
)
def test_contents_in_an_unknown_form_are_never_an_empty_chat(data: Path, chat: Any) -> None:
    put(data, [ALICE], [chat | {"owner": "alice"}, TALK | {"owner": "alice"}])

    after = opened(data)

    assert [each.title for each in after.chats] == ["Talk"]
    assert after.noticed(f"Chats that could not be used: chat 1: {NO_CONTENTS}.")
    [kept] = (data / "quarantine").iterdir()
    assert json.loads(kept.read_bytes())[0]["value"] == chat | {"owner": "alice"}


def test_a_pair_keeps_what_else_it_says(data: Path) -> None:
    pair = {"prompt": "a", "response": "b", "model": "m", "time": 1_700_000_000, "score": 7}
    put(data, [ALICE], [{"owner": "alice", "messages": [pair]}])

    [chat] = opened(data).chats

    question, answer = chat.messages
    assert (question.role, answer.role, answer.model) == ("user", "assistant", "m")
    assert question.created_at == answer.created_at == datetime.fromtimestamp(1_700_000_000, UTC)
    assert answer.parent_id == question.id
    assert answer.model_dump()["score"] == 7


CHATS_REFUSED: dict[str, tuple[Any, str]] = {
    "empty": (b"", "it is empty"),
    "null": (b"null", "does not end as JSON does"),
    "truncated": (json.dumps([TALK] * 2).encode()[:-3], "no whole JSON"),
    "a newer version": (b'{"format":"chats/2","seq":0,"gen":1,"chats":{}}', "another version of chatapp"),
    "a newer version, formatted": (b'{\n "format": "chats/2"\n}', "another version of chatapp"),
}


@pytest.mark.parametrize(("chats", "reason"), CHATS_REFUSED.values(), ids=CHATS_REFUSED)
def test_what_is_no_set_of_chats_is_refused_and_left_alone(data: Path, chats: Any, reason: str) -> None:
    put(data, [ALICE], chats)

    assert reason in refusal(data)


def test_messages_are_linked_in_their_order_and_keep_their_times(data: Path) -> None:
    messages = [
        HELLO | {"time": 1_700_000_000},
        HI | {"model": "m"},
        HELLO | {"timestamp": 1_700_000_060_000},
    ]
    put(data, [ALICE], [{"owner": "alice", "messages": messages}])

    [chat] = opened(data).chats

    assert [each.parent_id for each in chat.messages] == [None, chat.messages[0].id, chat.messages[1].id]
    assert [each.created_at.timestamp() % 100 for each in chat.messages] == [0, 0, 60]
    assert (chat.created_at, chat.updated_at) == (chat.messages[0].created_at, chat.messages[2].created_at)
    assert [each.model for each in chat.messages] == [None, "m", None]


def test_versions_of_a_reply_stay_versions(data: Path) -> None:
    messages = [
        HELLO | {"id": "a", "parent_id": None},
        HI | {"id": "b/1", "parent_id": "a"},
        HI | {"parent_id": "a"},
    ]
    put(data, [ALICE], [{"owner": "alice", "messages": messages}])

    [chat] = opened(data).chats

    assert [each.parent_id for each in chat.messages] == [None, "a", "a"]


def test_ids_that_fit_an_address_stay_and_others_are_replaced(data: Path) -> None:
    put(
        data,
        {"a/b.c": ALICE},
        {"ok-1": TALK | {"owner": "a/b.c"}, "../x": TALK | {"owner": "alice", "title": "U"}},
    )

    after = opened(data)

    assert after.chats[0].id == "ok-1"
    assert after.chats[1].id.isalnum()
    assert after.users[0].id.isalnum()
    assert after.texts("alice") == [["Hello", "Hi!"]] * 2


# --- both files, and the rest of the folder ---------------------------------------------------------------------


def test_the_files_as_they_were_found_are_kept_for_their_owner_only(data: Path) -> None:
    put(data, [ALICE], [TALK | {"owner": "alice"}])
    left = contents(data)

    after = opened(data)

    kept = {path.name.partition("-")[0]: path for path in (data / "backups").iterdir()}
    assert {name: path.read_bytes() for name, path in kept.items()} == left
    assert {path.stat().st_mode & 0o777 for path in kept.values()} == {0o600}
    assert (data / "backups").stat().st_mode & 0o777 == 0o700
    assert all(after.noticed(f"is kept as backups/{path.name}") for path in kept.values())
    assert len(list((data / "backups").iterdir())) == 2
    assert opened(data).notices == []


def test_reading_from_outside_changes_nothing(data: Path) -> None:
    put(data, [ALICE], [TALK | {"owner": "alice"}])
    left = contents(data)

    recovered = load(Files(), Layout(data))

    assert (recovered.users.count(), len(recovered.chats.ids_of(recovered.users.all()[0].id))) == (1, 1)
    assert contents(data) == left


def test_a_message_can_be_added_to_what_was_imported(data: Path) -> None:
    put(data, [ALICE], [TALK | {"owner": "alice"}])
    with reopened(data) as store:
        [alice] = store.users.all()
        [chat] = store.chats.list(alice.id)
        store.chats.add_messages(alice.id, chat.id, [a_message("New")])

    assert opened(data).texts("alice") == [["Hello", "Hi!", "New"]]


def used_folder(folder: Path) -> dict[str, bytes]:
    """Fill a folder and stop cleanly; return its files."""
    put(folder, [ALICE])
    with reopened(folder) as store:
        store.users.update(store.users.all()[0].id, lambda user: user)
    return contents(folder)


def test_a_plain_file_may_take_the_place_of_ours_after_a_clean_stop(data: Path) -> None:
    left = used_folder(data)
    lay_out(data, left | {"chats.json": as_bytes([TALK | {"owner": "alice"}])})

    assert opened(data).texts("alice") == [["Hello", "Hi!"]]


@pytest.mark.parametrize("name", ["users.json", "chats.json"])
def test_a_plain_file_is_refused_while_the_journal_goes_on(data: Path, tmp_path: Path, name: str) -> None:
    used_folder(data)
    with reopened(data) as store:
        store.users.update(store.users.all()[0].id, lambda user: user)
        left = contents(data)
    lay_out(data, left | {name: as_bytes([ALICE | TALK | {"owner": "alice"}])})

    message = refusal(data)

    assert f"{name} is a file of a simpler layout, but the journal holds changes" in message
    assert "store repair" in message


def test_two_plain_files_are_refused_beside_a_journal(data: Path) -> None:
    left = used_folder(data)
    lay_out(data, left | {"users.json": as_bytes([ALICE]), "chats.json": b"[]"})

    assert "the journal holds changes" in refusal(data)


@pytest.mark.parametrize("name", ["users.json", "chats.json"])
def test_an_empty_plain_file_does_not_take_the_place_of_a_full_one(data: Path, name: str) -> None:
    left = used_folder(data)
    lay_out(data, left | {name: b"{}"})

    assert f"{name} is empty, but the data folder was in use" in refusal(data)


def test_chats_without_accounts_are_refused(data: Path) -> None:
    put(data, {}, [TALK | {"owner": "alice"}])
    assert "users.json is empty, but the data folder was in use" in refusal(data)

    put(data, None, [TALK | {"owner": "alice"}])
    with pytest.raises(StoreDamaged, match=r"users.json is missing, but the data folder was in use"):
        opened(data)


def test_an_imported_folder_misses_its_chats_when_they_are_gone(data: Path) -> None:
    put(data, [ALICE], [TALK | {"owner": "alice"}])
    opened(data)
    (data / "chats.json").unlink()

    with pytest.raises(StoreDamaged, match=r"chats.json is missing, but the data folder was in use"):
        opened(data)


@pytest.mark.parametrize("lasting", [False, True])
def test_an_import_that_is_cut_short_anywhere_begins_again_or_is_complete(data: Path, lasting: bool) -> None:
    users, chats = {"1": ALICE, "a/b": BOB}, {"alice": [TALK], "a/b": [TALK | {"id": 4}]}
    put(data, users, chats)
    files = FaultyFiles(syncs=False)
    open_store(data, files=files, checkpoint_after_s=math.inf).close()
    calls = files.calls
    assert len(calls) > 40

    for place in range(len(calls)):
        put(data, users, chats)
        failing = FaultyFiles(syncs=False)
        numbers = iter(range(len(calls) * 2))
        failing.fault = lambda *_, numbers=numbers, place=place: (
            error(5) if (at := next(numbers)) == place or (lasting and at > place) else None
        )
        with suppress(StorageFailed):
            open_store(data, files=failing, checkpoint_after_s=math.inf).close()

        after = opened(data)
        assert [user.username for user in after.users] == ["alice", "Bob"], calls[place]
        assert after.texts("alice") == after.texts("Bob") == [["Hello", "Hi!"]], calls[place]
        assert len({chat.id for chat in after.chats}) == 2


_OPEN_AND_MEASURE = """
import math, sys
from pathlib import Path
from chatapp.storage.json_store import open_store
def peak_kb(): return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
before_kb = peak_kb()
store = open_store(Path(sys.argv[1]), checkpoint_after_s=math.inf)
[user] = store.users.all()
print(peak_kb() - before_kb, len(store.chats.list(user.id)))
store.close()
"""


def test_one_chat_of_many_megabytes_takes_a_few_times_its_size(data: Path) -> None:
    long = {"owner": "alice", "messages": [{"role": "user", "content": "x" * 20_000}] * 1_500}
    put(data, [ALICE], [long])
    size_kb = (data / "chats.json").stat().st_size / 1000

    measured = subprocess.run(
        [sys.executable, "-c", _OPEN_AND_MEASURE, data], capture_output=True, text=True, check=True
    )
    peak_kb, chats = map(int, measured.stdout.split())

    assert chats == 1
    assert peak_kb < 5 * size_kb
