"""Writing: durable before it counts, many at once, and what happens when the disk says no."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path

import pytest

from chatapp.errors import Invalid, StorageFailed, StorageFull, StorageReadOnly, StoreDamaged
from chatapp.storage import upkeep
from chatapp.storage.chats import summary_of
from chatapp.storage.json_store import JsonStore, open_store
from chatapp.storage.lines import encode_record
from chatapp.storage.operations import ChatPut, MessageAdd, encode
from tests.fakes.files import Fault, FaultyFiles, disk_full, error, no_fault
from tests.records import a_chat, a_message, a_reply, a_user
from tests.start.processes import eventually
from tests.unit.storage.conftest import Opener
from tests.unit.storage.killed import contents, lay_out, reopened, stored_texts

ALICE = "alice-id"
JOURNAL = "000000001.jsonl"


def journal_calls(files: FaultyFiles, call: str) -> int:
    return sum(1 for each, name in files.calls if each == call and name.endswith(".jsonl"))


def failing(call: str, fault: OSError, *, name: str = ".jsonl") -> Fault:
    """Fail every such call on files whose name ends so."""
    return lambda each, file: fault if each == call and file.endswith(name) else None


def once(fault: Fault) -> Fault:
    """Fail the first time only."""
    left = [1]

    def first_only(call: str, name: str) -> OSError | None:
        found = fault(call, name) if left else None
        if found:
            left.clear()
        return found

    return first_only


def add_text(store: JsonStore, text: str) -> None:
    """Store a message in the one chat of Alice, making it first."""
    chats = store.chats.list(ALICE) or [store.chats.add(a_chat(ALICE))]
    store.chats.add_messages(ALICE, chats[0].id, [a_message(text)])


def texts(store: JsonStore) -> list[str]:
    [chat] = store.chats.list(ALICE)
    return [message.content for message in store.chats.get(ALICE, chat.id).messages]


def test_a_change_is_synced_before_it_returns(open_folder: Opener, files: FaultyFiles) -> None:
    store = open_folder(files)
    before = journal_calls(files, "sync")

    store.chats.add(a_chat(ALICE))

    assert journal_calls(files, "sync") == before + 1


def test_what_belongs_together_is_one_record(open_folder: Opener, folder: Path) -> None:
    store = open_folder()
    alice = store.users.add(a_user("alice"))
    chat = store.chats.add(a_chat(alice.id, messages=(a_message("one"), a_message("two"))))
    store.chats.add_messages(
        alice.id, chat.id, [a_message("three"), a_reply()], lambda it: it.model_copy(update={"title": "T"})
    )
    store.users.delete(alice.id)

    records = [json.loads(line) for line in (folder / "journal" / JOURNAL).read_bytes().splitlines()]
    assert [[each["op"] for each in record.get("ops", [record])] for record in records] == [
        ["user.put"],
        ["chat.put", "msg.add", "msg.add"],
        ["chat.put", "msg.add", "msg.add"],
        ["user.del", "chat.del"],
    ]


class HeldSync(FaultyFiles):
    """Holds a sync of the journal until the test lets go."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def sync(self, fd: int) -> None:
        self.reached.set()
        assert self.go_on.wait(10)
        super().sync(fd)

    def hold(self) -> None:
        self.reached.clear()
        self.go_on.clear()


def test_a_change_is_seen_by_nobody_before_it_is_durable(open_folder: Opener) -> None:
    files = HeldSync()
    store = open_folder(files)
    files.hold()
    writer = threading.Thread(target=store.users.add, args=[a_user("alice")])

    writer.start()
    assert files.reached.wait(10)
    seen_before = store.users.by_name("alice")
    files.go_on.set()
    writer.join()

    assert seen_before is None
    assert store.users.by_name("alice") is not None


def test_changes_that_come_during_a_sync_share_the_next_one(open_folder: Opener, folder: Path) -> None:
    files = HeldSync()
    store = open_folder(files)
    syncs_before = journal_calls(files, "sync")
    files.hold()
    changes = [[ChatPut(summary_of(a_chat(ALICE)))] for _ in range(20)]
    writers = [threading.Thread(target=store._journal.commit, args=[change]) for change in changes]

    writers[0].start()
    assert files.reached.wait(10)
    for writer in writers[1:]:
        writer.start()
    wait_until_queued(store, 19)
    files.go_on.set()
    for writer in writers:
        writer.join()

    assert journal_calls(files, "sync") == syncs_before + 2
    records = [json.loads(line) for line in (folder / "journal" / JOURNAL).read_text().splitlines()]
    assert [(each["n"], each["b"]) for each in records] == [(1, 1)] + [(number, 2) for number in range(2, 21)]


def test_the_same_message_again_during_the_sync_of_the_first_is_not_added(open_folder: Opener) -> None:
    files = HeldSync()
    store = open_folder(files)
    chat = store.chats.add(a_chat(ALICE))
    files.hold()
    writers = [
        threading.Thread(target=store.chats.add_messages, args=[ALICE, chat.id, [a_message(id="same")]])
        for _ in range(10)
    ]

    for writer in writers:
        writer.start()
    assert files.reached.wait(10)
    files.go_on.set()
    for writer in writers:
        writer.join()

    assert len(texts(store)) == 1


def test_of_many_first_users_during_one_sync_one_is_root(open_folder: Opener) -> None:
    files = HeldSync()
    store = open_folder(files)
    files.hold()
    writers = [threading.Thread(target=store.users.add, args=[a_user(f"user {n}")]) for n in range(10)]

    for writer in writers:
        writer.start()
    assert files.reached.wait(10)
    files.go_on.set()
    for writer in writers:
        writer.join()

    assert [user.is_root for user in store.users.all()] == [True, *[False] * 9]


def test_a_chat_that_is_made_while_its_owner_is_deleted_does_not_stay(open_folder: Opener) -> None:
    files = HeldSync()
    store = open_folder(files)
    alice = store.users.add(a_user("alice"))
    files.hold()
    writer = threading.Thread(target=store.chats.add, args=[a_chat(alice.id)])
    deleter = threading.Thread(target=store.users.delete, args=[alice.id])

    writer.start()
    assert files.reached.wait(10)
    deleter.start()
    deleter.join(0.2)
    files.go_on.set()
    writer.join()
    deleter.join()

    assert store.chats.list(alice.id) == []


def wait_until_queued(store: JsonStore, count: int) -> None:
    pause = threading.Event()
    for _ in range(1000):
        if len(store._journal._queue) == count:
            return
        pause.wait(0.01)
    raise AssertionError("the writers did not queue up")


def test_a_disk_that_takes_few_bytes_at_a_time_gets_them_all(open_folder: Opener, files: FaultyFiles) -> None:
    store = open_folder(files)
    files.most_bytes_per_write = 7

    add_text(store, "a longer text than fits")
    store.checkpoint()

    assert texts(store) == ["a longer text than fits"]


def test_parts_reach_the_disk_without_anybody_waiting(
    open_folder: Opener, folder: Path, tmp_path: Path
) -> None:
    store = open_folder()
    alice = store.users.add(a_user("alice"))
    reply = a_reply()
    chat = store.chats.add(a_chat(alice.id, messages=(reply,)))
    shown = threading.Event()

    store.chats.append_part(alice.id, chat.id, reply.id, 0, "Half")
    for _ in range(200):
        if stored_texts(store) == ["Half"]:
            break
        shown.wait(0.02)
    lay_out(tmp_path / "left", contents(folder))

    with reopened(tmp_path / "left") as after:
        assert stored_texts(after) == ["Half"]


def test_text_that_json_cannot_hold_is_refused_and_the_rest_goes_on(open_folder: Opener) -> None:
    store = open_folder()
    add_text(store, "one")

    with pytest.raises(Invalid):
        add_text(store, "half \ud83d")
    add_text(store, "two")

    assert texts(store) == ["one", "two"]


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, StorageFull),
        (errno.EDQUOT, StorageFull),
        (errno.EROFS, StorageReadOnly),
        (errno.EIO, StorageFailed),
    ],
)
def test_a_failed_write_changes_nothing_and_the_next_one_works(
    open_folder: Opener,
    files: FaultyFiles,
    folder: Path,
    tmp_path: Path,
    number: int,
    expected: type[StorageFailed],
) -> None:
    store = open_folder(files)
    add_text(store, "one")
    before = (folder / "journal" / JOURNAL).read_bytes()

    files.fault = failing("write", error(number))
    with pytest.raises(expected, match="not saved"):
        add_text(store, "two")
    assert (folder / "journal" / JOURNAL).read_bytes() == before
    files.fault = no_fault
    add_text(store, "three")
    lay_out(tmp_path / "killed", contents(folder))

    assert texts(store) == ["one", "three"]
    with reopened(tmp_path / "killed") as after:
        assert texts(after) == ["one", "three"]


def test_a_disk_that_fills_up_in_the_middle_of_a_line_leaves_no_half_line(
    open_folder: Opener, files: FaultyFiles, folder: Path
) -> None:
    store = open_folder(files)
    add_text(store, "one")
    before = (folder / "journal" / JOURNAL).read_bytes()
    files.most_bytes_per_write = 10
    writes: list[str] = []

    def third_write(call: str, name: str) -> OSError | None:
        if (call, name) != ("write", JOURNAL):
            return None
        writes.append(name)
        return disk_full() if len(writes) == 3 else None

    files.fault = third_write
    with pytest.raises(StorageFull):
        add_text(store, "two")

    assert (folder / "journal" / JOURNAL).read_bytes() == before


def test_everybody_in_a_failed_group_is_told(open_folder: Opener, files: FaultyFiles) -> None:
    store = open_folder(files)
    files.fault = failing("write", disk_full())
    told: list[Exception] = []

    def try_to_add() -> None:
        try:
            store.chats.add(a_chat(ALICE))
        except StorageFull as refusal:
            told.append(refusal)

    writers = [threading.Thread(target=try_to_add) for _ in range(20)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert len(told) == 20
    assert store.chats.list(ALICE) == []


def test_a_user_who_could_not_be_stored_does_not_make_the_next_one_less_than_root(
    open_folder: Opener, files: FaultyFiles
) -> None:
    store = open_folder(files)
    files.fault = failing("write", disk_full())
    with pytest.raises(StorageFull):
        store.users.add(a_user("alice"))
    files.fault = no_fault

    assert store.users.add(a_user("bob")).is_root


def test_after_a_failed_sync_the_file_is_never_used_again(
    open_folder: Opener, files: FaultyFiles, folder: Path, tmp_path: Path
) -> None:
    store = open_folder(files)
    add_text(store, "one")
    files.fault = once(failing("sync", error(errno.EIO), name=JOURNAL))

    with pytest.raises(StorageFailed, match="not saved"):
        add_text(store, "two")
    used_before = [call for call, name in files.calls if name == JOURNAL and call in {"write", "sync", "cut"}]
    store.checkpoint()
    add_text(store, "three")

    assert [
        call for call, name in files.calls if name == JOURNAL and call in {"write", "sync", "cut"}
    ] == used_before
    assert texts(store) == ["one", "three"]
    lay_out(tmp_path / "left", contents(folder))
    with reopened(tmp_path / "left") as after:
        assert texts(after) == ["one", "three"]


def test_a_file_that_fails_while_a_checkpoint_writes_is_not_accepted_by_it(
    open_folder: Opener, files: FaultyFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint began before: it proves nothing about the file that failed since."""
    for name in ("start", "stop"):
        monkeypatch.setattr(upkeep.Upkeep, name, lambda _: None)
    store = open_folder(files)
    add_text(store, "one")
    syncs_fail = failing("sync", error(errno.EIO))

    def fail_a_message_meanwhile(call: str, name: str) -> OSError | None:
        if (call, name) == ("sync", "chats.json.tmp"):
            files.fault = syncs_fail
            with pytest.raises(StorageFailed, match="not saved"):
                add_text(store, "two")
            files.fault = no_fault
        return None

    files.fault = fail_a_message_meanwhile
    store.checkpoint()

    with pytest.raises(StorageReadOnly):
        add_text(store, "three")
    assert store.problem is not None
    store.checkpoint()
    add_text(store, "four")
    assert texts(store) == ["one", "four"]


def test_a_file_whose_writer_was_interrupted_is_not_used_again(
    open_folder: Opener, files: FaultyFiles, folder: Path
) -> None:
    """Not even an empty one, which a checkpoint would otherwise go on with."""
    store = open_folder(files)

    def interrupt(call: str, name: str) -> OSError | None:
        if (call, name) == ("sync", JOURNAL):
            raise KeyboardInterrupt
        return None

    files.fault = interrupt
    with pytest.raises(KeyboardInterrupt):
        add_text(store, "one")
    files.fault = no_fault
    store.checkpoint()
    before = (folder / "journal" / JOURNAL).read_bytes()
    add_text(store, "two")

    assert (folder / "journal" / JOURNAL).read_bytes() == before
    assert texts(store) == ["two"]


def test_after_a_failed_sync_the_store_moves_on_by_itself(open_folder: Opener, files: FaultyFiles) -> None:
    store = open_folder(files)
    files.fault = once(failing("sync", error(errno.EIO)))
    with pytest.raises(StorageFailed):
        store.chats.add(a_chat(ALICE))

    pause = threading.Event()
    for _ in range(500):
        if not store._journal.needs_new_file:
            break
        pause.wait(0.01)
    add_text(store, "one")

    assert texts(store) == ["one"]


def test_while_new_files_fail_too_the_store_is_read_only_and_recovers(
    open_folder: Opener, files: FaultyFiles
) -> None:
    store = open_folder(files)
    add_text(store, "one")
    files.fault = failing("sync", error(errno.EIO), name="")
    with pytest.raises(StorageFailed):
        add_text(store, "two")

    with pytest.raises(StorageReadOnly, match="nothing can be saved at the moment"):
        add_text(store, "three")
    with pytest.raises(StorageFailed):
        store.checkpoint()
    assert texts(store) == ["one"]

    files.fault = no_fault
    store.checkpoint()
    add_text(store, "four")
    assert texts(store) == ["one", "four"]


def test_a_line_that_cannot_be_cut_back_makes_the_file_unusable(
    open_folder: Opener, files: FaultyFiles
) -> None:
    store = open_folder(files)
    add_text(store, "one")
    files.fault = lambda call, _: disk_full() if call in {"write", "cut", "create"} else None

    with pytest.raises(StorageFull):
        add_text(store, "two")
    with pytest.raises(StorageReadOnly):
        add_text(store, "three")

    files.fault = no_fault
    store.checkpoint()
    add_text(store, "four")
    assert texts(store) == ["one", "four"]


# --- what an earlier process has left --------------------------------------------------------------------------


def left_with_a_torn_end(folder: Path, open_folder: Opener) -> tuple[Path, bytes]:
    """Leave one message, and the beginning of another that was never acknowledged; return the file and that."""
    store = open_folder()
    add_text(store, "one")
    before = (folder / "journal" / JOURNAL).read_bytes()
    add_text(store, "two")
    torn = (folder / "journal" / JOURNAL).read_bytes().removeprefix(before)[:-9]
    left = {**contents(folder), f"journal/{JOURNAL}": before + torn}
    store.close()
    lay_out(folder, left)
    return folder / "journal" / JOURNAL, torn


def test_a_torn_end_that_comes_back_because_the_disk_did_not_take_the_cut_is_passed_over(
    folder: Path, open_folder: Opener, tmp_path: Path
) -> None:
    journal, torn = left_with_a_torn_end(folder, open_folder)
    store = open_folder()
    add_text(store, "three")
    lay_out(tmp_path / "left", {**contents(folder), f"journal/{JOURNAL}": journal.read_bytes() + torn})

    with reopened(tmp_path / "left") as after:
        assert texts(after) == ["one", "three"]
        assert after.notices == []


def test_torn_ends_of_two_files_are_both_kept_and_cost_nothing_else(
    folder: Path, open_folder: Opener, tmp_path: Path
) -> None:
    _, torn = left_with_a_torn_end(folder, open_folder)
    later = {**contents(folder), "journal/000000002.jsonl": torn[:20]}
    lay_out(tmp_path / "left", later)

    with reopened(tmp_path / "left") as after:
        assert texts(after) == ["one"]
        add_text(after, "three")
        [kept] = (tmp_path / "left" / "quarantine").iterdir()
        assert kept.read_bytes() == torn + torn[:20]
    with reopened(tmp_path / "left") as again:
        assert texts(again) == ["one", "three"]


def test_a_damaged_end_that_later_files_build_on_is_refused(
    folder: Path, open_folder: Opener, tmp_path: Path
) -> None:
    store = open_folder()
    add_text(store, "one")
    lay_out(tmp_path / "left", contents(folder))
    with reopened(tmp_path / "left") as second:
        add_text(second, "two")
        left = contents(tmp_path / "left")
    damaged = left[f"journal/{JOURNAL}"].replace(b"one", b"ONE")
    lay_out(tmp_path / "left", {**left, f"journal/{JOURNAL}": damaged})

    with pytest.raises(StoreDamaged, match=rf"{JOURNAL} is damaged at byte \d+: the checksum does not fit"):
        open_store(tmp_path / "left")

    assert contents(tmp_path / "left") == {**left, f"journal/{JOURNAL}": damaged}


def test_what_an_earlier_process_wrote_last_is_written_and_synced_once_more(
    folder: Path, open_folder: Opener, files: FaultyFiles
) -> None:
    left_with_a_torn_end(folder, open_folder)

    open_folder(files)

    steps = [step for step in files.calls if step[0] in {"write", "sync", "sync_folder", "create"}]
    again = steps.index(("write", JOURNAL))
    assert steps[again:][:2] == [("write", JOURNAL), ("sync", JOURNAL)]
    assert ("create", "000000002.jsonl") in steps[again:]


class NotingWrites(FaultyFiles):
    """Remembers what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        self.written.append(bytes(data))
        return super().write(fd, data, offset)


def test_all_records_that_an_earlier_process_wrote_together_are_written_once_more(
    folder: Path, open_folder: Opener
) -> None:
    store = open_folder()
    add_text(store, "one")
    [chat] = store.chats.list(ALICE)
    left = contents(folder)
    store.close()
    together = b"".join(
        encode_record(number, 3, "2026-11-20T12:00:00.000Z", encode([MessageAdd(chat.id, a_message())]))
        for number in (3, 4, 5)
    )
    lay_out(folder, left | {f"journal/{JOURNAL}": left[f"journal/{JOURNAL}"] + together})
    files = NotingWrites()

    open_folder(files)

    assert together in files.written


def test_an_empty_file_of_an_earlier_process_is_gone_on_with_only_when_its_name_is_synced(
    open_folder: Opener, files: FaultyFiles
) -> None:
    open_folder().close()

    open_folder(files)

    last_opened = max(place for place, step in enumerate(files.calls) if step == ("open", JOURNAL))
    assert ("sync_folder", "journal") in files.calls[last_opened:]


def test_a_closed_store_refuses_changes_and_goes_on_reading(open_folder: Opener) -> None:
    store = open_folder()
    add_text(store, "one")

    store.close()

    assert texts(store) == ["one"]
    with pytest.raises(StorageFailed, match="being stopped"):
        store.chats.add(a_chat(ALICE))


def test_a_forked_child_cannot_write(open_folder: Opener) -> None:
    store = open_folder()
    outcome, told = os.pipe()

    child = os.fork()
    if child == 0:
        try:
            store.chats.add(a_chat(ALICE))
        except StorageFailed as refusal:
            os.write(told, str(refusal).encode())
        finally:
            os._exit(0)
    os.close(told)
    os.waitpid(child, 0)

    assert b"before the server split into processes" in os.read(outcome, 1000)
    os.close(outcome)


def test_a_full_disk_is_a_problem_until_a_change_is_stored(open_folder: Opener, files: FaultyFiles) -> None:
    store = open_folder(files)
    add_text(store, "one")
    assert store.problem is None
    files.fault = lambda call, _: disk_full() if call == "write" else None
    with pytest.raises(StorageFull):
        add_text(store, "two")

    assert "disk is full" in (store.problem or "")
    files.fault = no_fault
    add_text(store, "three")
    assert store.problem is None


def test_a_problem_goes_away_while_nobody_writes(
    open_folder: Opener, files: FaultyFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "_RETRY_S", 0.05)
    store = open_folder(files)
    store.chats.add(a_chat(ALICE))
    files.fault = lambda call, _: disk_full() if call == "write" else None
    with pytest.raises(StorageFull):
        add_text(store, "one")
    assert store.problem is not None

    files.fault = no_fault

    eventually(lambda: store.problem is None)
    add_text(store, "two")
    assert texts(store) == ["two"]


def test_a_failed_sync_is_a_problem_until_there_are_new_files(
    open_folder: Opener, files: FaultyFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "_RETRY_S", 0.05)
    store = open_folder(files)
    files.fault = lambda call, _: error(errno.EIO) if call == "sync" else None
    with pytest.raises(StorageFailed):
        add_text(store, "one")
    assert "reported an error" in (store.problem or "")

    files.fault = no_fault

    eventually(lambda: store.problem is None)
