"""A folder copied by hand under load opens with all that was acknowledged before, or is refused: never silently short.

``pytest tests/crash/test_copies.py --rounds 1000 -s`` for the long run, with the count of both.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from chatapp.errors import StoreDamaged
from chatapp.storage.backup import back_up
from chatapp.storage.layout import Layout
from tests.fakes.files import FaultyFiles
from tests.memory_folder import memory_folder
from tests.unit.storage.killed import reopened, stored_texts
from tests.unit.storage.load import under_load

pytestmark = pytest.mark.crash

FEWEST_WHOLE = 0.5


def missing(folder: Path, known: list[str]) -> set[str] | None:
    """Return which known texts a copy does not hold; ``None`` when it is refused. Raises for doubled ones."""
    try:
        with reopened(folder) as store:
            texts = stored_texts(store)
    except StoreDamaged:
        return None
    assert len(texts) == len(set(texts)), "doubled"
    return set(known) - set(texts)


@pytest.mark.timeout(0)
def test_a_copy_made_with_cp_is_whole_or_refused(rounds: int) -> None:
    whole = 0
    with memory_folder() as folder, under_load(folder / "data") as acknowledged:
        for _ in range(rounds):
            known = list(acknowledged)
            copied = subprocess.run(["cp", "-r", folder / "data", folder / "copy"], capture_output=True)
            found = missing(folder / "copy", known) if copied.returncode == 0 else None
            assert not found, f"{len(found or ())} acknowledged messages are missing from a copy that opens"
            whole += found is not None
            shutil.rmtree(folder / "copy", ignore_errors=True)
    print(f"{rounds} copies under load: {whole} whole, {rounds - whole} refused, none short")
    assert whole >= FEWEST_WHOLE * rounds


@pytest.mark.timeout(0)
def test_a_backup_is_always_whole(rounds: int) -> None:
    with memory_folder() as folder, under_load(folder / "data") as acknowledged:
        for number in range(rounds):
            known = list(acknowledged)
            back_up(FaultyFiles(syncs=False), Layout(folder / "data"), folder / "copy")
            assert missing(folder / "copy", known) == set(), f"backup {number}"
            shutil.rmtree(folder / "copy")
    print(f"{rounds} backups under load: all whole")
