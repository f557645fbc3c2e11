"""The simulated disk itself: what it shows, and what a power cut may leave of it."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from chatapp.storage.files import Files, read_whole, write_aside, write_new
from tests.crash.disk import Moment, SimulatedDisk
from tests.crash.pages import PAGE_BYTES
from tests.fakes.files import error, no_fault

ROOT = Path("/")
FILE = ROOT / "file"
TRIES = 400

Seen = TypeVar("Seen")


def a_disk(content: bytes = b"") -> tuple[SimulatedDisk, int]:
    """Return a disk with one file that holds this for certain, and its descriptor."""
    disk = SimulatedDisk()
    write_new(disk, FILE, content)
    return disk, disk.open(FILE, writable=True)


def now(disk: SimulatedDisk) -> Moment:
    return disk.moments[-1]


def possible(disk: SimulatedDisk, look: Callable[[SimulatedDisk], Seen]) -> set[Seen]:
    """Return all that somebody may see after a power cut now."""
    chance = random.Random(5)  # noqa: S311 - cases, not secrets
    return {look(now(disk).after_power_cut(chance)) for _ in range(TRIES)}


def content(disk: SimulatedDisk) -> bytes:
    return read_whole(disk, FILE)


def names(disk: SimulatedDisk) -> tuple[str, ...]:
    return tuple(disk.names(ROOT))


def names_with_contents(disk: SimulatedDisk) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, read_whole(disk, ROOT / name)) for name in disk.names(ROOT))


def test_every_call_of_the_real_file_system_is_simulated() -> None:
    composed = {"make_folder"}
    calls = {name for name in vars(Files) if not name.startswith("_")} - composed

    assert calls <= vars(SimulatedDisk).keys()


# --- what programs see -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["real", "simulated"])
def test_programs_see_the_same_as_on_a_real_disk(kind: str, tmp_path: Path) -> None:
    files, folder = (Files(), tmp_path) if kind == "real" else (SimulatedDisk(), ROOT)
    inner = folder / "one" / "two"
    files.make_folder(inner)
    files.make_folder(inner)

    fd = files.create(inner / "a")
    assert [files.write(fd, b"0123456789", 5), files.size_bytes(fd)] == [10, 15]
    assert files.read(fd, 100, 3) == b"\0\0" + b"0123456789"
    files.cut(fd, 7)
    files.write(fd, b"XY", 1)
    files.sync(fd)
    assert read_whole(files, inner / "a") == b"\0XY\0\0" + b"01"
    before = files.identity(fd)
    assert files.identity(inner / "a") == before
    assert before[2] == 7

    files.link(inner / "a", inner / "b")
    write_aside(files, inner / "a", b"new")
    assert files.identity(inner / "b")[:2] == before[:2]
    assert files.identity(inner / "a")[:2] != before[:2]
    assert files.names(inner) == ["a", "b"]
    files.remove(inner / "a")
    files.remove(inner / "a")
    assert files.names(inner) == ["b"]
    assert files.names(folder / "nothing") == []
    assert [files.exists(inner / "a"), files.exists(inner)] == [False, True]


@pytest.mark.parametrize("kind", ["real", "simulated"])
def test_programs_are_refused_the_same_as_on_a_real_disk(kind: str, tmp_path: Path) -> None:
    files, folder = (Files(), tmp_path) if kind == "real" else (SimulatedDisk(), ROOT)
    write_new(files, folder / "a", b"a")
    files.make_folder(folder / "full")
    write_new(files, folder / "full" / "b", b"b")
    refusals: list[tuple[type[OSError], Callable[[], object]]] = [
        (FileExistsError, lambda: files.create(folder / "a")),
        (FileExistsError, lambda: files.link(folder / "a", folder / "full" / "b")),
        (FileNotFoundError, lambda: files.open(folder / "c")),
        (FileNotFoundError, lambda: files.rename(folder / "c", folder / "d")),
        (FileNotFoundError, lambda: files.identity(folder / "c")),
        (FileNotFoundError, lambda: files.create(folder / "nowhere" / "c")),
        (NotADirectoryError, lambda: files.sync_folder(folder / "a")),
        (IsADirectoryError, lambda: read_whole_folder(files, folder)),
    ]

    for refusal, call in refusals:
        with pytest.raises(refusal):
            call()
    with pytest.raises(OSError, match="not empty"):
        files.remove_folder(folder / "full")
    files.remove(folder / "full" / "b")
    files.remove_folder(folder / "full")
    assert files.names(folder) == ["a"]


def read_whole_folder(files: Files, folder: Path) -> bytes:
    return files.read(files.open(folder), 10, 0)


@pytest.mark.parametrize("kind", ["real", "simulated"])
def test_a_lock_is_held_until_its_descriptor_is_closed(kind: str, tmp_path: Path) -> None:
    files, folder = (Files(), tmp_path) if kind == "real" else (SimulatedDisk(), ROOT)
    write_new(files, folder / "lock", b"")
    first, second = files.open(folder / "lock"), files.open(folder / "lock")

    assert [files.lock(first), files.lock(first), files.lock(second)] == [True, True, False]
    files.close(first)
    assert files.lock(second)
    files.close(second)


# --- what a power cut may leave of a file ----------------------------------------------------------------------


def test_what_was_synced_stays() -> None:
    disk, fd = a_disk(b"old")
    disk.write(fd, b"new", 0)
    disk.sync(fd)

    assert possible(disk, content) == {b"new"}
    assert now(disk).unsure == 0


def test_a_write_may_be_lost_kept_torn_or_zeros() -> None:
    disk, fd = a_disk(b"old")
    disk.write(fd, b"new", 3)

    assert possible(disk, content) == {b"old", b"oldn", b"oldne", b"oldnew", b"old\0\0\0"}


def test_later_pages_may_be_there_without_earlier_ones() -> None:
    disk, fd = a_disk(b"." * PAGE_BYTES)
    disk.write(fd, b"A" * PAGE_BYTES + b"B" * PAGE_BYTES, 0)

    left = possible(disk, content)
    assert b"." * PAGE_BYTES + b"B" * PAGE_BYTES in left
    assert b"A" * PAGE_BYTES + b"\0" * PAGE_BYTES in left


def test_of_two_writes_the_later_may_be_there_alone() -> None:
    disk, fd = a_disk()
    disk.write(fd, b"one", 0)
    disk.write(fd, b"two", 3)

    assert {b"", b"one", b"onetwo", b"\0\0\0two"} <= possible(disk, content)


def test_a_cut_may_be_lost_while_what_follows_is_kept() -> None:
    disk, fd = a_disk(b"old and long")
    disk.cut(fd, 4)
    disk.write(fd, b"NEW", 4)

    assert {b"old and long", b"old ", b"old NEW", b"old NEW long"} <= possible(disk, content)


def test_after_a_failed_sync_no_later_one_keeps_what_it_should_have_written() -> None:
    disk, fd = a_disk(b"old")
    disk.write(fd, b"new", 3)
    disk.fault = lambda call, _: error(errno.EIO) if call == "sync" else None
    with pytest.raises(OSError, match="Input/output"):
        disk.sync(fd)
    disk.fault = no_fault

    disk.sync(fd)
    assert content(disk) == b"oldnew"
    assert b"old" in possible(disk, content)

    disk.write(fd, b"new", 3)
    disk.sync(fd)
    assert possible(disk, content) == {b"oldnew"}


# --- what a power cut may leave of the names -------------------------------------------------------------------


def test_a_file_without_a_synced_name_may_be_gone() -> None:
    disk = SimulatedDisk()
    fd = disk.create(FILE)
    disk.write(fd, b"x", 0)
    disk.sync(fd)

    assert possible(disk, names_with_contents) == {(), (("file", b"x"),)}
    disk.sync_folder(ROOT)
    assert possible(disk, names_with_contents) == {(("file", b"x"),)}


def test_each_name_of_a_rename_may_be_old_or_new() -> None:
    disk = SimulatedDisk()
    write_new(disk, FILE, b"old")
    write_new(disk, ROOT / "aside", b"new")
    disk.rename(ROOT / "aside", FILE)

    assert possible(disk, names_with_contents) == {
        (("aside", b"new"), ("file", b"old")),
        (("aside", b"new"), ("file", b"new")),
        (("file", b"old"),),
        (("file", b"new"),),
    }


def test_a_name_may_stand_for_anything_that_it_stood_for_since_the_last_sync() -> None:
    disk, _ = a_disk(b"first")
    disk.rename(FILE, ROOT / "away")
    write_new_without_sync(disk, b"second")

    left = {dict(each).get("file") for each in possible(disk, names_with_contents)}
    assert {b"first", None, b"second"} <= left


def write_new_without_sync(disk: SimulatedDisk, data: bytes) -> None:
    fd = disk.create(FILE)
    disk.write(fd, data, 0)
    disk.sync(fd)


def test_a_folder_without_a_synced_name_takes_all_in_it_along() -> None:
    disk = SimulatedDisk()
    disk.add_folder(ROOT / "folder")
    write_new(disk, ROOT / "folder" / "inside", b"x")

    assert possible(disk, names) == {(), ("folder",)}


def test_a_made_folder_stays() -> None:
    disk = SimulatedDisk()
    disk.make_folder(ROOT / "one" / "two")

    assert possible(disk, lambda left: left.exists(ROOT / "one" / "two")) == {True}


def test_a_second_name_shows_the_same_file() -> None:
    disk, fd = a_disk(b"x")
    disk.link(FILE, ROOT / "second")
    disk.sync_folder(ROOT)
    disk.write(fd, b"y", 0)

    for state in possible(disk, names_with_contents):
        assert len({each for _, each in state}) == 1


# --- many states at once ---------------------------------------------------------------------------------------


def test_all_whole_states_are_found_where_they_are_few() -> None:
    disk, fd = a_disk(b"a")
    disk.write(fd, b"b", 1)
    disk.rename(FILE, ROOT / "moved")

    states = {names_with_contents(each) for each in now(disk).whole_power_cuts(16)}

    assert states == {
        tuple(sorted((name, text) for name in kept))
        for kept in ([], ["file"], ["moved"], ["file", "moved"])
        for text in (b"a", b"ab")
    }
    assert list(now(disk).whole_power_cuts(7)) == []


def test_a_killed_process_leaves_all_that_it_wrote_and_no_lock() -> None:
    disk, fd = a_disk(b"x")
    assert disk.lock(fd)
    disk.write(fd, b"y", 1)

    left = now(disk).after_kill()

    assert content(left) == b"xy"
    assert left.lock(left.open(FILE))
    assert b"x" in possible(left, content)
    disk.forget_descriptors()
    assert disk.lock(disk.open(FILE))


def test_disks_with_the_same_names_and_bytes_have_the_same_fingerprint() -> None:
    first, second = a_disk(b"x")[0], a_disk(b"x")[0]
    other = a_disk(b"y")[0]

    assert first.fingerprint() == second.fingerprint() != other.fingerprint()


def test_a_moment_is_kept_before_and_after_each_change() -> None:
    disk, fd = a_disk(b"x")
    before = len(disk.moments)

    disk.read(fd, 1, 0)
    disk.write(fd, b"y", 0)
    disk.sync(fd)

    assert len(disk.moments) == before + 2
    assert disk.calls[-2:] == [("write", "file"), ("sync", "file")]
    assert [content(each.after_kill()) for each in disk.moments[-3:]] == [b"x", b"y", b"y"]
