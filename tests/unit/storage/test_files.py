"""The calls to the file system that are made of several."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from chatapp.storage.files import Files, copy_file, read_whole, write_aside
from chatapp.storage.keeping import cut_off, keep_original
from chatapp.storage.layout import Layout
from tests.fakes.files import FaultyFiles, error


def calls(files: FaultyFiles, *names: str) -> list[tuple[str, str]]:
    return [step for step in files.calls if step[0] in names]


def test_folders_are_made_from_above_and_each_name_is_synced_before_the_next(
    tmp_path: Path, files: FaultyFiles
) -> None:
    files.make_folder(tmp_path / "one" / "two")

    assert calls(files, "add_folder", "sync_folder") == [
        ("sync_folder", tmp_path.parent.name),
        ("add_folder", "one"),
        ("sync_folder", tmp_path.name),
        ("add_folder", "two"),
        ("sync_folder", "one"),
    ]
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o700


def test_a_new_folder_is_never_open_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Path, "chmod")

    Files().make_folder(tmp_path / "one" / "two")

    assert (tmp_path / "one" / "two").stat().st_mode & 0o777 == 0o700


def test_the_name_of_a_folder_that_exists_is_synced_too(tmp_path: Path, files: FaultyFiles) -> None:
    (tmp_path / "one").mkdir()

    files.make_folder(tmp_path / "one")

    assert calls(files, "sync_folder") == [("sync_folder", tmp_path.name)]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS, errno.EINVAL])
def test_a_folder_above_that_cannot_be_synced_is_left_to_whom_it_belongs(
    tmp_path: Path, files: FaultyFiles, number: int
) -> None:
    files.fault = lambda call, _: error(number) if call == "sync_folder" else None

    files.make_folder(tmp_path / "one")

    assert (tmp_path / "one").is_dir()


def test_a_disk_that_fails_to_sync_a_name_is_an_error(tmp_path: Path, files: FaultyFiles) -> None:
    files.fault = lambda call, _: error(errno.EIO) if call == "sync_folder" else None

    with pytest.raises(OSError, match="Input/output"):
        files.make_folder(tmp_path / "one")


def test_a_file_is_written_aside_and_whole_under_its_name(tmp_path: Path, files: FaultyFiles) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    (tmp_path / "file.tmp").write_text("what a crash has left")

    write_aside(files, path, b"new")

    assert path.read_text() == "new"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    steps = calls(files, "sync", "rename", "sync_folder")
    assert steps == [
        ("sync", "file.tmp"),
        ("sync_folder", tmp_path.name),
        ("rename", "file.tmp"),
        ("sync_folder", tmp_path.name),
    ]


def test_a_copy_is_for_its_owner_only_and_durable(tmp_path: Path, files: FaultyFiles) -> None:
    (tmp_path / "file").write_bytes(b"x" * 3_000_000)
    source = files.open(tmp_path / "file")

    copy_file(files, source, tmp_path / "copy")

    assert read_whole(files, tmp_path / "copy") == b"x" * 3_000_000
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600
    assert ("sync", "copy") in files.calls
    with pytest.raises(FileExistsError):
        copy_file(files, source, tmp_path / "copy")
    files.close(source)


def test_a_cut_is_durable(tmp_path: Path, files: FaultyFiles) -> None:
    (tmp_path / "file").write_text("kept, cut")

    cut_off(files, tmp_path / "file", len("kept"))

    assert (tmp_path / "file").read_text() == "kept"
    assert calls(files, "cut", "sync") == [("cut", "file"), ("sync", "file")]


def test_an_original_is_durable_with_its_name(tmp_path: Path, files: FaultyFiles) -> None:
    (tmp_path / "chats.json").write_text("as it was found")

    kept = keep_original(files, Layout(tmp_path), tmp_path / "chats.json")

    assert (tmp_path / kept).read_text() == "as it was found"
    steps = calls(files, "sync", "rename", "sync_folder")
    assert steps[-3:] == [
        ("sync", "chats.json.tmp"),
        ("rename", "chats.json.tmp"),
        ("sync_folder", "backups"),
    ]
