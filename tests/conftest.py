"""What most tests stand on: a scriptable Ollama, an application in memory, and three people."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from chatapp import create_app
from chatapp.config import Config
from chatapp.services import glance
from chatapp.storage.memory import MemoryStore
from tests.cast import Browser, add_user, services_of
from tests.fakes.ollama import FakeOllama


@pytest.fixture
def ollama() -> Iterator[FakeOllama]:
    fake = FakeOllama()
    yield fake
    fake.close()


@pytest.fixture
def caplog(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """Catch what we log even after an earlier test's application has taken our loggers for itself."""
    monkeypatch.setattr(logging.getLogger("chatapp"), "propagate", True)
    caplog.set_level(logging.INFO, logger="chatapp")
    return caplog


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pages wait longer for Ollama than people would: a busy machine that runs tests is no Ollama that hangs."""
    monkeypatch.setattr(glance, "_WAIT_S", 8.0)


@pytest.fixture
def environment(tmp_path: Path, ollama: FakeOllama) -> dict[str, str]:
    """The settings of the test's application; a test may change them before it asks for ``app``."""
    return {
        "CHATAPP_DATA_DIR": str(tmp_path / "data"),
        "OLLAMA_URL": ollama.url,
        "RATELIMIT_ENABLED": "false",
        "LOG_LEVEL": "error",
    }


@pytest.fixture
def app(environment: dict[str, str]) -> Iterator[Flask]:
    app = create_app(Config.from_env(environment, dotenv=None), store=MemoryStore())
    yield app
    services_of(app).shutdown(grace_s=0)


@pytest.fixture
def alice(app: Flask) -> Browser:
    """Root."""
    return Browser(app, add_user(app, "alice"))


@pytest.fixture
def bob(app: Flask, alice: Browser) -> Browser:
    return Browser(app, add_user(app, "bob"))


@pytest.fixture
def charlie(app: Flask, bob: Browser) -> Browser:
    return Browser(app, add_user(app, "charlie"))


@pytest.fixture
def anonymous(app: Flask) -> Browser:
    return Browser(app)
