"""A second server on the same folder is turned away with one line, and the first is none the worse for it."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.crash.crowd import Writer, complaints
from tests.fakes.ollama import FakeOllama
from tests.start.processes import SERVE, TOP, Person, Server, eventually

pytestmark = pytest.mark.crash

GUNICORN = (
    *(sys.executable, "-m", "gunicorn", "-c", str(TOP / "gunicorn.conf.py")),
    *("--pythonpath", str(TOP), "wsgi:app"),
)
ENDED_WITHIN_S = 20.0

Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path, ollama: FakeOllama) -> Iterator[Start]:
    """Start a server over ``tmp_path/data``."""
    started: list[Server] = []

    def start(command: tuple[str, ...] = SERVE, **settings: str) -> Server:
        folder = tmp_path / f"run-{len(started)}"
        folder.mkdir()
        common = {"CHATAPP_DATA_DIR": str(tmp_path / "data"), "OLLAMA_URL": ollama.url, "LOG_LEVEL": "error"}
        started.append(Server(folder, {**common, "RATELIMIT_ENABLED": "false", **settings}, command))
        return started[-1]

    yield start
    for server in started:
        server.kill()


@contextmanager
def load_on(server: Server) -> Iterator[list[Writer]]:
    """Let three chats be written to meanwhile; afterwards every promise of the server must have been kept."""
    alice = Person(server, "alice")
    chance = random.Random(1)  # noqa: S311 - which way to ask
    crowd = [Writer(alice, f"chat-{number}", chance) for number in range(3)]
    stop = threading.Event()
    with ThreadPoolExecutor(len(crowd)) as threads:
        writing = [threads.submit(writer.write_until, stop) for writer in crowd]
        try:
            yield crowd
        finally:
            stop.set()
        for each in writing:
            each.result()
    eventually(
        lambda: not [each for writer in crowd for each in complaints(writer.promises, writer.stored())]
    )


def goes_on(crowd: list[Writer]) -> None:
    """Wait until everybody has had another message acknowledged."""
    before = [len(writer.promises.acknowledged) for writer in crowd]
    eventually(
        lambda: all(
            len(writer.promises.acknowledged) > count for writer, count in zip(crowd, before, strict=True)
        )
    )


def is_turned_away(second: Server) -> bool:
    """Return whether a server ended with one line that names the folder and the reason."""
    code = second.wait(ENDED_WITHIN_S)
    lines = [line for line in second.err.splitlines() if "in use by another chatapp server" in line]
    return code != 0 and len(lines) == 1 and "Traceback" not in second.err and "is ready" not in second.out


def test_a_second_server_is_turned_away_under_load_however_it_is_started(
    start: Start, tmp_path: Path
) -> None:
    first = start().wait_until_ready()

    with load_on(first) as crowd:
        assert is_turned_away(start())
        assert is_turned_away(start(GUNICORN))
        (tmp_path / "data" / "store.lock").unlink()
        assert is_turned_away(start())
        goes_on(crowd)

    assert first.answers()
    assert first.err == ""


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"WEB_CONCURRENCY": "4"}, "WEB_CONCURRENCY=4 is not allowed"),
        ({"GUNICORN_CMD_ARGS": "--preload"}, "without preload"),
        ({"GUNICORN_CMD_ARGS": "--workers 4"}, "one gthread worker"),
    ],
)
def test_several_processes_on_one_folder_are_refused_by_a_plain_gunicorn(
    start: Start, settings: dict[str, str], reason: str
) -> None:
    server = start(GUNICORN, **settings)

    assert server.wait(ENDED_WITHIN_S) != 0
    assert [reason in line for line in server.err.splitlines()].count(True) == 1
    assert "Traceback" not in server.err


def test_the_next_server_starts_at_once_when_the_first_was_killed(start: Start) -> None:
    first = start().wait_until_ready()
    with load_on(first) as crowd:
        goes_on(crowd)
    for pid in first.family():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    second = start(PORT=str(first.port)).wait_until_ready()

    for writer in crowd:
        writer.move_to(second)
        writer.write_for_certain()
        assert complaints(writer.promises, writer.stored()) == []
