"""A data folder, and stores over it that write their files only when a test asks for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatapp.storage.files import Files
from chatapp.storage.json_store import JsonStore, open_store
from tests.fakes.files import FaultyFiles

Opener = Callable[..., JsonStore]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def files() -> FaultyFiles:
    return FaultyFiles()


@pytest.fixture
def open_folder(folder: Path) -> Iterator[Opener]:
    """Open the folder; a store that is still open at the end of the test is closed."""
    opened: list[JsonStore] = []

    def open_it(files: Files | None = None, *, checkpoint_after_s: float = math.inf) -> JsonStore:
        opened.append(open_store(folder, files=files, checkpoint_after_s=checkpoint_after_s))
        return opened[-1]

    yield open_it
    for store in opened:
        store.close()
