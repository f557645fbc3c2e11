"""A data file is destroyed in place under the real server: what it acknowledged, before and after, comes back.

``pytest tests/crash/test_destroyed.py --server-rounds 300`` for more ways to destroy it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.crash.conftest import SERVER_ROUNDS_IN_CI
from tests.start.conftest import StartServer
from tests.start.processes import TOP, Person, eventually

pytestmark = pytest.mark.crash

ENDED_WITHIN_S = 20.0
CHECKPOINT_WITHIN_S = 20.0


def emptied(path: Path) -> None:
    """As ``: > chats.json`` and ``jq . chats.json > chats.json`` do."""
    path.open("wb").close()


def dumped(path: Path) -> None:
    """Write the file anew in place, as a script does."""
    document = json.loads(path.read_bytes())
    with path.open("w") as file:
        json.dump(document, file, indent=1)


def half_dumped(path: Path) -> None:
    """As :func:`dumped`, killed in the middle."""
    dumped(path)
    os.truncate(path, path.stat().st_size // 2)


def zeros_inside(path: Path) -> None:
    """As a bad block does, in every line."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 4)
        file.write(b"\0" * (size // 2))


def removed(path: Path) -> None:
    path.unlink()


Damages = dict[str, Callable[[Path], None]]
EVERYDAY: list[Damages] = [
    {"users.json": half_dumped, "chats.json": emptied},
    {"users.json": dumped, "chats.json": zeros_inside},
]
LONG_RUN: list[Damages] = [
    {"chats.json": emptied},
    {"users.json": zeros_inside, "chats.json": half_dumped},
    {"users.json": removed, "chats.json": removed},
    {"users.json": dumped, "chats.json": dumped},
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    is_long = metafunc.config.getoption("--server-rounds") > SERVER_ROUNDS_IN_CI
    cases = EVERYDAY + (LONG_RUN if is_long else [])
    ids = [", ".join(f"{name} {damage.__name__}" for name, damage in each.items()) for each in cases]
    metafunc.parametrize("damages", cases, ids=ids)


def ask(alice: Person, chat_id: str, text: str) -> None:
    """Ask, and wait for the whole reply."""
    alice.ask(chat_id, text)
    eventually(lambda: alice.messages(chat_id)[-1]["status"] == "complete")


def is_in(path: Path, text: str) -> bool:
    return text in path.read_text()


def repair(data: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "flask", "store", "repair"],
        cwd=TOP, env={**os.environ, "CHATAPP_DATA_DIR": str(data)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_everything_comes_back_after_a_file_was_destroyed_under_the_server(
    start_server: StartServer, tmp_path: Path, damages: Damages
) -> None:
    data = tmp_path / "data"
    server = start_server(RATELIMIT_ENABLED="false").wait_until_ready()
    alice = Person(server, "alice")
    chats = [alice.new_chat() for _ in range(2)]
    for number, chat_id in enumerate(chats):
        ask(alice, chat_id, f"before {number}")
        eventually(partial(is_in, data / "chats.json", f"before {number}"), CHECKPOINT_WITHIN_S)
    whole = {chat_id: alice.messages(chat_id) for chat_id in chats}
    journal = set((data / "journal").iterdir())

    for name, destroy in damages.items():
        destroy(data / name)
    later = alice.new_chat()
    ask(alice, later, "after")
    whole[later] = alice.messages(later)
    if damages["chats.json"] in (emptied, zeros_inside):
        eventually(lambda: "could not be brought up to date" in server.err, CHECKPOINT_WITHIN_S)
    read = [alice.http.get(f"{server.url}/chat/{chat_id}/export.json", timeout=10) for chat_id in chats]
    assert {answer.status_code for answer in read} <= {200, 503}
    server.signal(signal.SIGTERM)
    server.wait(ENDED_WITHIN_S)
    assert journal <= set((data / "journal").iterdir())
    told = repair(data)

    start_server(RATELIMIT_ENABLED="false", PORT=str(server.port)).wait_until_ready()

    assert {chat_id: alice.messages(chat_id) for chat_id in whole} == whole, told
    assert "Traceback" not in server.err
