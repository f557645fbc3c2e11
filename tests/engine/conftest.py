from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.package_index import PackageIndex
from tests.engine.process import EngineProcess
from tests.models import copy_of_small_model


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    """One engine with the small model for all tests that leave it as it was."""
    process = EngineProcess(copy_of_small_model(tmp_path_factory.mktemp("models")))
    yield process
    process.stop()


@pytest.fixture
def start_engine() -> Iterator[Callable[..., EngineProcess]]:
    """Starts engines, and ends them after the test, however it went."""
    started: list[EngineProcess] = []

    def start(*arguments: Any) -> EngineProcess:
        started.append(EngineProcess(*arguments))
        return started[-1]

    yield start
    for process in started:
        process.stop()


@pytest.fixture
def index_of() -> Iterator[Callable[[int], PackageIndex]]:
    """Starts package indexes, and ends them after the test."""
    started: list[PackageIndex] = []

    def start(size_bytes: int) -> PackageIndex:
        started.append(PackageIndex(size_bytes))
        return started[-1]

    yield start
    for index in started:
        index.close()


@pytest.fixture
def own_engine(tmp_path: Path) -> Iterator[EngineProcess]:
    """An engine with the small model for one test."""
    process = EngineProcess(copy_of_small_model(tmp_path / "models"))
    yield process
    process.stop()


@pytest.fixture
def empty_engine(tmp_path: Path) -> Iterator[EngineProcess]:
    """An engine without any model."""
    process = EngineProcess(tmp_path / "models")
    yield process
    process.stop()
