"""A restore puts a whole backup in place of what is there: the one or the other after a crash, never a mixture."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from chatapp.errors import Conflict, NotFound, StorageFailed, StoreDamaged, StoreLocked
from chatapp.storage.files import Files
from chatapp.storage.layout import Layout
from chatapp.storage.maintenance.backup import back_up
from chatapp.storage.maintenance.restore import finish_restore, restore
from tests.fakes.files import FaultyFiles, error
from tests.memory_folder import memory_folder
from tests.records import a_chat, a_message, a_user
from tests.unit.storage.killed import contents, lay_out, reopened, stored_texts
from tests.unit.storage.stops import Killed, stopped_at_every_call

OLD_KEY, NEW_KEY = "o" * 64, "n" * 64


@pytest.fixture
def quick() -> Iterator[Path]:
    with memory_folder() as folder:
        yield folder


def a_folder(folder: Path, key: str, *texts: str) -> Path:
    """Make a data folder whose last message is only in the journal, as a killed server leaves it."""
    with reopened(folder) as store:
        alice = store.users.add(a_user(f"alice-{texts[0]}"))
        chat = store.chats.add(a_chat(alice.id))
        for text in texts:
            store.checkpoint()
            store.chats.add_messages(alice.id, chat.id, [a_message(text)])
        left = contents(folder)
    lay_out(folder, {**left, "secret.key": key.encode()})
    return folder


def state(folder: Path) -> tuple[str, ...]:
    """Return the names, texts and key of a folder, opened as a start opens it."""
    with reopened(folder) as store:
        names = [user.username for user in store.users.all()]
        return (*names, *stored_texts(store), (folder / "secret.key").read_text())


OLD = ("alice-old", "old", "older", OLD_KEY)
NEW = ("alice-new", "new", "newer", NEW_KEY)


@pytest.fixture
def data(quick: Path) -> Path:
    return a_folder(quick / "data", OLD_KEY, "old", "older")


@pytest.fixture
def backup(quick: Path) -> Path:
    source = a_folder(quick / "source", NEW_KEY, "new", "newer")
    back_up(FaultyFiles(syncs=False), Layout(source), quick / "backup")
    return quick / "backup"


def test_a_backup_takes_the_place_of_what_is_there_and_that_is_kept(data: Path, backup: Path) -> None:
    before = contents(data)

    _, kept = restore(Files(), Layout(data), backup)

    assert kept.parent == data / "backups"
    assert contents(kept) == before
    assert list((data / "previous").iterdir()) == []
    assert state(data) == NEW
    assert state(kept) == OLD
    assert {path.name for path in data.iterdir()} == {
        "users.json", "chats.json", "journal", "previous", "secret.key", "backups", "store.lock",
    }  # fmt: skip


@pytest.mark.parametrize("is_there", [True, False])
def test_a_backup_moves_to_a_new_machine(quick: Path, backup: Path, is_there: bool) -> None:
    if is_there:
        (quick / "elsewhere").mkdir()

    restore(Files(), Layout(quick / "elsewhere"), backup)

    assert state(quick / "elsewhere") == NEW
    assert (quick / "elsewhere/secret.key").stat().st_mode & 0o777 == 0o600
    assert not (quick / "elsewhere/backups").exists()


def test_a_plain_copy_of_a_folder_can_be_restored(data: Path, quick: Path) -> None:
    a_folder(quick / "copied", NEW_KEY, "new", "newer")

    restore(Files(), Layout(data), quick / "copied")

    assert state(data) == NEW


def test_a_restore_can_be_taken_back(data: Path, backup: Path) -> None:
    _, kept = restore(Files(), Layout(data), backup)

    restore(Files(), Layout(data), kept)

    assert state(data) == OLD


def test_a_copy_that_was_never_finished_is_refused(data: Path, backup: Path) -> None:
    before = contents(data)
    (backup / "users.json").rename(backup / "users.json.unfinished")

    with pytest.raises(StoreDamaged, match="is a copy that was not finished"):
        restore(Files(), Layout(data), backup)

    assert contents(data) == before


def test_a_backup_is_left_as_it_is(data: Path, backup: Path) -> None:
    before = contents(backup)

    restore(Files(), Layout(data), backup)

    assert contents(backup) == before


def test_beside_a_running_server_nothing_is_done(data: Path, backup: Path) -> None:
    with reopened(data):
        before = contents(data)

        with pytest.raises(StoreLocked, match="Stop that one first"):
            restore(Files(), Layout(data), backup)

        assert contents(data) == before


def test_a_damaged_backup_changes_nothing(data: Path, backup: Path) -> None:
    users, before = backup / "users.json", contents(data)
    users.write_bytes(users.read_bytes()[:-9])

    with pytest.raises(StoreDamaged) as refused:
        restore(Files(), Layout(data), backup)

    assert refused.value.message.startswith(f"Nothing was restored: {users} is damaged at byte ")
    assert refused.value.message.endswith(". Try another backup.")
    assert contents(data) == before


def test_what_is_no_backup_is_refused(data: Path, quick: Path) -> None:
    before = contents(data)

    with pytest.raises(NotFound, match="There is no data in "):
        restore(Files(), Layout(data), quick)
    with pytest.raises(Conflict, match="is the data folder itself"):
        restore(Files(), Layout(data), data)

    assert contents(data) == before


def test_a_missing_backup_makes_no_data_folder(quick: Path) -> None:
    with pytest.raises(NotFound):
        restore(Files(), Layout(quick / "elsewhere"), quick / "nowhere")

    assert not (quick / "elsewhere").exists()


@pytest.mark.parametrize("name", ["users.json", "chats.json"])
def test_a_symbolic_link_is_refused(data: Path, backup: Path, quick: Path, name: str) -> None:
    shutil.move(data / name, quick / "away.json")
    (data / name).symlink_to(quick / "away.json")

    with pytest.raises(Conflict, match="is a symbolic link"):
        restore(Files(), Layout(data), backup)

    assert state(data) == OLD


def test_a_killed_restore_leaves_the_old_or_the_new(quick: Path, data: Path, backup: Path) -> None:
    before, found = contents(data), []

    for files in stopped_at_every_call(Killed):
        lay_out(data, before)
        with suppress(Killed):
            restore(files, Layout(data), backup)
        found.append(state(data))
        assert [path.name for path in data.iterdir() if path.name.startswith("restoring")] == []

    assert set(found) == {OLD, NEW}
    assert found == sorted(found, key=lambda each: each == NEW)


def test_a_start_that_is_killed_while_it_finishes_a_restore_is_finished_by_the_next(
    quick: Path, data: Path, backup: Path
) -> None:
    before, left = contents(data), []
    for files in stopped_at_every_call(Killed):
        lay_out(data, before)
        with suppress(Killed):
            restore(files, Layout(data), backup)
        if (data / "restoring").exists():
            left.append(contents(data))

    for number in (0, len(left) // 2, len(left) - 1):
        for files in stopped_at_every_call(Killed):
            lay_out(data, left[number])
            with suppress(Killed):
                finish_restore(files, Layout(data))
            assert state(data) == NEW
            [kept] = (data / "backups").iterdir()
            assert state(kept) == OLD


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_a_disk_that_fails_leaves_the_old_or_the_new(data: Path, backup: Path, number: int) -> None:
    before, told, found = contents(data), [], []

    for files in stopped_at_every_call(lambda: error(number)):
        lay_out(data, before)
        try:
            restore(files, Layout(data), backup)
        except StorageFailed as refused:
            told.append(refused.message)
        found.append(state(data))

    assert set(found) == {OLD, NEW}
    assert [each for each in told if "\n" in each] == []
    assert len(told) > 40


class UnreadableFile(FaultyFiles):
    """A file system without hard links, on which one file cannot be read any more."""

    def __init__(self, path: Path) -> None:
        super().__init__(syncs=False)
        self._bad = self.identity(path)[:2]

    def link(self, source: Path, target: Path) -> None:
        raise error(errno.EPERM)

    def read(self, fd: int, length: int, offset: int) -> bytes:
        if self.identity(fd)[:2] == self._bad:
            raise error(errno.EIO)
        return super().read(fd, length, offset)


@pytest.mark.parametrize("name", ["users.json", "chats.json"])
def test_a_file_that_cannot_be_read_any_more_does_not_keep_a_restore_from_its_end(
    data: Path, backup: Path, name: str
) -> None:
    number = (data / name).stat().st_ino

    _, replaced = restore(UnreadableFile(data / name), Layout(data), backup)

    assert (replaced / name).stat().st_ino == number
    assert not (data / "restoring").exists()
    with reopened(data) as after, reopened(backup) as wanted:
        assert stored_texts(after) == stored_texts(wanted)


def test_a_folder_in_place_of_a_file_does_not_keep_a_restore_from_its_end(data: Path, backup: Path) -> None:
    (data / "chats.json").unlink()
    (data / "chats.json").mkdir()

    _, replaced = restore(FaultyFiles(syncs=False), Layout(data), backup)

    assert (replaced / "chats.json").is_dir()
    with reopened(data) as after, reopened(backup) as wanted:
        assert stored_texts(after) == stored_texts(wanted)


def test_no_copy_is_made_of_a_folder_in_the_middle_of_a_restore(data: Path, quick: Path) -> None:
    (data / "restoring").mkdir()

    with pytest.raises(Conflict, match=r"A restore of .* was interrupted"):
        back_up(Files(), Layout(data), quick / "copy")
