"""Bringing users.json and chats.json up to date, while everything else goes on."""

from __future__ import annotations

import errno
import inspect
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatapp.errors import StorageFailed, StorageFull
from chatapp.storage import upkeep
from chatapp.storage.json_store import JsonStore, open_store
from tests.fakes.files import FaultyFiles, disk_full, error, no_fault
from tests.records import a_chat, a_message, a_reply, a_session, a_user, minutes_after_noon
from tests.unit.storage.conftest import Opener
from tests.unit.storage.killed import contents, lay_out, reopened, stored_texts


def document(path: Path) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(path.read_bytes())
    return parsed


def wait_until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(1000):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("it did not come about within ten seconds")


@pytest.fixture
def store(open_folder: Opener) -> JsonStore:
    """Alice with two chats, each with a message; the files know nothing of it yet."""
    store = open_folder()
    alice = store.users.add(a_user("Alice"))
    for title in ("first", "second"):
        store.chats.add(a_chat(alice.id, title=title, messages=(a_message(f"in the {title}"),)))
    return store


def chat_titled(store: JsonStore, title: str) -> str:
    [alice] = store.users.all()
    return next(each.id for each in store.chats.list(alice.id) if each.title == title)


def test_the_files_hold_everything_by_the_names_of_the_records(store: JsonStore, folder: Path) -> None:
    store.checkpoint()

    users, chats = document(folder / "users.json"), document(folder / "chats.json")
    [alice] = store.users.all()
    assert users["users"]["alice"]["id"] == alice.id
    assert users["users"]["alice"]["username"] == "Alice"
    chat = chats["chats"][chat_titled(store, "first")]
    assert [message["content"] for message in chat["messages"]] == ["in the first"]
    assert (users["count"], chats["count"]) == (1, 2)


def test_a_chat_shows_its_summary_first_and_its_messages_last(store: JsonStore, folder: Path) -> None:
    store.checkpoint()

    chat = document(folder / "chats.json")["chats"][chat_titled(store, "first")]
    assert list(chat)[:6] == ["crc", "owner_id", "title", "model", "created_at", "updated_at"]
    assert list(chat)[-1] == "messages"


def test_each_chat_is_one_line(store: JsonStore, folder: Path) -> None:
    store.checkpoint()

    assert len((folder / "chats.json").read_text().splitlines()) == 1 + 2 + 1


def test_a_chat_that_has_not_changed_keeps_its_line(store: JsonStore, folder: Path) -> None:
    store.checkpoint()
    [alice] = store.users.all()
    unchanged = [
        line.rstrip(",") for line in (folder / "chats.json").read_text().splitlines() if '"first"' in line
    ]

    store.chats.add_messages(alice.id, chat_titled(store, "second"), [a_message("more")])
    store.checkpoint()

    assert unchanged[0] in [line.rstrip(",") for line in (folder / "chats.json").read_text().splitlines()]


def test_lines_that_were_copied_again_and_again_are_found_and_read(open_folder: Opener) -> None:
    first = open_folder()
    alice = first.users.add(a_user("alice"))
    chats = [first.chats.add(a_chat(alice.id, messages=(a_message(f"in {n}"),))).id for n in range(6)]
    first.close()
    store = open_folder()

    for chat_id in chats[1:4]:
        store.chats.add_messages(alice.id, chat_id, [a_message("more" * len(chat_id))])
        store.checkpoint()

    for number, chat_id in enumerate(chats):
        assert store.chats.get(alice.id, chat_id).messages[0].content == f"in {number}"


def test_many_rounds_of_changes_give_the_same_as_never_writing_files(
    store: JsonStore, open_folder: Opener
) -> None:
    [alice] = store.users.all()
    kept = chat_titled(store, "first")
    for number in range(5):
        store.chats.delete(alice.id, chat_titled(store, "second"))
        store.chats.add(a_chat(alice.id, title="second"))
        reply = a_reply(f"reply {number}")
        store.chats.add_messages(alice.id, kept, [reply])
        store.checkpoint()
        store.chats.finish_message(alice.id, kept, reply.model_copy(update={"status": "complete"}))
        store.chats.update(alice.id, kept, lambda each: each.model_copy(update={"pinned": not each.pinned}))
    before = store.chats.get(alice.id, kept), list(store.chats.list(alice.id))
    store.close()

    after = open_folder()

    assert (after.chats.get(alice.id, kept), list(after.chats.list(alice.id))) == before
    assert [each.content for each in before[0].messages] == [
        "in the first",
        *(f"reply {n}" for n in range(5)),
    ]


@pytest.mark.parametrize(
    "moment",
    [
        ("create", "users.json.tmp"),
        ("create", "chats.json.tmp"),
        ("rename", "users.json.tmp"),
        ("rename", "chats.json.tmp"),
    ],
)
def test_changes_during_a_checkpoint_are_not_lost(
    open_folder: Opener, folder: Path, tmp_path: Path, files: FaultyFiles, moment: tuple[str, str]
) -> None:
    store = open_folder(files)
    alice = store.users.add(a_user("alice"))
    chat = store.chats.add(a_chat(alice.id))

    def write_meanwhile(call: str, name: str) -> None:
        if (call, name) == moment:
            files.fault = no_fault
            writer = threading.Thread(
                target=store.chats.add_messages, args=[alice.id, chat.id, [a_message("meanwhile")]]
            )
            writer.start()
            writer.join()

    files.fault = write_meanwhile
    store.checkpoint()
    lay_out(tmp_path / "left", contents(folder))

    assert stored_texts(store) == ["meanwhile"]
    with reopened(tmp_path / "left") as after:
        assert stored_texts(after) == ["meanwhile"]
    store.checkpoint()
    assert "meanwhile" in (folder / "chats.json").read_text()


def test_a_reader_that_holds_an_old_chat_can_go_on_reading(store: JsonStore) -> None:
    store.checkpoint()
    [alice] = store.users.all()
    first = chat_titled(store, "first")

    for _ in range(3):
        store.chats.add_messages(alice.id, chat_titled(store, "second"), [a_message()])
        store.checkpoint()

    assert store.chats.get(alice.id, first).messages[0].content == "in the first"


class Clock:
    """A clock that stands still until it is moved on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        monkeypatch.setattr("chatapp.storage.checkpoint.monotonic_s", lambda: self.now_s)


def change_and_checkpoint(store: JsonStore, times: int) -> None:
    [alice] = store.users.all()
    for _ in range(times):
        store.chats.add(a_chat(alice.id))
        store.checkpoint()


def journal_files(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in (folder / "journal").iterdir())


def test_journal_files_stay_for_ten_minutes_for_whoever_copies_the_folder(
    store: JsonStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)

    change_and_checkpoint(store, 3)
    clock.now_s += 599
    change_and_checkpoint(store, 2)
    assert journal_files(folder) == [1, 2, 3, 4, 5, 6]

    clock.now_s += 1
    change_and_checkpoint(store, 1)
    assert journal_files(folder) == [4, 5, 6, 7]


def test_the_newest_finished_journal_file_stays_whatever_its_size(
    store: JsonStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatapp.storage.checkpoint._KEPT_BYTES", 0)

    change_and_checkpoint(store, 3)

    assert journal_files(folder) == [3, 4]


def test_journal_files_of_an_earlier_server_stay_as_long(
    store: JsonStore, folder: Path, open_folder: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    change_and_checkpoint(store, 3)
    store.close()
    clock.now_s += 3600

    again = open_folder()
    change_and_checkpoint(again, 1)
    assert journal_files(folder) == [1, 2, 3, 4, 5]

    clock.now_s += 600
    change_and_checkpoint(again, 1)
    assert journal_files(folder) == [5, 6]


def test_finished_journal_files_together_stay_small(
    store: JsonStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch)
    change_and_checkpoint(store, 4)
    two_of_them = sum((folder / "journal" / f"00000000{each}.jsonl").stat().st_size for each in (3, 4))
    monkeypatch.setattr("chatapp.storage.checkpoint._KEPT_BYTES", two_of_them)

    change_and_checkpoint(store, 1)

    assert journal_files(folder) == [4, 5, 6]


def test_nothing_is_written_when_nothing_has_changed(store: JsonStore, folder: Path) -> None:
    store.checkpoint()
    before = contents(folder)

    store.checkpoint()

    assert contents(folder) == before


def test_last_uses_ride_along(store: JsonStore, open_folder: Opener) -> None:
    [alice] = store.users.all()
    store.users.update(alice.id, lambda user: user.model_copy(update={"sessions": (a_session("one"),)}))
    store.checkpoint()
    store.users.touch_session(alice.id, "one", minutes_after_noon(3))
    store.close()

    assert open_folder().users.get(alice.id).sessions[0].last_used_at == minutes_after_noon(3)


def test_last_uses_are_written_once(store: JsonStore, folder: Path) -> None:
    [alice] = store.users.all()
    store.users.update(alice.id, lambda user: user.model_copy(update={"sessions": (a_session("one"),)}))
    store.users.touch_session(alice.id, "one", minutes_after_noon(3))
    store.checkpoint()
    written_at_ns = (folder / "users.json").stat().st_mtime_ns

    store.checkpoint()

    assert (folder / "users.json").stat().st_mtime_ns == written_at_ns


def test_parts_that_wait_are_stored_at_the_end(store: JsonStore, open_folder: Opener) -> None:
    [alice] = store.users.all()
    first, reply = chat_titled(store, "first"), a_reply()
    store.chats.add_messages(alice.id, first, [reply])
    store.chats.append_part(alice.id, first, reply.id, 0, "Half")

    store.close()

    assert open_folder().chats.get(alice.id, first).messages[-1].content == "Half"


def test_site_settings_survive(store: JsonStore, folder: Path, open_folder: Opener) -> None:
    store._users.site = {"name": "The lab", "invitations": [1]}
    store.close()

    again = open_folder()
    again.users.add(a_user("bob"))
    again.checkpoint()

    assert document(folder / "users.json")["site"] == {"name": "The lab", "invitations": [1]}


def test_a_small_store_shows_its_messages_soon_after_the_last_change(
    open_folder: Opener, folder: Path
) -> None:
    store = open_folder(checkpoint_after_s=0.05)
    alice = store.users.add(a_user("alice"))
    store.chats.add(a_chat(alice.id, messages=(a_message("look here"),)))

    wait_until(lambda: "look here" in (folder / "chats.json").read_text())

    assert document(folder / "users.json")["count"] == 1


def test_a_small_store_is_written_two_seconds_after_the_last_change_unless_told_otherwise() -> None:
    assert inspect.signature(open_store).parameters["checkpoint_after_s"].default == 2


def test_a_store_that_never_rests_is_written_as_well(open_folder: Opener, folder: Path) -> None:
    store = open_folder(checkpoint_after_s=0.2)
    alice = store.users.add(a_user("alice"))
    chat = store.chats.add(a_chat(alice.id))
    pause = threading.Event()
    written = 0

    while '"busy"' not in (folder / "chats.json").read_text() and written < 500:
        store.chats.add_messages(alice.id, chat.id, [a_message("busy")])
        written += 1
        pause.wait(0.02)

    assert '"busy"' in (folder / "chats.json").read_text()


def test_a_long_journal_of_a_server_that_was_killed_is_taken_in_at_the_start(
    store: JsonStore, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(tmp_path / "killed", contents(folder))
    monkeypatch.setattr(upkeep, "_UNSAVED_RECORDS", 2)

    with reopened(tmp_path / "killed"):
        wait_until(lambda: "in the second" in (tmp_path / "killed" / "chats.json").read_text())


def test_everything_is_synced_before_it_is_relied_on(
    open_folder: Opener, files: FaultyFiles, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    store = open_folder(files)
    store.users.add(a_user("alice"))
    store.checkpoint()
    store.users.add(a_user("bob"))
    clock.now_s += 3600
    files.calls.clear()

    store.checkpoint()
    store.users.add(a_user("charlie"))

    steps = [
        (call, name) for call, name in files.calls if call in {"sync", "sync_folder", "rename", "remove"}
    ]
    assert [
        step
        for step in steps
        if step != ("remove", "users.json.tmp") and step != ("remove", "chats.json.tmp")
    ] == [
        ("sync_folder", folder.parent.name),
        ("sync_folder", "data"),
        ("sync", "000000003.jsonl"),
        ("sync_folder", "journal"),
        ("sync", "users.json.tmp"),
        ("sync", "chats.json.tmp"),
        ("rename", "users.json.tmp"),
        ("rename", "chats.json.tmp"),
        ("sync_folder", "data"),
        ("rename", "users.json.tmp"),
        ("rename", "chats.json.tmp"),
        ("sync_folder", "previous"),
        ("remove", "000000001.jsonl"),
        ("sync", "000000003.jsonl"),
    ]


# --- when the disk says no -------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["create", "write", "sync", "rename", "sync_folder"])
def test_a_checkpoint_that_fails_loses_nothing_and_is_made_up_for(
    open_folder: Opener, files: FaultyFiles, folder: Path, tmp_path: Path, call: str
) -> None:
    store = open_folder(files)
    alice = store.users.add(a_user("alice"))
    chat = store.chats.add(a_chat(alice.id, messages=(a_message("one"),)))
    store.checkpoint()
    store.chats.add_messages(alice.id, chat.id, [a_message("two")])

    files.fault = lambda each, _: disk_full() if each == call else None
    with pytest.raises(StorageFull):
        store.checkpoint()
    files.fault = no_fault
    store.chats.add_messages(alice.id, chat.id, [a_message("three")])
    lay_out(tmp_path / "left", contents(folder))
    with reopened(tmp_path / "left") as after:
        assert stored_texts(after) == ["one", "two", "three"]

    store.checkpoint()
    assert stored_texts(store) == ["one", "two", "three"]
    assert "three" in (folder / "chats.json").read_text()


def test_the_second_file_failing_to_be_renamed_leaves_a_pair_that_fits(
    open_folder: Opener, files: FaultyFiles, folder: Path, tmp_path: Path
) -> None:
    store = open_folder(files)
    alice, bob = store.users.add(a_user("alice")), store.users.add(a_user("bob"))
    store.chats.add(a_chat(alice.id, messages=(a_message("one"),)))
    store.chats.add(a_chat(bob.id, messages=(a_message("bob's"),)))
    store.checkpoint()
    store.users.delete(bob.id)
    store.users.add(a_user("charlie"))

    files.fault = lambda call, name: (
        error(errno.EIO) if (call, name) == ("rename", "chats.json.tmp") else None
    )
    with pytest.raises(StorageFailed):
        store.checkpoint()
    files.fault = no_fault
    store.users.add(a_user("dora"))
    lay_out(tmp_path / "left", contents(folder))

    with reopened(tmp_path / "left") as after:
        assert [user.username for user in after.users.all()] == ["alice", "charlie", "dora"]
        assert after.chats.list(bob.id) == []
        assert stored_texts(after) == ["one"]


def test_a_failing_checkpoint_in_the_background_is_reported_once(
    open_folder: Opener, files: FaultyFiles, folder: Path
) -> None:
    store = open_folder(files, checkpoint_after_s=0.01)
    files.fault = lambda call, name: disk_full() if name.endswith(".json.tmp") and call == "write" else None

    store.users.add(a_user("alice"))
    wait_until(lambda: store.notices != [])

    assert len(store.notices) == 1
    assert "could not be brought up to date" in store.notices[0]


def test_a_checkpoint_that_failed_in_the_background_is_tried_again_and_its_notice_goes(
    open_folder: Opener, files: FaultyFiles, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "_RETRY_S", 0.05)
    store = open_folder(files, checkpoint_after_s=0.01)
    files.fault = lambda call, name: disk_full() if name.endswith(".json.tmp") and call == "write" else None
    store.users.add(a_user("alice"))
    wait_until(lambda: store.notices != [])

    files.fault = no_fault
    wait_until(lambda: store.notices == [])

    assert "alice" in document(folder / "users.json")["users"]


# --- strangers -------------------------------------------------------------------------------------------------


def test_a_file_that_somebody_replaced_is_kept(store: JsonStore, folder: Path) -> None:
    store.checkpoint()
    (folder / "new").write_text("mine")
    (folder / "new").replace(folder / "chats.json")
    [alice] = store.users.all()

    store.chats.add(a_chat(alice.id, title="third"))
    store.checkpoint()

    [stranger] = folder.glob("chats.json.foreign-*")
    assert stranger.read_text() == "mine"
    assert document(folder / "chats.json")["count"] == 3
    assert stranger.name in store.notices[0]


@pytest.mark.parametrize("links", [True, False], ids=["with links", "without links"])
def test_while_a_stranger_is_kept_there_always_is_a_file_of_that_name(
    open_folder: Opener, files: FaultyFiles, folder: Path, links: bool
) -> None:
    store = open_folder(files)
    store.users.add(a_user("alice"))
    (folder / "new").write_text("mine")
    (folder / "new").replace(folder / "users.json")

    def watch(call: str, _: str) -> OSError | None:
        assert (folder / "users.json").exists()
        return error(errno.EPERM) if call == "link" and not links else None

    files.fault = watch
    store.checkpoint()

    [stranger] = folder.glob("users.json.foreign-*")
    assert stranger.read_text() == "mine"
    assert document(folder / "users.json")["count"] == 1


@pytest.mark.parametrize("name", ["users.json", "chats.json"])
def test_a_folder_that_somebody_put_in_place_of_a_file_is_moved_away(
    store: JsonStore, folder: Path, name: str
) -> None:
    (folder / name).unlink()
    (folder / name).mkdir()
    (folder / name / "inside").write_text("mine")

    store.checkpoint()

    [stranger] = folder.glob(f"{name}.foreign-*")
    assert (stranger / "inside").read_text() == "mine"
    assert document(folder / "chats.json")["count"] == 2


def test_a_file_that_somebody_wrote_into_is_never_copied_blindly(store: JsonStore, folder: Path) -> None:
    store.checkpoint()
    edited = (folder / "chats.json").read_bytes().replace(b"in the first", b"IN THE FIRST")
    (folder / "chats.json").write_bytes(edited)
    [alice] = store.users.all()
    store.chats.add(a_chat(alice.id, title="third"))

    with pytest.raises(
        StorageFailed, match=r"chats.json is damaged at byte .*: this line changed on the disk"
    ):
        store.checkpoint()

    assert (folder / "chats.json").read_bytes() == edited


def test_root_is_told_how_a_file_that_somebody_wrote_into_is_taken_over(
    open_folder: Opener, folder: Path
) -> None:
    store = open_folder(checkpoint_after_s=0.01)
    alice = store.users.add(a_user("alice"))
    store.chats.add(a_chat(alice.id, title="first"))
    wait_until(lambda: b"first" in (folder / "chats.json").read_bytes())
    edited = (folder / "chats.json").read_bytes().replace(b'"first"', b'"a longer one"')
    (folder / "chats.json").write_bytes(edited)

    store.chats.add(a_chat(alice.id, title="second"))
    wait_until(lambda: store.notices != [])

    assert "this line changed on the disk" in store.notices[0]
    assert store.notices[0].endswith("stop and start the server: a start takes over what was edited.")
    assert "repair" not in store.notices[0]
    store.close()
    with reopened(folder) as after:
        assert {each.title for each in after.chats.list(alice.id)} == {"a longer one", "second"}


def test_a_file_that_was_only_touched_goes_on_as_before(store: JsonStore, folder: Path) -> None:
    store.checkpoint()
    (folder / "chats.json").touch()
    [alice] = store.users.all()

    store.chats.add(a_chat(alice.id, title="third"))
    store.checkpoint()

    assert document(folder / "chats.json")["count"] == 3


def test_a_linked_data_file_is_replaced_where_the_link_points(
    open_folder: Opener, folder: Path, tmp_path: Path
) -> None:
    open_folder().close()
    (tmp_path / "elsewhere").mkdir()
    (folder / "chats.json").replace(tmp_path / "elsewhere" / "chats.json")
    (folder / "chats.json").symlink_to(tmp_path / "elsewhere" / "chats.json")

    store = open_folder()
    alice = store.users.add(a_user("alice"))
    store.chats.add(a_chat(alice.id))
    store.checkpoint()

    assert (folder / "chats.json").is_symlink()
    assert document(tmp_path / "elsewhere" / "chats.json")["count"] == 1


def test_last_uses_that_a_failed_checkpoint_could_not_write_are_in_the_next(
    open_folder: Opener, files: FaultyFiles
) -> None:
    store = open_folder(files)
    alice = store.users.add(a_user("alice", sessions=(a_session("one"),)))
    store.checkpoint()
    store.users.touch_session(alice.id, "one", minutes_after_noon(5))
    files.fault = lambda call, name: disk_full() if call == "create" and name.endswith(".tmp") else None
    with pytest.raises(StorageFailed):
        store.checkpoint()

    files.fault = no_fault
    store.close()

    [session] = open_folder().users.get(alice.id).sessions
    assert session.last_used_at == minutes_after_noon(5)


class RenamesAndComplains(FaultyFiles):
    """Makes every rename of a data file, and says once that it failed, as a network file system may."""

    complains = True

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        if self.complains and target.name == "users.json":
            self.complains = False
            raise error(errno.EIO)


def test_a_rename_that_was_made_but_reported_as_failed_is_not_taken_for_somebody_elses(
    open_folder: Opener,
) -> None:
    store = open_folder()
    store.close()
    store = open_folder(RenamesAndComplains())
    store.users.add(a_user("alice"))
    with pytest.raises(StorageFailed):
        store.checkpoint()

    store.checkpoint()

    assert store.notices == []
