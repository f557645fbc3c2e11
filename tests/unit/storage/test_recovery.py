"""Opening a folder: the first start, after a kill, and with a torn end."""

from __future__ import annotations

import errno
import json
import math
import re
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from chatapp.errors import StorageFailed, StoreDamaged
from chatapp.storage.files import Files
from chatapp.storage.json_store import open_store
from chatapp.storage.layout import Layout
from chatapp.storage.lines import Head, encode_head, encode_record
from chatapp.storage.recovery import load
from tests.fakes.files import FaultyFiles, error
from tests.records import NOON, a_chat, a_message, a_reply, a_session, a_user, minutes_after_noon
from tests.unit.storage.conftest import Opener
from tests.unit.storage.killed import (
    contents,
    lay_out,
    loaded_texts,
    reopened,
    reports_something,
    stored_texts,
    write_some,
)
from tests.unit.storage.stops import Killed, stopped_at_every_call

# --- the first start -------------------------------------------------------------------------------------------


def test_a_new_folder_gets_valid_empty_files_for_its_owner_only(folder: Path, open_folder: Opener) -> None:
    open_folder()

    assert json.loads((folder / "users.json").read_bytes())["users"] == {}
    assert json.loads((folder / "chats.json").read_bytes())["chats"] == {}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()} == {0o600}


def test_a_folder_that_others_may_read_is_closed_to_them(folder: Path, open_folder: Opener) -> None:
    folder.mkdir(mode=0o755)

    open_folder()

    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("reached", range(5))
def test_an_interrupted_first_start_is_finished(folder: Path, open_folder: Opener, reached: int) -> None:
    open_folder().close()
    whole = contents(folder)
    steps = ["journal/000000001.jsonl", "users.json.tmp", "users.json", "chats.json"]
    whole["users.json.tmp"] = whole["users.json"][:20]
    lay_out(folder, {name: whole[name] for name in steps[:reached]})

    write_some(open_folder(), "hello")

    assert (folder / "chats.json").exists()


def test_a_folder_that_is_a_file_is_refused_in_one_line(folder: Path, open_folder: Opener) -> None:
    folder.write_text("not a folder")

    with pytest.raises(StorageFailed, match=r"cannot be used: .*Check that it is a folder"):
        open_folder()


def test_a_data_file_that_is_a_folder_is_refused_in_one_line(folder: Path, open_folder: Opener) -> None:
    open_folder().close()
    (folder / "chats.json").unlink()
    (folder / "chats.json").mkdir()

    with pytest.raises(StorageFailed, match=r"cannot be used: Is a directory"):
        open_folder()


# --- after a kill ----------------------------------------------------------------------------------------------


def test_everything_is_there_after_a_clean_end(folder: Path, open_folder: Opener) -> None:
    store = open_folder()
    write_some(store, "one", "two")
    store.close()

    assert stored_texts(open_folder()) == ["one", "two"]


def test_everything_is_there_after_a_kill(folder: Path, open_folder: Opener, tmp_path: Path) -> None:
    store = open_folder()
    write_some(store, "one")
    store.checkpoint()
    write_some(store, "two")
    lay_out(tmp_path / "left", contents(folder))

    with reopened(tmp_path / "left") as after:
        assert stored_texts(after) == ["one", "two"]
        assert after.users.all() == store.users.all()
        assert after.notices == []


def test_writing_goes_on_after_a_kill(folder: Path, open_folder: Opener, tmp_path: Path) -> None:
    write_some(open_folder(), "one")
    lay_out(tmp_path / "left", contents(folder))
    with reopened(tmp_path / "left") as after:
        write_some(after, "two")

    with reopened(tmp_path / "left") as again:
        assert stored_texts(again) == ["one", "two"]


def test_a_reply_that_was_being_written_is_interrupted_with_its_text(
    folder: Path, open_folder: Opener, tmp_path: Path
) -> None:
    store = open_folder()
    write_some(store, "question")
    [alice] = store.users.all()
    [chat] = store.chats.list(alice.id)
    reply = a_reply()
    store.chats.add_messages(alice.id, chat.id, [reply])
    store.checkpoint()
    store.chats.append_part(alice.id, chat.id, reply.id, 0, "Half an ")
    store.chats.append_part(alice.id, chat.id, reply.id, 8, "answer")
    store._parts.flush()
    lay_out(tmp_path / "left", contents(folder))

    with reopened(tmp_path / "left") as after:
        interrupted = after.chats.interrupt_streaming()
        message = after.chats.get(alice.id, chat.id).message(reply.id)
        lay_out(tmp_path / "left again", contents(tmp_path / "left"))

    assert message is not None
    assert (interrupted, message.status, message.content) == (1, "interrupted", "Half an answer")
    with reopened(tmp_path / "left again") as after:
        assert after.chats.get(alice.id, chat.id).message(reply.id) == message


def test_a_streaming_reply_is_found_in_a_file_that_was_never_parsed(
    folder: Path, open_folder: Opener
) -> None:
    store = open_folder()
    write_some(store, "question")
    [alice] = store.users.all()
    [chat] = store.chats.list(alice.id)
    store.chats.add_messages(alice.id, chat.id, [a_reply("Half")])
    store.close()

    assert open_folder().chats.interrupt_streaming() == 1


def test_a_deleted_chat_is_found_in_a_file_that_was_never_parsed(folder: Path, open_folder: Opener) -> None:
    store = open_folder()
    write_some(store, '"deleted_at":null')
    [alice] = store.users.all()
    deleted = store.chats.add(
        a_chat(alice.id, deleted_at=NOON, messages=(a_message("x", notes={"deleted_at": None}),))
    )
    store.close()

    assert [each.id for each in open_folder().chats.deleted()] == [deleted.id]


@pytest.mark.parametrize("older", ["users.json", "chats.json"])
def test_one_file_from_before_the_last_checkpoint_is_brought_up_to_date(
    folder: Path, open_folder: Opener, tmp_path: Path, older: str
) -> None:
    store = open_folder()
    write_some(store, "one")
    store.checkpoint()
    before = contents(folder)
    write_some(store, "two")
    store.users.add(a_user("bob"))
    store.checkpoint()
    write_some(store, "three")
    lay_out(tmp_path / "left", contents(folder) | {older: before[older]})

    with reopened(tmp_path / "left") as after:
        assert stored_texts(after) == ["one", "two", "three"]
        assert [user.username for user in after.users.all()] == ["alice", "bob"]


def test_a_users_file_newer_than_chats_json_keeps_its_last_uses(
    folder: Path, open_folder: Opener, tmp_path: Path
) -> None:
    store = open_folder()
    before = contents(folder)
    alice = store.users.add(a_user("alice", sessions=(a_session("one"),)))
    store.users.touch_session(alice.id, "one", minutes_after_noon(3))
    store.checkpoint()
    lay_out(tmp_path / "left", contents(folder) | {"chats.json": before["chats.json"]})

    with reopened(tmp_path / "left") as after:
        assert after.users.get(alice.id).sessions[0].last_used_at == minutes_after_noon(3)


@pytest.mark.parametrize("is_in_files", [True, False])
def test_a_message_sent_again_after_a_kill_is_not_added_again(
    folder: Path, open_folder: Opener, tmp_path: Path, is_in_files: bool
) -> None:
    store = open_folder()
    alice = store.users.add(a_user("alice"))
    message = a_message("one")
    chat = store.chats.add(a_chat(alice.id, messages=(message,)))
    if is_in_files:
        store.checkpoint()
    lay_out(tmp_path / "killed", contents(folder))

    with reopened(tmp_path / "killed") as after:
        again = message.model_copy(update={"content": "another text"})
        assert after.chats.add_messages(alice.id, chat.id, [again]) == [message]
        assert stored_texts(after) == ["one"]


def test_fields_of_a_later_version_survive_in_the_files(folder: Path, open_folder: Opener) -> None:
    with reopened(folder) as store:
        alice = store.users.add(a_user("alice", colour="blue"))
        chat = store.chats.add(a_chat(alice.id, folder="holiday", messages=(a_message("one", stars=5),)))

    with reopened(folder) as after:
        assert after.users.get(alice.id) == alice
        assert after.chats.get(alice.id, chat.id) == chat
        assert (chat.model_extra, chat.messages[0].model_extra) == ({"folder": "holiday"}, {"stars": 5})


# --- a torn end ------------------------------------------------------------------------------------------------


def test_a_journal_cut_at_any_byte_gives_a_whole_beginning(
    folder: Path, open_folder: Opener, tmp_path: Path
) -> None:
    write_some(open_folder(), "one", "two", "three")
    left = contents(folder)
    journal = left["journal/000000001.jsonl"]
    lines_end_at = [match.start() for match in re.finditer(rb"\n", journal)]
    lay_out(tmp_path / "cut", left)

    for length in range(len(journal)):
        (tmp_path / "cut/journal/000000001.jsonl").write_bytes(journal[:length])
        recovered = load(Files(), Layout(tmp_path / "cut"))

        whole_records = sum(1 for end in lines_end_at if end <= length)
        assert loaded_texts(recovered) == ["one", "two", "three"][: max(0, whole_records - 2)]
        assert reports_something(recovered) == (
            length not in {0, *lines_end_at, *(end + 1 for end in lines_end_at)}
        )


def test_what_is_cut_off_is_kept_and_reported(folder: Path, open_folder: Opener, tmp_path: Path) -> None:
    write_some(open_folder(), "one", "two")
    left = contents(folder)
    torn = left["journal/000000001.jsonl"][:-10]
    lay_out(tmp_path / "cut", left | {"journal/000000001.jsonl": torn})

    with reopened(tmp_path / "cut") as after:
        [notice] = after.notices
        write_some(after, "three")

    [kept] = (tmp_path / "cut" / "quarantine").iterdir()
    assert torn.endswith(kept.read_bytes())
    assert kept.name in notice
    with reopened(tmp_path / "cut") as again:
        assert stored_texts(again) == ["one", "three"]
        assert again.notices == []


def test_a_kill_right_after_a_torn_end_was_cut_loses_nothing_and_tells_it_no_second_time(
    folder: Path, open_folder: Opener, tmp_path: Path
) -> None:
    store = open_folder()
    write_some(store, "one", "two")
    left = contents(folder)
    store.close()
    lay_out(folder, left | {"journal/000000001.jsonl": left["journal/000000001.jsonl"][:-10]})
    store = open_folder()
    lay_out(tmp_path / "killed at once", contents(folder))
    write_some(store, "three")
    lay_out(tmp_path / "killed later", contents(folder))

    for name, texts in {"killed at once": ["one"], "killed later": ["one", "three"]}.items():
        with reopened(tmp_path / name) as after:
            assert stored_texts(after) == texts
            assert after.notices == []


def test_a_torn_end_is_kept_before_it_is_cut(folder: Path, open_folder: Opener) -> None:
    store = open_folder()
    write_some(store, "one", "two")
    left = contents(folder)
    store.close()
    left["journal/000000001.jsonl"] = left["journal/000000001.jsonl"][:-10]
    torn = left["journal/000000001.jsonl"].rpartition(b"\n")[2]

    for files in stopped_at_every_call(Killed):
        lay_out(folder, left)
        with suppress(Killed):
            open_store(folder, files=files, checkpoint_after_s=math.inf).close()
        assert any(torn in content for content in contents(folder).values())


def test_a_torn_group_that_was_never_acknowledged_is_cut(
    folder: Path, open_folder: Opener, tmp_path: Path
) -> None:
    write_some(open_folder(), "one")
    left = contents(folder)
    record = left["journal/000000001.jsonl"].splitlines()[-1]
    members = record[record.index(b'"op"') : record.rindex(b',"crc"')]
    second_of_a_group = encode_record(5, 4, "2026-11-20T12:00:00.000Z", members)
    torn = left["journal/000000001.jsonl"] + b"\0" * len(second_of_a_group) + second_of_a_group
    lay_out(tmp_path / "cut", left | {"journal/000000001.jsonl": torn})

    with reopened(tmp_path / "cut") as after:
        assert stored_texts(after) == ["one"]
        assert len(after.notices) == 1


def test_a_group_that_was_refused_does_not_come_back_between_the_two_files(
    folder: Path, open_folder: Opener, files: FaultyFiles, tmp_path: Path
) -> None:
    """Its bytes are in the journal, and a kill comes when only users.json was replaced by the rescue."""
    store = open_folder(files)
    write_some(store, "one")
    seen = threading.Event()

    def fault(call: str, name: str) -> OSError | None:
        if (call, name) == ("rename", "chats.json.tmp") and not seen.is_set():
            lay_out(tmp_path / "left", contents(folder))
            seen.set()
        return error(errno.EIO) if call == "sync" and name == "000000001.jsonl" else None

    files.fault = fault
    with pytest.raises(StorageFailed):
        write_some(store, "refused")
    assert seen.wait(10)

    with reopened(tmp_path / "left") as after:
        assert stored_texts(after) == ["one"]
        write_some(after, "two")
        before = contents(tmp_path / "left")
        after.checkpoint()
        new = contents(tmp_path / "left")
    lay_out(tmp_path / "cut", new | {"users.json": before["users.json"]})
    with reopened(tmp_path / "cut") as again:
        assert stored_texts(again) == ["one", "two"]


def test_a_users_file_of_another_time_beside_the_journal_is_refused(
    folder: Path, open_folder: Opener, tmp_path: Path
) -> None:
    """It says that the first journal file ended long before the messages that are in it."""
    write_some(open_folder(), "one", "two")
    foreign = encode_head(Head("users", seq=1, gen=2, count=0)) + b"\n}}\n"
    lay_out(tmp_path / "mixed", contents(folder) | {"users.json": foreign, "journal/000000002.jsonl": b""})

    with pytest.raises(StoreDamaged, match="of different times"), reopened(tmp_path / "mixed"):
        pass
