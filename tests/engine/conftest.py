from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.process import EngineProcess
from tests.models import copy_of_small_model


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    """One engine with the small model for all tests that leave it as it was."""
    process = EngineProcess(copy_of_small_model(tmp_path_factory.mktemp("models")))
    yield process
    process.stop()


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
