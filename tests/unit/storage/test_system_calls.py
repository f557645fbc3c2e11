"""The real file system behind the store: that its calls reach the operating system as they say."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from chatapp.storage.files import Files, write_aside
from tests.records import a_chat, a_message, a_user
from tests.unit.storage.conftest import Opener


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What the operating system was asked to bring to the disk: number and size of each file or folder."""
    asked: list[tuple[int, int]] = []
    for name in ("fdatasync", "fsync"):

        def sync(fd: int, real: object = getattr(os, name)) -> None:
            assert callable(real)
            real(fd)
            status = os.fstat(fd)
            asked.append((status.st_ino, 0 if stat.S_ISDIR(status.st_mode) else status.st_size))

        monkeypatch.setattr(os, name, sync)
    return asked


def state_of(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_ino, 0 if path.is_dir() else status.st_size


def test_a_message_is_acknowledged_after_the_system_synced_the_whole_journal(
    open_folder: Opener, folder: Path, synced: list[tuple[int, int]]
) -> None:
    store = open_folder(Files())
    alice = store.users.add(a_user("alice"))
    chat = store.chats.add(a_chat(alice.id))

    for text in ("one", "two"):
        store.chats.add_messages(alice.id, chat.id, [a_message(text)])
        assert synced[-1] == state_of(max(folder.glob("journal/*")))


def test_a_checkpoint_is_done_when_the_system_synced_both_files_and_their_names(
    open_folder: Opener, folder: Path, synced: list[tuple[int, int]]
) -> None:
    store = open_folder(Files())
    store.users.add(a_user("alice"))
    synced.clear()

    store.checkpoint()

    assert {state_of(folder / "users.json"), state_of(folder / "chats.json")} <= set(synced)
    assert state_of(folder / "journal") in synced
    assert synced[-2:] == [state_of(folder), state_of(folder / "previous")]


def test_a_small_file_and_its_name_are_synced(folder: Path, synced: list[tuple[int, int]]) -> None:
    Files().make_folder(folder)

    write_aside(Files(), folder / "note", b"whole")

    assert synced[-1] == state_of(folder)
    assert state_of(folder / "note") in synced


def test_an_empty_file_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    files = Files()
    before = os.umask(0)
    try:
        files.close(files.create(tmp_path / "new"))
    finally:
        os.umask(before)

    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        files.create(tmp_path / "new")
