"""How long the property tests run: ``pytest tests/property --examples 5000`` for a long night."""

from __future__ import annotations

import pytest

EXAMPLES_IN_CI = 60


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--examples", type=int, default=EXAMPLES_IN_CI, help="how many sequences are tried")
