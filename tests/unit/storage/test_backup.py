"""A backup is a whole data folder with everything that was acknowledged before it began, and disturbs nobody."""

from __future__ import annotations

import errno
import itertools
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from chatapp.errors import Conflict, NotFound, StorageFailed, StoreDamaged
from chatapp.storage.files import Files
from chatapp.storage.journal import generation_path
from chatapp.storage.json_store import JsonStore
from chatapp.storage.layout import Layout
from chatapp.storage.maintenance.backup import back_up
from tests.fakes.files import FaultyFiles, error
from tests.memory_folder import memory_folder
from tests.records import a_chat, a_message, a_user
from tests.unit.storage.conftest import Opener
from tests.unit.storage.killed import contents, reopened, stored_texts
from tests.unit.storage.load import under_load
from tests.unit.storage.stops import Killed, stopped_at_every_call

ALICE, CHAT = "alice-id", "chat-id"
COPIES = 10


def fill(store: JsonStore, *texts: str) -> None:
    """Store messages in the one chat of the one user."""
    if not store.users.all():
        store.users.add(a_user("alice", id=ALICE))
        store.chats.add(a_chat(ALICE, id=CHAT))
    for text in texts:
        store.chats.add_messages(ALICE, CHAT, [a_message(text)])


@pytest.fixture
def quick() -> Iterator[Path]:
    with memory_folder() as folder:
        yield folder


def texts_in(folder: Path) -> list[str]:
    with reopened(folder) as store:
        assert store.notices == []
        return stored_texts(store)


def test_a_copy_of_a_running_server_holds_what_is_only_in_the_journal(
    folder: Path, open_folder: Opener, tmp_path: Path
) -> None:
    store = open_folder()
    fill(store, "one")
    store.checkpoint()
    fill(store, "two")
    before = contents(folder)

    back_up(Files(), Layout(folder), tmp_path / "copy")

    assert contents(folder) == before
    assert texts_in(tmp_path / "copy") == ["one", "two"]


def test_a_copy_is_closed_to_others_and_holds_nothing_but_the_data(
    folder: Path, open_folder: Opener, tmp_path: Path
) -> None:
    fill(open_folder(), "one")
    for name in ("secret.key", "setup-code", "ollama.log"):
        (folder / name).write_text("s" * 64)
    (folder / "engine").mkdir()

    back_up(Files(), Layout(folder), tmp_path / "copy")

    copy = tmp_path / "copy"
    assert {path.name for path in copy.iterdir()} == {
        "users.json", "chats.json", "journal", "secret.key", "setup-code",
    }  # fmt: skip
    assert (copy / "secret.key").read_text() == "s" * 64
    assert copy.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in copy.rglob("*") if path.is_file()} == {0o600}


def test_an_empty_folder_is_taken(folder: Path, open_folder: Opener, tmp_path: Path) -> None:
    fill(open_folder(), "one")
    (tmp_path / "copy").mkdir()

    back_up(Files(), Layout(folder), tmp_path / "copy")

    assert texts_in(tmp_path / "copy") == ["one"]


def test_a_folder_in_use_is_left_as_it_is(folder: Path, open_folder: Opener, tmp_path: Path) -> None:
    fill(open_folder(), "one")
    (tmp_path / "file").write_text("mine")
    before = contents(folder)

    for target in (tmp_path, folder, tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(Conflict, match="Name "):
            back_up(Files(), Layout(folder), target)

    assert (tmp_path / "file").read_text() == "mine"
    assert contents(folder) == before


def test_without_data_there_is_no_copy(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is no data in "):
        back_up(Files(), Layout(tmp_path), tmp_path / "copy")

    assert not (tmp_path / "copy").exists()


def test_damage_is_told_of_the_data_folder_and_no_copy_stays(
    folder: Path, open_folder: Opener, tmp_path: Path
) -> None:
    store = open_folder()
    fill(store, "one")
    store.close()
    users = folder / "users.json"
    users.write_bytes(users.read_bytes()[:-9])

    with pytest.raises(StoreDamaged) as refused:
        back_up(Files(), Layout(folder), tmp_path / "copy")

    assert refused.value.message.startswith(f"No copy was made. {users} is damaged at byte ")
    assert not (tmp_path / "copy").exists()


def test_what_is_being_written_at_that_moment_is_left_out(
    folder: Path, open_folder: Opener, tmp_path: Path
) -> None:
    fill(open_folder(), "one")
    journal = max((folder / "journal").iterdir())
    with journal.open("ab") as file:
        file.write(b'{"n":99,"b":99,"t":"2026-')

    back_up(Files(), Layout(folder), tmp_path / "copy")

    assert texts_in(tmp_path / "copy") == ["one"]
    assert b"2026-" not in (tmp_path / "copy/journal" / journal.name).read_bytes()[-20:]


def test_checkpoints_that_take_the_files_away_meanwhile_make_it_begin_again(
    folder: Path, open_folder: Opener, tmp_path: Path
) -> None:
    store = open_folder()
    fill(store, "one")
    files, times = FaultyFiles(), itertools.count()

    def swap(call: str, name: str) -> None:
        if (call, name) == ("names", "journal") and next(times) < 2:
            fill(store, "more")
            store.checkpoint()
            for old in sorted((folder / "journal").iterdir())[:-1]:
                old.unlink()

    files.fault = swap

    back_up(files, Layout(folder), tmp_path / "copy")

    assert texts_in(tmp_path / "copy") == ["one", "more", "more"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EIO])
def test_a_disk_that_fails_leaves_no_half_copy(quick: Path, number: int) -> None:
    with reopened(quick / "data") as store:
        fill(store, "one")
        store.checkpoint()
        fill(store, "two")
        before, told = contents(quick / "data"), []

        for files in stopped_at_every_call(lambda: error(number)):
            try:
                back_up(files, Layout(quick / "data"), quick / "copy")
            except StorageFailed as refused:
                told.append(refused.message)
                assert not (quick / "copy").exists()
            else:
                assert texts_in(quick / "copy") == ["one", "two"]
                shutil.rmtree(quick / "copy")
            assert contents(quick / "data") == before

    assert len(told) > 20
    assert [each for each in told if "\n" in each or not each.startswith("No copy was made: ")] == []


@pytest.mark.parametrize("has_checkpoint", [True, False])
def test_a_copy_that_was_killed_is_whole_or_refused(quick: Path, has_checkpoint: bool) -> None:
    with reopened(quick / "data") as store:
        fill(store, "one")
        if has_checkpoint:
            store.checkpoint()
        fill(store, "two")
        found = []

        for files in stopped_at_every_call(Killed):
            with suppress(Killed):
                back_up(files, Layout(quick / "data"), quick / "copy")
            found.append(what_opens(quick / "copy"))
            shutil.rmtree(quick / "copy", ignore_errors=True)

    assert len(found) > 20
    assert set(found) == {(), None, ("one", "two")}


def what_opens(folder: Path) -> tuple[str, ...] | None:
    """Return the texts in a copy, ``()`` while there is no file in it, ``None`` when it is refused."""
    if not any(path.is_file() for path in folder.rglob("*")):
        return ()
    try:
        return tuple(texts_in(folder))
    except StoreDamaged:
        return None


def test_ten_copies_under_load_hold_everything_that_was_acknowledged_before_each(quick: Path) -> None:
    with under_load(quick / "data") as acknowledged:
        for number in range(COPIES):
            known = list(acknowledged)
            back_up(FaultyFiles(syncs=False), Layout(quick / "data"), quick / f"copy-{number}")
            texts = texts_in(quick / f"copy-{number}")
            assert set(known) - set(texts) == set()
            assert len(texts) == len(set(texts))

    assert len(acknowledged) > COPIES


def test_only_the_journal_that_is_needed_is_copied(folder: Path, open_folder: Opener, tmp_path: Path) -> None:
    store = open_folder()
    for text in ("one", "two", "three"):
        fill(store, text)
        store.checkpoint()

    back_up(Files(), Layout(folder), tmp_path / "copy")

    newest = max(int(path.stem) for path in (folder / "journal").iterdir())
    assert list((tmp_path / "copy/journal").iterdir()) == [generation_path(tmp_path / "copy/journal", newest)]
