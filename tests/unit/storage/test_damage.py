"""Opening a folder with real damage: a bad block, a lost file, an impatient hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from chatapp.errors import StoreDamaged
from chatapp.storage.files import Files
from chatapp.storage.json_store import JsonStore
from chatapp.storage.layout import Layout
from chatapp.storage.recovery import load
from tests.records import a_chat, a_message, a_user
from tests.unit.storage.conftest import Opener
from tests.unit.storage.killed import (
    contents,
    lay_out,
    reopened,
    stored_texts,
    write_some,
)


def test_a_damaged_record_before_the_last_group_is_refused(folder: Path, open_folder: Opener) -> None:
    store = open_folder()
    write_some(store, "one", "two", "three")
    left = contents(folder)
    store.close()
    journal = left["journal/000000001.jsonl"]
    damaged = journal.replace(b'"content":"two"', b'"content":"twO"')
    lay_out(folder, left | {"journal/000000001.jsonl": damaged})

    place = damaged.index(b'{"n":4')
    with pytest.raises(StoreDamaged, match=f"000000001.jsonl is damaged at byte {place}: the checksum"):
        open_folder()

    assert contents(folder) == left | {"journal/000000001.jsonl": damaged}


def test_a_record_merged_with_the_next_by_a_damaged_newline_is_refused(
    folder: Path, open_folder: Opener
) -> None:
    store = open_folder()
    write_some(store, "one", "two")
    left = contents(folder)
    store.close()
    lines = left["journal/000000001.jsonl"].split(b"\n")
    lay_out(
        folder, left | {"journal/000000001.jsonl": b"\n".join(lines[:2]) + b"\x0b" + b"\n".join(lines[2:])}
    )

    with pytest.raises(StoreDamaged, match="is damaged at byte"):
        open_folder()


def test_a_removed_record_is_refused(folder: Path, open_folder: Opener) -> None:
    store = open_folder()
    write_some(store, "one", "two")
    left = contents(folder)
    store.close()
    lines = left["journal/000000001.jsonl"].split(b"\n")
    lay_out(folder, left | {"journal/000000001.jsonl": b"\n".join(lines[:2] + lines[3:])})

    with pytest.raises(StoreDamaged, match="record 3 is missing"):
        open_folder()


def test_records_that_occur_twice_are_refused(folder: Path, open_folder: Opener) -> None:
    store = open_folder()
    write_some(store, "one", "two")
    left = contents(folder)
    store.close()
    twice = left | {"journal/000000002.jsonl": left["journal/000000001.jsonl"]}
    lay_out(folder, twice)

    with pytest.raises(StoreDamaged, match=r"000000001.jsonl is damaged at byte 0: .* of different times"):
        open_folder()

    assert contents(folder) == twice


def test_a_missing_journal_file_is_refused_with_the_cure(folder: Path, open_folder: Opener) -> None:
    open_folder().close()
    left = contents(folder)
    lay_out(folder, {name: content for name, content in left.items() if not name.startswith("journal/")})

    with pytest.raises(
        StoreDamaged, match=r"journal/000000001.jsonl is missing.*run `.venv/bin/flask store repair`"
    ):
        open_folder()


def test_a_missing_journal_file_between_others_is_named(folder: Path, open_folder: Opener) -> None:
    for text in ("one", "two", "three"):
        store = open_folder()
        write_some(store, text)
        left = contents(folder)
        store.close()
        lay_out(folder, left)
    (folder / "journal/000000002.jsonl").unlink()
    left = contents(folder)

    with pytest.raises(StoreDamaged, match=r"journal/000000002.jsonl is missing"):
        open_folder()

    assert contents(folder) == left


@pytest.mark.parametrize("name", ["users.json", "chats.json"])
def test_a_data_file_beside_an_older_journal_is_refused(folder: Path, open_folder: Opener, name: str) -> None:
    with reopened(folder) as store:
        write_some(store, "one")
    older = contents(folder)
    with reopened(folder) as store:
        write_some(store, "two")
    mixed = older | {name: contents(folder)[name]}
    lay_out(folder, mixed)

    with pytest.raises(StoreDamaged, match=f"{name} is damaged at byte 0: it is newer than the journal"):
        open_folder()

    assert contents(folder) == mixed


@pytest.mark.parametrize("name", ["users.json", "chats.json"])
def test_a_missing_data_file_is_refused(folder: Path, open_folder: Opener, name: str) -> None:
    store = open_folder()
    write_some(store, "one")
    store.close()
    (folder / name).unlink()
    left = contents(folder)

    with pytest.raises(StoreDamaged, match=f"{name} is missing, but the data folder was in use"):
        open_folder()

    assert contents(folder) == left


@pytest.mark.parametrize("name", ["users.json", "chats.json"])
def test_a_data_file_cut_at_any_byte_is_refused_and_left_alone(
    folder: Path, open_folder: Opener, name: str
) -> None:
    store = open_folder()
    write_some(store, "one")
    store.close()
    left = contents(folder)

    only_its_last_newline_is_gone = len(left[name]) - 1
    for length in range(only_its_last_newline_is_gone):
        (folder / name).write_bytes(left[name][:length])
        with pytest.raises(StoreDamaged, match=f"{name} is damaged at byte"):
            load(Files(), Layout(folder))

    with pytest.raises(StoreDamaged, match=r"run `.venv/bin/flask store repair`"):
        open_folder()
    assert contents(folder) == left | {name: left[name][:-2]}


@pytest.mark.parametrize("content", [b"\0" * 200, b"hello\n", b"", b"null", b"{", b"\x80\x04}"])
def test_what_is_no_data_file_is_refused_and_left_alone(
    folder: Path, open_folder: Opener, content: bytes
) -> None:
    open_folder().close()
    (folder / "chats.json").write_bytes(content)

    with pytest.raises(StoreDamaged, match=r"chats.json is damaged at byte \d+: .*Nothing was changed"):
        open_folder()

    assert (folder / "chats.json").read_bytes() == content


def test_a_damaged_user_is_refused_with_the_place(folder: Path, open_folder: Opener) -> None:
    store = open_folder()
    write_some(store, "one")
    store.close()
    content = (folder / "users.json").read_bytes()
    (folder / "users.json").write_bytes(content.replace(b'"role":"root"', b'"role":"roor"'))

    place = content.index(b'"alice"')
    with pytest.raises(StoreDamaged, match=f"users.json is damaged at byte {place}"):
        open_folder()


def test_a_damaged_chat_is_put_aside_and_the_others_are_served(folder: Path, open_folder: Opener) -> None:
    store = open_folder()
    alice = store.users.add(a_user("alice"))
    chats = [store.chats.add(a_chat(alice.id, title=title, messages=(a_message(title),))) for title in "abc"]
    store.close()
    shutil.rmtree(folder / "previous")
    content = (folder / "chats.json").read_bytes()
    (folder / "chats.json").write_bytes(content.replace(b'"content":"b"', b'"content":"B'))

    after = open_folder()

    assert sorted(summary.title for summary in after.chats.list(alice.id)) == ["a", "c"]
    [notice] = after.notices
    [kept] = (folder / "quarantine").iterdir()
    assert kept.name in notice
    assert chats[1].id.encode() in kept.read_bytes()
    assert b'"content":"B' in kept.read_bytes()


def test_a_chat_that_is_damaged_while_the_server_runs_is_never_shown_as_an_empty_one(
    folder: Path, open_folder: Opener
) -> None:
    with reopened(folder) as store:
        write_some(store, "one")
    store = open_folder()
    [alice] = store.users.all()
    [chat] = store.chats.list(alice.id)
    with (folder / "chats.json").open("r+b") as file:
        place = file.read().index(b'"content":"one"')
        file.seek(place)
        file.write(b'"content":"onE"')

    with pytest.raises(StoreDamaged, match="this line changed on the disk"):
        store.chats.get(alice.id, chat.id)


def test_newer_messages_of_a_damaged_chat_are_put_aside_too(
    folder: Path, open_folder: Opener, tmp_path: Path
) -> None:
    store = open_folder()
    write_some(store, "old")
    store.checkpoint()
    write_some(store, "acknowledged later")
    left = contents(folder)
    lay_out(tmp_path / "left", left | {"chats.json": left["chats.json"].replace(b'"old"', b'"0ld')})
    shutil.rmtree(tmp_path / "left" / "previous")

    with reopened(tmp_path / "left") as after:
        assert stored_texts(after) == []
        assert len(after.notices) == 2

    kept = b"".join(path.read_bytes() for path in (tmp_path / "left" / "quarantine").iterdir())
    assert b'"0ld' in kept
    assert b'"acknowledged later"' in kept


def two_chats(store: JsonStore) -> dict[str, list[str]]:
    """Change two chats between, before and after two checkpoints; return what they hold then."""
    alice = store.users.add(a_user("alice"))
    first = store.chats.add(a_chat(alice.id, title="first", messages=(a_message("old"),)))
    store.checkpoint()
    second = store.chats.add(a_chat(alice.id, title="second", messages=(a_message("newer"),)))
    store.chats.add_messages(alice.id, first.id, [a_message("between")])
    store.checkpoint()
    store.chats.add_messages(alice.id, second.id, [a_message("newest")])
    return {"first": ["old", "between"], "second": ["newer", "newest"]}


def by_title(store: JsonStore) -> dict[str, list[str]]:
    [alice] = store.users.all()
    chats = [store.chats.get(alice.id, summary.id) for summary in store.chats.list(alice.id)]
    return {chat.title: [message.content for message in chat.messages] for chat in chats}


def test_damaged_chats_come_back_from_the_file_before_and_the_journal(
    folder: Path, open_folder: Opener, tmp_path: Path
) -> None:
    store = open_folder()
    whole = two_chats(store)
    left = contents(folder)
    damaged = left["chats.json"].replace(b'"old"', b'"0ld').replace(b'"newer"', b'"newer')
    lay_out(tmp_path / "left", left | {"chats.json": damaged})

    with reopened(tmp_path / "left") as after:
        assert by_title(after) == whole
        assert any("Chats that were missing in chats.json: 2." in notice for notice in after.notices)
        assert not any("Newer messages" in notice for notice in after.notices)
        kept = b"".join(path.read_bytes() for path in (tmp_path / "left" / "quarantine").iterdir())
        assert b'"0ld' in kept
        lay_out(tmp_path / "killed", contents(tmp_path / "left"))

    with reopened(tmp_path / "killed") as again:
        assert by_title(again) == whole
    with reopened(tmp_path / "left") as later:
        assert by_title(later) == whole
        assert later.notices == []


def test_a_chat_that_came_back_is_in_the_file_after_the_stop(folder: Path, open_folder: Opener) -> None:
    store = open_folder()
    whole = two_chats(store)
    store.close()
    damaged = (folder / "chats.json").read_bytes().replace(b'"old"', b'"0ld')
    (folder / "chats.json").write_bytes(damaged)
    open_folder().close()

    after = open_folder()

    assert by_title(after) == whole
    assert after.notices == []


def test_a_damaged_chat_does_not_come_back_from_a_journal_that_lacks_something(
    folder: Path, open_folder: Opener, tmp_path: Path
) -> None:
    two_chats(open_folder())
    left = contents(folder)
    lay_out(tmp_path / "left", left | {"chats.json": left["chats.json"].replace(b'"old"', b'"0ld')})
    before = json.loads(left["previous/chats.json"])["gen"]
    (tmp_path / "left" / "journal" / f"{before:09d}.jsonl").unlink()

    with reopened(tmp_path / "left") as after:
        assert by_title(after) == {"second": ["newer", "newest"]}


def test_a_damaged_chat_is_put_aside_once(folder: Path, open_folder: Opener, tmp_path: Path) -> None:
    store = open_folder()
    write_some(store, "old")
    store.close()
    left = contents(folder)
    broken = left | {"chats.json": left["chats.json"].replace(b'"old"', b'"0ld')}
    lay_out(tmp_path / "left", broken)

    for _ in range(2):
        with reopened(tmp_path / "left"):
            kept = list((tmp_path / "left" / "quarantine").iterdir())

    assert len(kept) == 1


def test_two_chats_merged_by_a_damaged_newline_are_both_served(folder: Path, open_folder: Opener) -> None:
    store = open_folder()
    alice = store.users.add(a_user("alice"))
    for title in "abc":
        store.chats.add(a_chat(alice.id, title=title))
    store.close()
    lines = (folder / "chats.json").read_bytes().split(b"\n")
    (folder / "chats.json").write_bytes(b"\n".join(lines[:2]) + b"\x0b" + b"\n".join(lines[2:]))

    with reopened(folder) as after:
        after.chats.add(a_chat(alice.id, title="d"))
        after.checkpoint()

    json.loads((folder / "chats.json").read_bytes())
    assert sorted(each.title for each in open_folder().chats.list(alice.id)) == ["a", "b", "c", "d"]
