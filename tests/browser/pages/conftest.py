"""One server for all tests of a module, to save its start each time: each test brings a person of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chatapp.ids import new_id
from tests.browser.server import Server
from tests.fakes.believable import BelievableOllama
from tests.fakes.ollama import FakeOllama


def new_name() -> str:
    """Return a user name that no other test has."""
    return f"ada.{new_id()}"


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeOllama]:
    ollama = FakeOllama()
    yield ollama
    ollama.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, fake: FakeOllama) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("shared")
    server = Server(folder / "data", OLLAMA_URL=fake.url, ENGINE="never", RATELIMIT_ENABLED="false")
    server.start()
    yield server
    server.kill()


@pytest.fixture(autouse=True)
def fresh_ollama(fake: FakeOllama) -> None:
    """Let every test begin with an Ollama that nothing was said to."""
    fake.believable = BelievableOllama()
