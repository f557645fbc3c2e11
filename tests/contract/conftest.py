"""Every test of the stores' contract runs on each of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatapp.storage.base import Store
from chatapp.storage.json_store import open_store
from chatapp.storage.memory import MemoryStore


@pytest.fixture(params=["memory", "json"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    makers: dict[str, Callable[[], Store]] = {
        "memory": MemoryStore,
        "json": lambda: open_store(tmp_path / "data", checkpoint_after_s=math.inf),
    }
    store = makers[request.param]()
    yield store
    store.close()
