"""How long the crash tests run: ``pytest tests/crash --rounds 5000 --server-rounds 300`` for a long night."""

from __future__ import annotations

import random

import pytest

from tests.start.conftest import start_server as start_server

ROUNDS_IN_CI = 200
SERVER_ROUNDS_IN_CI = 20
ALL_FROM_ROUNDS = 1000
"""With this many rounds or more, tests that draw a share of their cases try all of them."""
STATES_IN_CI = 5_000


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rounds", type=int, default=ROUNDS_IN_CI, help="how often the store's writer is killed"
    )
    parser.addoption(
        "--states", type=int, default=STATES_IN_CI, help="how many disks that lost their power are opened"
    )
    parser.addoption(
        "--server-rounds", type=int, default=SERVER_ROUNDS_IN_CI, help="how often the real server is killed"
    )
    parser.addoption(
        "--seed", type=int, default=None, help="repeats the moments at which a failed run killed"
    )


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    rounds: int = request.config.getoption("--rounds", default=ROUNDS_IN_CI)
    return rounds


@pytest.fixture
def states(request: pytest.FixtureRequest) -> int:
    states: int = request.config.getoption("--states", default=STATES_IN_CI)
    return states


@pytest.fixture
def server_rounds(request: pytest.FixtureRequest) -> int:
    rounds: int = request.config.getoption("--server-rounds", default=SERVER_ROUNDS_IN_CI)
    return rounds


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Randomness whose seed is shown when the test fails."""
    seed = request.config.getoption("--seed", default=None)
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    print(f"--seed {seed}")
    return random.Random(seed)  # noqa: S311 - moments, not secrets
