"""Servers that are ended after each test, whatever happened in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.ollama import FakeOllama
from tests.start.processes import SERVE, Server

StartServer = Callable[..., Server]


@pytest.fixture
def start_server(tmp_path: Path, ollama: FakeOllama) -> Iterator[StartServer]:
    """Start a server over ``tmp_path/data`` that talks to the scriptable Ollama; settings may be given."""
    started: list[Server] = []

    def start(command: tuple[str, ...] = SERVE, **settings: str) -> Server:
        folder = tmp_path / f"run-{len(started)}"
        folder.mkdir()
        data = {"CHATAPP_DATA_DIR": str(tmp_path / "data"), "OLLAMA_URL": ollama.url, "LOG_LEVEL": "error"}
        started.append(Server(folder, {**data, **settings}, command))
        return started[-1]

    yield start
    for server in started:
        server.kill()
