"""The measurements can be started, and the page about them knows them all."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from bench import store

ROOT = Path(__file__).resolve().parent.parent.parent
SHARED = {"__init__", "measured", "store_folder", "store_opened", "store_rivals", "token_source"}
NAMES = sorted(path.stem for path in (ROOT / "bench").glob("*.py") if path.stem not in SHARED)


@pytest.mark.parametrize("name", NAMES)
def test_a_measurement_can_be_started_by_its_name(name: str) -> None:
    assert callable(importlib.import_module(f"bench.{name}").main)


@pytest.mark.parametrize("page", ["bench/README.md", "docs/BENCHMARKS.md"])
def test_the_pages_name_every_measurement_and_no_other(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")

    assert set(re.findall(r"python -m bench\.(\w+)", text)) == set(NAMES)


def test_the_store_is_measured_from_end_to_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["bench.store", "--quick"])

    store.main()

    table = capsys.readouterr().out
    for row in (
        "first look at the chat",
        "one writing thread",
        "whole JSON file",
        "journal",
        "checkpoint of",
        "MB",
    ):
        assert row in table
