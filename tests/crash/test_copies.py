"""A folder copied by hand under load opens with all that was acknowledged before, or is refused: never silently short.

``pytest tests/crash/test_copies.py --rounds 5000 -s`` for the long run, with the count of both.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatapp.errors import StoreDamaged
from chatapp.storage.layout import Layout
from chatapp.storage.maintenance.backup import back_up
from tests.fakes.files import FaultyFiles
from tests.memory_folder import memory_folder
from tests.unit.storage.killed import reopened, stored_texts
from tests.unit.storage.load import under_load

pytestmark = pytest.mark.crash

FEWEST_WHOLE = 0.5
ROUNDS_PER_FOLDER = 10


def missing(folder: Path, known: list[str]) -> set[str] | None:
    """Return which known texts a copy does not hold; ``None`` when it is refused. Raises for doubled ones."""
    try:
        with reopened(folder) as store:
            texts = stored_texts(store)
    except StoreDamaged:
        return None
    assert len(texts) == len(set(texts)), "doubled"
    return set(known) - set(texts)


@pytest.fixture
def copies(rounds: int) -> int:
    """One copy for so many of ``--rounds``: each is opened, and meanwhile the store grows."""
    return max(ROUNDS_PER_FOLDER, rounds // 10)


def folders(rounds: int) -> Iterator[tuple[Path, list[str]]]:
    """Give a folder under load and what was acknowledged there, for each round; a new folder every few rounds."""
    for first in range(0, rounds, ROUNDS_PER_FOLDER):
        with memory_folder() as folder, under_load(folder / "data") as acknowledged:
            for number in range(first, min(rounds, first + ROUNDS_PER_FOLDER)):
                yield folder, acknowledged
                shutil.rmtree(folder / "copy", ignore_errors=True)
                if number % 100 == 99:
                    print(f"{number + 1} rounds", flush=True)


@pytest.mark.timeout(0)
def test_a_copy_made_with_cp_is_whole_or_refused(copies: int) -> None:
    whole = 0
    for folder, acknowledged in folders(copies):
        known = list(acknowledged)
        copied = subprocess.run(["cp", "-r", folder / "data", folder / "copy"], capture_output=True)
        found = missing(folder / "copy", known) if copied.returncode == 0 else None
        assert not found, f"{len(found or ())} acknowledged messages are missing from a copy that opens"
        whole += found is not None
    print(f"{copies} copies under load: {whole} whole, {copies - whole} refused, none short")
    assert whole >= FEWEST_WHOLE * copies


@pytest.mark.timeout(0)
def test_a_backup_is_always_whole(copies: int) -> None:
    for folder, acknowledged in folders(copies):
        known = list(acknowledged)
        back_up(FaultyFiles(syncs=False), Layout(folder / "data"), folder / "copy")
        assert missing(folder / "copy", known) == set()
    print(f"{copies} backups under load: all whole")
