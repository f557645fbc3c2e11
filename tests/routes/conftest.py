"""Servers with settings of their own, and what makes many registrations affordable."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from flask import Flask

from chatapp import create_app
from chatapp.config import Config
from chatapp.services import passwords
from chatapp.storage.memory import MemoryStore
from tests.cast import services_of


@pytest.fixture
def open_app(environment: dict[str, str]) -> Iterator[Callable[..., Flask]]:
    """Return a maker of servers: a store of their own in memory, and these settings besides the usual ones."""
    opened: list[Flask] = []

    def make(**settings: str) -> Flask:
        config = Config.from_env(environment | settings, dotenv=None)
        opened.append(create_app(config, store=MemoryStore()))
        return opened[-1]

    yield make
    for app in opened:
        services_of(app).shutdown(grace_s=0)


@pytest.fixture
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make hashing cheap, where a test makes so many hashes that real ones would take the machine away."""
    monkeypatch.setattr(passwords, "METHOD", "scrypt:1024:8:1")
