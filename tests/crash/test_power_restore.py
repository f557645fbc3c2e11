"""The plug is pulled while a folder is copied, restored or repaired: whatever the disk kept, it is the old or the new.

``pytest tests/crash/test_power_restore.py --states 50000`` for the long run; ``--seed`` repeats its choices.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from chatapp.errors import NotFound, StoreDamaged
from chatapp.storage.files import Files, read_whole, write_new
from chatapp.storage.json_store import open_store
from chatapp.storage.layout import Layout
from chatapp.storage.maintenance.backup import back_up
from chatapp.storage.maintenance.restore import restore
from chatapp.storage.maintenance.salvage import salvage
from tests.crash.disk import SimulatedDisk
from tests.crash.power import ALICE, DATA, Picture, picture_of
from tests.records import a_chat, a_message, a_user

pytestmark = pytest.mark.crash

SOURCE, BACKUP = DATA.with_name("source"), DATA.with_name("backup")
MOST_WHOLE_STATES = 256
"""Up to so many disks that a moment may leave are all tried."""
SHARE = 20
"""One state for so many of ``--states``: three works share what one workload of the store may take."""


def fill(disk: SimulatedDisk, folder: Path, *texts: str) -> Picture:
    """Make a store whose last message is only in the journal, and return what it shows."""
    store = open_store(folder, files=disk, checkpoint_after_s=math.inf)
    store.users.add(a_user(texts[0], id=ALICE))
    chat = store.chats.add(a_chat(ALICE))
    for text in texts:
        store.checkpoint()
        store.chats.add_messages(ALICE, chat.id, [a_message(text)])
    picture = picture_of(store)
    write_new(disk, folder / "secret.key", (texts[0] * 32).encode())
    disk.forget_descriptors()
    return picture


def shown(disk: SimulatedDisk, folder: Path) -> Picture | None:
    """Start on a folder and return what it shows; ``None`` when it is refused."""
    try:
        store = open_store(folder, files=disk, checkpoint_after_s=math.inf)
    except StoreDamaged:
        return None
    picture = picture_of(store)
    store.close()
    return picture


def cut_everywhere(
    disk: SimulatedDisk,
    work: Callable[[Files], object],
    judge: Callable[[SimulatedDisk, bool], str],
    states: int,
    chance: random.Random,
) -> set[str]:
    """Do the work, then open disks that a cut at any moment of it, or just after it, may leave."""
    start = len(disk.moments)
    work(disk)
    moments = disk.moments[start:]
    verdicts, seen = set(), set()
    for place, moment in enumerate(moments):
        is_last = place == len(moments) - 1
        some = (moment.after_power_cut(chance) for _ in range(max(1, states // len(moments))))
        for left in (*moment.whole_power_cuts(MOST_WHOLE_STATES), *some):
            if (left.fingerprint(), is_last) not in seen:
                seen.add((left.fingerprint(), is_last))
                verdicts.add(judge(left, is_last))
    print(f"{len(seen)} disks after {len(moments)} moments: {sorted(verdicts)}")
    return verdicts


def test_a_restore_leaves_the_old_or_the_new(states: int, chance: random.Random) -> None:
    disk = SimulatedDisk()
    old, new = fill(disk, DATA, "old", "older"), fill(disk, SOURCE, "new", "newer")
    back_up(disk, Layout(SOURCE), BACKUP)

    def judge(left: SimulatedDisk, is_done: bool) -> str:
        picture = shown(left, DATA)
        key = read_whole(left, DATA / "secret.key")
        assert (picture, key[:3]) in ((new, b"new"), *[(old, b"old")] * (not is_done))
        assert left.names(DATA / "restoring") == []
        return "new" if picture == new else "old"

    found = cut_everywhere(
        disk, lambda files: restore(files, Layout(DATA), BACKUP), judge, states // SHARE, chance
    )

    assert found == {"old", "new"}


def test_a_repair_leaves_the_damage_or_the_repaired(states: int, chance: random.Random) -> None:
    disk = SimulatedDisk()
    whole = fill(disk, DATA, "old", "older")
    fd = disk.open(DATA / "users.json", writable=True)
    disk.write(fd, b"X", 2)
    disk.sync(fd)
    disk.close(fd)

    def judge(left: SimulatedDisk, is_done: bool) -> str:
        picture = shown(left, DATA)
        if picture is None:
            assert not is_done
            salvage(left, Layout(DATA))
        assert (picture or shown(left, DATA)) == whole
        return "damaged" if picture is None else "repaired"

    found = cut_everywhere(disk, lambda files: salvage(files, Layout(DATA)), judge, states // SHARE, chance)

    assert found == {"damaged", "repaired"}


def test_a_copy_is_whole_or_refused(states: int, chance: random.Random) -> None:
    disk = SimulatedDisk()
    whole = fill(disk, DATA, "old", "older")

    def judge(left: SimulatedDisk, is_done: bool) -> str:
        try:
            restore(left, Layout(SOURCE), BACKUP)
        except (StoreDamaged, NotFound):
            assert not is_done
            return "refused"
        assert shown(left, SOURCE) == whole
        return "whole"

    found = cut_everywhere(
        disk, lambda files: back_up(files, Layout(DATA), BACKUP), judge, states // SHARE, chance
    )

    assert found == {"refused", "whole"}
