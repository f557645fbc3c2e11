"""One server per folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chatapp.errors import StoreLocked
from chatapp.storage.locks import Turns
from tests.unit.storage.conftest import Opener

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


def test_all_turns_wait_for_each_single_one() -> None:
    turns = Turns()

    with turns.of("some chat"):
        taken = [lock.locked() for lock in turns._locks]
    with turns.all():
        all_taken = all(lock.locked() for lock in turns._locks)

    assert taken.count(True) == 1
    assert all_taken
    assert not any(lock.locked() for lock in turns._locks)
