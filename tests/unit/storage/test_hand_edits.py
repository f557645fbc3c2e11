"""Our own files after somebody changed them while the server was stopped: with an editor, jq, or a script."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chatapp.errors import StoreDamaged
from chatapp.models import Chat
from chatapp.storage import keeping
from chatapp.storage.files import Files
from chatapp.storage.json_store import JsonStore
from chatapp.storage.layout import Layout
from chatapp.storage.recovery import load
from tests.memory_folder import memory_folder
from tests.records import NOON, a_chat, a_message, a_reply, a_session, a_user
from tests.unit.storage.killed import contents, lay_out, reopened

Edit = Callable[[bytes], bytes]
ALICE = "alice-id"


@pytest.fixture
def data() -> Iterator[Path]:
    """A folder with two users and three chats, left by a server that was killed: one message is only in the journal."""
    with memory_folder() as top:
        with reopened(top / "live") as store:
            store.users.add(a_user("alice", id=ALICE, sessions=(a_session("5e55"),)))
            store.users.add(a_user("bob", id="bob-id"))
            for title in "ABC":
                chat = a_chat(
                    ALICE, id=f"chat-{title}", title=title, messages=(a_message(f"in {title}", id="m1"),)
                )
                store.chats.add(chat)
            store.checkpoint()
            store.chats.add_messages(ALICE, "chat-B", [a_message("newer", id="m2")])
            left = contents(top / "live")
        lay_out(top / "data", left)
        yield top / "data"


def edit(folder: Path, name: str, change: Edit) -> bytes:
    """Change a file as somebody would, and return what it holds now."""
    before = (folder / name).read_bytes()
    after = change(before)
    assert after != before
    (folder / name).write_bytes(after)
    return after


def swap(old: str, new: str) -> Edit:
    return lambda content: content.replace(old.encode(), new.encode())


def titles(store: JsonStore) -> list[str]:
    return sorted(summary.title for summary in store.chats.list(ALICE))


def texts(store: JsonStore, chat_id: str) -> list[str]:
    return [message.content for message in store.chats.get(ALICE, chat_id).messages]


def assert_accepted(folder: Path, name: str, found: bytes, notices: list[str]) -> None:
    """Check that root is told once, that the file is kept as it was found, and that the new one is in order."""
    [kept] = [path for path in (folder / "backups").iterdir() if path.name.startswith(name)]
    assert kept.read_bytes() == found
    assert f"{name} as it was found is kept as backups/{kept.name}." in notices
    with reopened(folder) as again:
        assert again.notices == []
    assert load(Files(), Layout(folder)).remarks == []
    assert len(list((folder / "backups").iterdir())) == 1


# --- some lines -------------------------------------------------------------------------------------------------


def test_an_edited_chat_is_used_as_it_stands_now_and_told(data: Path) -> None:
    found = edit(data, "chats.json", swap('"title":"B"', '"title":"Edited: ü"'))
    place = found.index(b'"chat-B"')

    with reopened(data) as store:
        assert titles(store) == ["A", "C", "Edited: ü"]
        assert texts(store, "chat-B") == ["in B", "newer"]
        notices = list(store.notices)

    assert notices[0] == (
        f"chats.json, byte {place}: the chat chat-B was changed outside of chatapp; it is used as it stands now."
    )
    assert_accepted(data, "chats.json", found, notices)


def test_newer_changes_of_the_journal_are_made_on_top_of_an_edit_and_told(data: Path) -> None:
    with reopened(data) as store:
        store.users.update("bob-id", lambda bob: bob.model_copy(update={"disabled": True}))
        left = contents(data)
    lay_out(data, left)
    edit(data, "users.json", swap('"username":"bob"', '"username":"Robert"'))

    with reopened(data) as store:
        bob = store.users.get("bob-id")
        assert (bob.username, bob.disabled) == ("bob", True)
        assert any("made on top of what was edited" in notice for notice in store.notices)


def test_it_is_written_with_a_new_checksum_before_anything_else_happens(data: Path, tmp_path: Path) -> None:
    edit(data, "chats.json", swap('"title":"B"', '"title":"Edited"'))

    with reopened(data):
        lay_out(tmp_path / "killed", contents(data))

    with reopened(tmp_path / "killed") as after:
        assert titles(after) == ["A", "C", "Edited"]
        assert after.notices == []


def test_an_edited_account_is_used_as_it_stands_now_and_told(data: Path) -> None:
    found = edit(data, "users.json", swap('"username":"bob"', '"username":"Robert","shoe_size":44'))

    with reopened(data) as store:
        assert [user.username for user in store.users.all()] == ["alice", "Robert"]
        assert store.users.get("bob-id").model_extra == {"shoe_size": 44}
        assert len(store.users.get(ALICE).sessions) == 1
        notices = list(store.notices)

    assert "the account Robert was changed outside of chatapp" in notices[0]
    assert_accepted(data, "users.json", found, notices)


EDITS: dict[str, Edit] = {
    "spaces": swap('"title":"B","model"', '"title" : "B", "model"'),
    "no checksum": lambda content: content.replace(b'"chat-B":{"crc":"', b'"chat-B":{"was":"'),
    "other order": swap('"owner_id":"alice-id","title":"B"', '"title":"B","owner_id":"alice-id"'),
    "several lines": lambda content: content.replace(b'"title":"B",', b'"title":\n  "B",\n'),
    "no comma at the end": lambda content: content.replace(b'}]},\n"chat-C"', b'}] }\n"chat-C"'),
    "two lines": swap('"pinned":false', '"pinned":true'),
    "a time without a zone": lambda content: content.replace(b'"title":"B"', b'"title":"B","deleted_at":null').replace(
        b'"created_at":"2026-11-20T12:00:00Z","updated_at"', b'"created_at":"2026-11-20T12:00:00","updated_at"'),
    "a time as a number": lambda content: content.replace(b'"2026-11-20T12:00:00Z"', b"1795176000"),
    "extra fields": swap('"title":"B"', '"title":"B","folder":{"messages":[1]}'),
    "a tab before the line": swap('"chat-B"', '\t"chat-B"'),
}  # fmt: skip


@pytest.mark.parametrize("change", EDITS.values(), ids=EDITS)
def test_any_edit_that_leaves_valid_chats_is_accepted(data: Path, change: Edit) -> None:
    if change is EDITS["a time without a zone"]:
        edit(data, "chats.json", lambda content: content.replace(b'"deleted_at":null,', b""))
    found = edit(data, "chats.json", change)

    with reopened(data) as store:
        assert titles(store) == ["A", "B", "C"]
        assert texts(store, "chat-B") == ["in B", "newer"]
        assert all(summary.created_at.tzinfo for summary in store.chats.list(ALICE))
        notices = list(store.notices)

    assert_accepted(data, "chats.json", found, notices)
    assert not (data / "quarantine").exists()


def test_many_edited_lines_are_told_in_few(data: Path, tmp_path: Path) -> None:
    with reopened(tmp_path / "many") as store:
        store.users.add(a_user("alice", id=ALICE))
        for number in range(20):
            store.chats.add(a_chat(ALICE, title=f"{number}"))
    edit(tmp_path / "many", "chats.json", swap('"archived":false', '"archived":true'))

    with reopened(tmp_path / "many") as store:
        assert all(summary.archived for summary in store.chats.list(ALICE))
        assert len(store.notices) == 7
        assert store.notices[5] == "chats.json: 15 more entries were changed outside of chatapp."


NO_CHATS: dict[str, tuple[Edit, str]] = {
    "no JSON": (swap('"title":"B"', '"title":"B'), "the checksum does not fit"),
    "no owner": (swap('"owner_id":"alice-id","title":"B"', '"title":"B"'), "owner_id: Field required"),
    "messages no list": (swap('[{"id":"m1","parent_id":null,"role":"user","content":"in B"', '7,"x":[{"id":"m1"'),
                         "its messages are no list"),
    "a role unknown": (swap('"role":"user","content":"in B"', '"role":"bard","content":"in B"'), "role: Input should"),
    "content null": (swap('"content":"in B"', '"content":null'), "content: Input should be a valid string"),
    "a field twice": (swap('"title":"B"', '"title":"B","title":"b"'), '"title" occurs twice in one object'),
    "no time": (swap('"title":"B","model":null,"created_at":"2026-', '"title":"B","model":null,"created_at":"in 2026-'),
                "created_at: Input should be a valid datetime"),
    "a strange id": (swap('"chat-B"', '"../B"'), "its id cannot stand in an address"),
    "a null": (lambda content: content.replace(b'"in B"', b'"in \0B"'), "the checksum does not fit"),
    "half of a surrogate pair": (swap('"in B"', '"\\ud83d"'), "surrogates not allowed"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "reason"), NO_CHATS.values(), ids=NO_CHATS)
def test_an_edit_that_leaves_no_chat_is_put_aside_and_the_others_are_there(
    data: Path, change: Edit, reason: str
) -> None:
    shutil.rmtree(data / "previous")
    found = edit(data, "chats.json", change)

    with reopened(data) as store:
        assert titles(store) == ["A", "C"]
        assert any(reason in notice and "could not be read" in notice for notice in store.notices)

    kept = b"".join(path.read_bytes() for path in (data / "quarantine").iterdir())
    assert next(line for line in found.splitlines() if b'B":{' in line).rstrip(b",") in kept
    assert b'"content":"newer"' in kept


@pytest.mark.parametrize("name", ["users.json", "chats.json"])
def test_a_forgotten_comma_is_told_with_its_place(data: Path, name: str) -> None:
    last = '"role":"user"' if name == "users.json" else '"title":"B"'
    found = edit(data, name, swap(f"{last},", last))
    place = found.index(last.encode(), found.index(b'"bob"' if name == "users.json" else b'"chat-B"')) + len(
        last
    )

    try:
        with reopened(data) as store:
            told = "".join(store.notices)
    except StoreDamaged as refused:
        told = refused.message

    assert f"and it is no JSON: Expecting ',' delimiter at byte {place}" in told


def test_a_chat_given_to_nobody_is_told(data: Path) -> None:
    edit(data, "chats.json", swap('"owner_id":"alice-id","title":"B"', '"owner_id":"nobody","title":"B"'))

    with reopened(data) as store:
        assert any("Chats that belong to no account in users.json: 1." in notice for notice in store.notices)


def test_two_messages_of_one_id_are_no_chat(data: Path) -> None:
    shutil.rmtree(data / "previous")
    line = b'{"id":"m1","parent_id":null,"role":"user","content":"in B"'
    edit(data, "chats.json", lambda content: content.replace(
        line, b'{"id":"m1","role":"user","created_at":"2026-11-20T12:00:00Z"},' + line))  # fmt: skip

    with reopened(data) as store:
        assert titles(store) == ["A", "C"]
        assert any("two of its messages have the same id" in notice for notice in store.notices)


NO_USERS: dict[str, tuple[Edit, str]] = {
    "no JSON": (swap('"username":"bob"', '"username":"bob'), "the checksum does not fit"),
    "a role unknown": (swap('"role":"user"', '"role":"boss"'), "no user any more (role: Input should be"),
    "no password": (swap('"role":"user","password_hash":"scrypt:x"', '"role":"user"'), "Field required"),
}  # fmt: skip


def refusal_after(folder: Path, change: Edit) -> str:
    """Edit users.json, check that it is refused and left alone, and return the sentence."""
    edit(folder, "users.json", change)
    left = contents(folder)
    with pytest.raises(StoreDamaged) as refused, reopened(folder):
        pass
    assert contents(folder) == left
    return refused.value.message


TWICE = {
    "the name of another": (
        swap('"username":"bob"', '"username":"ALICE"'),
        "two accounts have the name ALICE",
    ),
    "the id of another": (swap('"id":"bob-id"', '"id":"alice-id"'), "has the id of another one"),
}


@pytest.mark.parametrize(("change", "reason"), TWICE.values(), ids=TWICE)
def test_accounts_that_cannot_be_told_apart_are_no_damage_and_left_alone(
    data: Path, change: Edit, reason: str
) -> None:
    refusal = refusal_after(data, change)

    assert "users.json cannot be used: " in refusal
    assert reason in refusal
    assert "damaged" not in refusal
    assert refusal.endswith("or run `.venv/bin/flask store repair`.")


@pytest.mark.parametrize(("change", "reason"), NO_USERS.values(), ids=NO_USERS)
def test_an_edit_that_leaves_no_account_is_refused_and_left_alone(
    data: Path, change: Edit, reason: str
) -> None:
    refusal = refusal_after(data, change)

    assert reason in refusal
    assert "users.json is damaged at byte" in refusal
    assert refusal.endswith("or run `.venv/bin/flask store repair`.")


def test_a_line_that_was_taken_out_is_told_with_both_numbers(data: Path) -> None:
    found = edit(data, "chats.json", without_line(b'"chat-C"'))

    with reopened(data) as store:
        assert titles(store) == ["A", "B"]
        notices = list(store.notices)

    assert notices[0].startswith("chats.json should hold 3 chats and holds 2: lines were added or taken out")
    assert_accepted(data, "chats.json", found, notices)


def test_newer_messages_of_a_line_that_was_taken_out_are_kept(data: Path) -> None:
    edit(data, "chats.json", without_line(b'"chat-B"'))

    with reopened(data) as store:
        assert titles(store) == ["A", "C"]
        assert any("Newer messages of chats that are not in chats.json" in notice for notice in store.notices)

    assert b'"content":"newer"' in b"".join(path.read_bytes() for path in (data / "quarantine").iterdir())


def without_line(start: bytes) -> Edit:
    def change(content: bytes) -> bytes:
        lines = content.splitlines(keepends=True)
        return b"".join(line for line in lines if not line.startswith(start))

    return change


def test_a_line_that_was_added_is_told_with_both_numbers(data: Path) -> None:
    line = (
        b'"chat-D":{"owner_id":"alice-id","title":"D","created_at":"2026-01-01","updated_at":"2026-01-01"},\n'
    )
    found = edit(data, "chats.json", lambda content: content.replace(b'"chat-A"', line + b'"chat-A"'))

    with reopened(data) as store:
        assert titles(store) == ["A", "B", "C", "D"]
        notices = list(store.notices)

    assert any("should hold 3 chats and holds 4" in notice for notice in notices)
    assert_accepted(data, "chats.json", found, notices)


def test_a_line_that_occurs_twice_is_put_aside_once(data: Path) -> None:
    line = next(
        each for each in (data / "chats.json").read_bytes().splitlines() if each.startswith(b'"chat-A"')
    )
    edit(data, "chats.json", lambda content: content.replace(b'"chat-B"', line + b'\n"chat-B"'))

    with reopened(data) as store:
        assert titles(store) == ["A", "B", "C"]
        assert any("occurs twice" in notice for notice in store.notices)


def test_an_account_that_was_taken_out_leaves_chats_that_are_counted(data: Path) -> None:
    edit(data, "users.json", without_line(b'"alice"'))

    with reopened(data) as store:
        assert [user.username for user in store.users.all()] == ["bob"]
        assert any("users.json should hold 2 users and holds 1" in notice for notice in store.notices)
        assert any("belong to no account in users.json: 3." in notice for notice in store.notices)
        assert any("No account has the role root" in notice for notice in store.notices)

    assert (data / "chats.json").read_bytes().count(b'"owner_id":"alice-id"') == 3


def test_users_without_any_root_are_told_at_every_start(data: Path) -> None:
    edit(data, "users.json", swap('"role":"root"', '"role":"user"'))

    for _ in range(2):
        with reopened(data) as store:
            assert [user.role for user in store.users.all()] == ["user", "user"]
            assert any("`.venv/bin/flask user set-role NAME root`" in notice for notice in store.notices)


def test_a_reply_that_was_being_written_is_found_in_an_edited_chat(data: Path) -> None:
    with reopened(data) as store:
        store.chats.add_messages(ALICE, "chat-B", [a_reply("Half")])
    edit(data, "chats.json", swap('"title":"B"', '"title":"Edited"'))

    with reopened(data) as store:
        assert store.chats.interrupt_streaming() == 1


# --- the whole file ---------------------------------------------------------------------------------------------


def rewritten(**options: Any) -> Edit:
    return lambda content: json.dumps(json.loads(content), **options).encode()


REWRITES: dict[str, Edit] = {
    "jq .": rewritten(indent=2, ensure_ascii=False),
    "json.dump": rewritten(),
    "sorted": rewritten(sort_keys=True),
    "one line": rewritten(separators=(",", ":")),
    "CRLF": lambda content: content.replace(b"\n", b"\r\n"),
    "BOM": lambda content: b"\xef\xbb\xbf" + content,
    "UTF-16": lambda content: content.decode().encode("utf-16"),
    "no newline at the end": lambda content: content.removesuffix(b"\n"),
    "more newlines": lambda content: content + b"\n\n",
    "a newline at the beginning": lambda content: b"\n" + content,
    "a blank before the end": lambda content: content.replace(b"\n}}", b"\n }}"),
}


@pytest.mark.parametrize("name", ["users.json", "chats.json"])
@pytest.mark.parametrize("change", REWRITES.values(), ids=REWRITES)
def test_a_file_that_was_rewritten_by_another_program_is_used(data: Path, name: str, change: Edit) -> None:
    with reopened(data) as store:
        before = (store.users.all(), chats_of(store))
    found = edit(data, name, change)

    with reopened(data) as store:
        assert (store.users.all(), chats_of(store)) == before
        notices = list(store.notices)

    assert notices[0] == f"{name} was rewritten by another program; it is used as it stands now."
    assert_accepted(data, name, found, notices)


def chats_of(store: JsonStore) -> list[Chat]:
    return [store.chats.get(ALICE, summary.id) for summary in store.chats.list(ALICE)]


@pytest.mark.parametrize("name", ["users.json", "chats.json"])
def test_the_journal_goes_on_behind_a_rewritten_file(data: Path, name: str) -> None:
    edit(data, name, rewritten(indent=1))

    with reopened(data) as store:
        assert texts(store, "chat-B") == ["in B", "newer"]


@pytest.mark.parametrize("member", ["seq", "gen", "count", "crc"])
def test_a_file_whose_numbers_were_changed_is_refused(data: Path, member: str) -> None:
    def change(content: bytes) -> bytes:
        document = json.loads(content)
        document[member] = "00000000" if member == "crc" else document[member] + 1
        return json.dumps(document).encode()

    edit(data, "chats.json", change)
    left = contents(data)

    with pytest.raises(StoreDamaged, match="the checksum of its first line does not fit"), reopened(data):
        pass
    assert contents(data) == left


@pytest.mark.parametrize("kept", ["seq", "chats"])
def test_a_rewritten_file_that_lacks_something_is_refused(data: Path, kept: str) -> None:
    edit(data, "chats.json", lambda content: json.dumps(
        {name: value for name, value in json.loads(content).items() if name != kept}).encode())  # fmt: skip

    with pytest.raises(StoreDamaged, match=r"are missing|it holds no object of chats"), reopened(data):
        pass


def test_an_entry_of_a_rewritten_file_that_is_no_chat_is_put_aside(data: Path) -> None:
    edit(data, "chats.json", swap('"content":"in C"', '"content":null'))
    edit(data, "chats.json", rewritten(indent=2))

    with reopened(data) as store:
        assert titles(store) == ["A", "B"]
        [notice] = [each for each in store.notices if "could not be used: chat-C: content" in each]

    [kept] = (data / "quarantine").iterdir()
    assert kept.name in notice
    assert json.loads(kept.read_bytes())[0]["entry"] == "chat-C"


def test_an_entry_of_a_rewritten_file_that_is_no_user_is_refused(data: Path) -> None:
    edit(data, "users.json", swap('"role":"user"', '"role":"boss"'))
    edit(data, "users.json", rewritten(indent=2))

    with pytest.raises(StoreDamaged, match=r"its entry bob is no user \(role"), reopened(data):
        pass


def test_a_rewritten_file_in_which_an_entry_occurs_twice_is_refused(data: Path) -> None:
    edit(data, "chats.json", swap('"chat-B"', '"chat-A"'))
    edit(data, "chats.json", lambda content: content.replace(b"\n", b"\r\n"))

    with pytest.raises(StoreDamaged, match='"chat-A" occurs twice in one object'), reopened(data):
        pass


def test_originals_are_kept_side_by_side_when_the_clock_stands_still(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "now_utc", lambda: NOON)
    found = []
    for title in ("once", "twice"):
        old = titles_by_id(data)["chat-B"]
        found.append(edit(data, "chats.json", swap(f'"title":"{old}"', f'"title":"{title}"')))
        with reopened(data) as store:
            assert title in titles(store)

    assert sorted(path.read_bytes() for path in (data / "backups").iterdir()) == sorted(found)


def titles_by_id(folder: Path) -> dict[str, str]:
    chats = json.loads((folder / "chats.json").read_bytes())["chats"]
    return {chat_id: chat["title"] for chat_id, chat in chats.items()}
