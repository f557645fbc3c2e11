"""The measurements can be started, and the page about them knows them all."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SHARED = {"__init__", "measured", "token_source"}
NAMES = sorted(path.stem for path in (ROOT / "bench").glob("*.py") if path.stem not in SHARED)


@pytest.mark.parametrize("name", NAMES)
def test_a_measurement_can_be_started_by_its_name(name: str) -> None:
    assert callable(importlib.import_module(f"bench.{name}").main)


@pytest.mark.parametrize("page", ["bench/README.md", "docs/BENCHMARKS.md"])
def test_the_pages_name_every_measurement_and_no_other(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")

    assert set(re.findall(r"python -m bench\.(\w+)", text)) == set(NAMES)
