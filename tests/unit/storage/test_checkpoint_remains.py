"""What checkpoints leave behind: journal files that are still needed, and nothing that is not."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from chatapp.errors import StorageFull
from chatapp.ids import monotonic_s
from chatapp.storage import checkpoint, upkeep
from chatapp.storage.json_store import JsonStore
from chatapp.storage.layout import Layout
from chatapp.storage.maintenance.backup import back_up
from tests.fakes.files import FaultyFiles, disk_full, no_fault
from tests.records import a_chat, a_message, a_user
from tests.start.processes import eventually
from tests.unit.storage.conftest import Opener
from tests.unit.storage.killed import contents, lay_out, reopened, stored_texts


def write(store: JsonStore, text: str) -> None:
    alice = store.users.by_name("alice") or store.users.add(a_user("alice"))
    chats = store.chats.list(alice.id) or [store.chats.add(a_chat(alice.id))]
    store.chats.add_messages(alice.id, chats[0].id, [a_message(text)])


def open_files(folder: Path) -> list[str]:
    """Return the names of the files and folders below a folder that this process has open."""
    targets = [fd.readlink() for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    return sorted(target.name for target in targets if target.is_relative_to(folder))


def test_no_number_of_checkpoints_leaves_files_open(
    open_folder: Opener, folder: Path, tmp_path: Path, files: FaultyFiles
) -> None:
    store = open_folder(files)
    for number in range(5):
        write(store, f"text {number}")
        store.checkpoint()
        back_up(files, Layout(folder), tmp_path / f"copy {number}")

    assert open_files(tmp_path) == ["000000006.jsonl", "chats.json", "data", "store.lock"]


def test_journal_files_are_removed_from_the_oldest_on(
    open_folder: Opener, files: FaultyFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_folder(files)
    for age_s in (math.inf, math.inf, math.inf, 0.0):
        monkeypatch.setattr(checkpoint, "_KEPT_S", age_s)
        write(store, "text")
        store.checkpoint()

    removed = [name for call, name in files.calls if call == "remove" and name.endswith(".jsonl")]

    assert removed == ["000000001.jsonl", "000000002.jsonl", "000000003.jsonl"]


def test_checkpoints_that_fail_one_after_another_remove_nothing_that_is_needed(
    open_folder: Opener,
    folder: Path,
    tmp_path: Path,
    files: FaultyFiles,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checkpoint, "_KEPT_S", 0.0)
    store = open_folder(files)
    files.fault = lambda call, name: disk_full() if (call, name) == ("rename", "chats.json.tmp") else None

    for text in ("one", "two", "three"):
        write(store, text)
        with pytest.raises(StorageFull):
            store.checkpoint()
    lay_out(tmp_path / "killed", contents(folder))
    files.fault = no_fault
    store.checkpoint()

    with reopened(tmp_path / "killed") as after:
        assert stored_texts(after) == ["one", "two", "three"]
    assert b'"three"' in (folder / "chats.json").read_bytes()


def test_a_checkpoint_that_fills_the_disk_gives_the_room_back(
    open_folder: Opener, folder: Path, files: FaultyFiles
) -> None:
    store = open_folder(files)
    write(store, "one")
    files.fault = lambda call, name: disk_full() if (call, name) == ("sync", "chats.json.tmp") else None

    with pytest.raises(StorageFull):
        store.checkpoint()

    assert not (folder / "chats.json.tmp").exists()


def test_a_failing_checkpoint_is_not_tried_again_at_once(open_folder: Opener, files: FaultyFiles) -> None:
    store = open_folder(files, checkpoint_after_s=0.01)
    files.fault = lambda call, name: disk_full() if (call, name) == ("sync", "chats.json.tmp") else None

    write(store, "one")
    eventually(lambda: bool(store.notices))

    assert store._upkeep._due_at_s() > monotonic_s() + upkeep._RETRY_S / 2
