"""What a restore and a copy do with journals that are not as long as they were."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chatapp.errors import StoreDamaged
from chatapp.storage.files import Files, copy_file
from chatapp.storage.layout import Layout
from chatapp.storage.maintenance import backup
from chatapp.storage.maintenance.backup import back_up
from chatapp.storage.maintenance.restore import restore
from tests.memory_folder import memory_folder
from tests.records import a_chat, a_message, a_user
from tests.unit.storage.killed import contents, lay_out, reopened, stored_texts


@pytest.fixture
def quick() -> Iterator[Path]:
    with memory_folder() as folder:
        yield folder


def a_killed_folder(folder: Path, *texts: str) -> Path:
    """Have a data folder go on with a journal file for each text; the last text is only there."""
    with reopened(folder) as store:
        alice = store.users.by_name("alice") or store.users.add(a_user("alice"))
        chats = store.chats.list(alice.id) or [store.chats.add(a_chat(alice.id))]
        for text in texts:
            store.checkpoint()
            store.chats.add_messages(alice.id, chats[0].id, [a_message(text)])
        left = contents(folder)
    lay_out(folder, left)
    return folder


def test_what_came_after_a_backup_does_not_come_back_from_the_journal(quick: Path) -> None:
    data = a_killed_folder(quick / "data", "one")
    back_up(Files(), Layout(data), quick / "copy")
    a_killed_folder(data, "two", "three", "four")

    _, kept = restore(Files(), Layout(data), quick / "copy")

    with reopened(data) as restored:
        assert stored_texts(restored) == ["one"]
        assert restored.notices == []
    with reopened(kept) as replaced:
        assert stored_texts(replaced) == ["one", "two", "three", "four"]


def test_a_copy_that_lacks_a_record_which_was_there_is_refused(
    quick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = a_killed_folder(quick / "data", "one", "two")

    def copy_less(files: Files, source: int, target: Path) -> None:
        copy_file(files, source, target)
        if target.suffix == ".jsonl":
            lines = target.read_bytes().splitlines(keepends=True)
            target.write_bytes(b"".join(lines[:-1]))

    monkeypatch.setattr(backup, "copy_file", copy_less)

    with pytest.raises(StoreDamaged, match="does not reach record"):
        back_up(Files(), Layout(data), quick / "copy")
    assert not (quick / "copy").exists()
