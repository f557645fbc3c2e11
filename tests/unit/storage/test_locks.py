"""One server per folder."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from chatapp.errors import StorageFailed, StoreLocked
from chatapp.storage.locks import Turns
from tests.fakes.files import FaultyFiles, error
from tests.records import a_user
from tests.unit.storage.conftest import Opener
from tests.unit.storage.killed import reopened

HOLD = """
import sys
from pathlib import Path
from chatapp.storage.json_store import open_store
store = open_store(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.read()
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def test_a_second_server_is_refused_with_folder_and_process(folder: Path, open_folder: Opener) -> None:
    with holder(folder) as first:
        with pytest.raises(StoreLocked) as refusal:
            open_folder()
        first.kill()

    assert str(folder) in str(refusal.value)
    assert f"process {first.pid}" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_killed_server_locks_nobody_out(folder: Path, open_folder: Opener) -> None:
    with holder(folder) as first:
        first.kill()

    assert open_folder().users.count() == 0


def test_the_same_process_cannot_open_a_folder_twice(open_folder: Opener) -> None:
    open_folder()

    with pytest.raises(StoreLocked, match=f"process {os.getpid()}"):
        open_folder()


def test_a_closed_folder_can_be_opened_again(open_folder: Opener) -> None:
    open_folder().close()

    assert open_folder().users.count() == 0


def test_a_folder_that_could_not_be_opened_is_not_left_locked(folder: Path, open_folder: Opener) -> None:
    open_folder().close()
    whole = (folder / "users.json").read_bytes()
    (folder / "users.json").write_text("broken")
    with pytest.raises(Exception, match="damaged"):
        open_folder()

    (folder / "users.json").write_bytes(whole)

    assert open_folder().users.count() == 0


def test_a_server_whose_lock_file_was_removed_still_keeps_others_out(
    folder: Path, open_folder: Opener
) -> None:
    with holder(folder) as first:
        (folder / "store.lock").unlink()
        with pytest.raises(StoreLocked, match="in use by another chatapp server"):
            open_folder()
        first.kill()


def test_a_removed_lock_file_names_the_server_again_after_the_next_checkpoint(
    folder: Path, open_folder: Opener
) -> None:
    store = open_folder()
    (folder / "store.lock").unlink()

    store.users.add(a_user("alice"))
    store.checkpoint()

    with pytest.raises(StoreLocked, match=f"process {os.getpid()}"):
        open_folder()


@pytest.mark.parametrize("number", [errno.EBADF, errno.EINVAL, errno.ENOTSUP])
def test_where_a_folder_cannot_be_locked_the_file_in_it_keeps_others_out(
    folder: Path, open_folder: Opener, files: FaultyFiles, number: int
) -> None:
    files.fault = lambda call, name: error(number) if (call, name) == ("lock", folder.name) else None
    open_folder(files)

    with pytest.raises(StoreLocked, match=f"process {os.getpid()}"):
        open_folder(files)


def test_a_server_that_lost_its_folder_to_another_never_writes_over_what_that_one_wrote(
    folder: Path, open_folder: Opener
) -> None:
    first = open_folder()
    alice = first.users.add(a_user("alice"))
    folder.rename(folder.with_name("moved away"))
    second = open_folder()
    second.users.add(a_user("bob"))

    for _ in range(2):
        with pytest.raises(StorageFailed):
            first.users.add(a_user("charlie"))
        with pytest.raises(StoreLocked):
            first.checkpoint()
    second.close()
    with pytest.raises(StoreLocked):
        first.checkpoint()

    assert first.users.all() == (alice,)
    assert [user.username for user in open_folder().users.all()] == ["bob"]


@pytest.mark.parametrize("gone", [".", "journal"])
def test_nothing_is_acknowledged_into_a_folder_that_was_removed_and_all_of_it_is_written_anew(
    folder: Path, open_folder: Opener, tmp_path: Path, gone: str
) -> None:
    store = open_folder()
    alice = store.users.add(a_user("alice"))
    store.checkpoint()
    bob = store.users.add(a_user("bob"))
    shutil.rmtree(folder / gone)

    with pytest.raises(StorageFailed):
        store.users.add(a_user("charlie"))
    assert store.users.all() == (alice, bob)
    store.checkpoint()
    charlie = store.users.add(a_user("charlie"))

    with pytest.raises(StoreLocked):
        open_folder()
    shutil.copytree(folder, tmp_path / "killed")
    with reopened(tmp_path / "killed") as after:
        assert after.users.all() == (alice, bob, charlie)


def test_all_turns_wait_for_each_single_one() -> None:
    turns = Turns()

    with turns.of("some chat"):
        taken = [lock.locked() for lock in turns._locks]
    with turns.all():
        all_taken = all(lock.locked() for lock in turns._locks)

    assert taken.count(True) == 1
    assert all_taken
    assert not any(lock.locked() for lock in turns._locks)
