"""kill -9 at any moment: nothing acknowledged is lost, nothing is doubled, the files stay valid JSON."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from chatapp.models import Chat
from chatapp.storage.json_store import JsonStore, open_store
from tests.crash.ledger import Ledger
from tests.crash.writer import OWNER

ROUNDS_PER_FOLDER = 25
ROOT = Path(__file__).parents[2]


class Nursery:
    """Starts writers and reads what they report."""

    def __init__(self, orders: IO[str], reports: IO[str]) -> None:
        self._orders = orders
        self._reports = reports

    def run_and_kill(self, folder: Path, after_s: float) -> Iterator[str]:
        """Let a writer work on a folder, kill it after a while and yield all its reports."""
        print(folder, file=self._orders, flush=True)
        first = self._reports.readline().split()
        assert first[0] == "pid", first
        killer = threading.Timer(after_s, os.kill, [int(first[1]), signal.SIGKILL])
        killer.start()
        for report in self._reports:
            if report == "end\n":
                break
            assert not report.startswith("problem"), report
            yield report.rstrip("\n")
        killer.join()


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.crash.writer"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        yield Nursery(process.stdin, process.stdout)
        process.stdin.close()


def chats_of(store: JsonStore) -> list[Chat]:
    return [store.chats.get(OWNER, summary.id) for summary in store.chats.list(OWNER)]


def complaints_after_restart(folder: Path, ledger: Ledger) -> list[str]:
    json.loads((folder / "chats.json").read_bytes())
    json.loads((folder / "users.json").read_bytes())
    store = open_store(folder, checkpoint_after_s=math.inf)
    try:
        store.chats.interrupt_streaming()
        return ledger.complaints(chats_of(store))
    finally:
        store.close()


@pytest.mark.crash
@pytest.mark.timeout(0)
def test_a_killed_writer_loses_and_doubles_nothing(
    tmp_path: Path, nursery: Nursery, rounds: int, chance: random.Random
) -> None:
    reports = 0
    for first in range(0, rounds, ROUNDS_PER_FOLDER):
        folder, ledger = tmp_path / f"{first}", Ledger()
        for number in range(first, min(rounds, first + ROUNDS_PER_FOLDER)):
            for report in nursery.run_and_kill(folder, after_s=chance.uniform(0.02, 0.25)):
                ledger.take(report)
                reports += 1
            assert complaints_after_restart(folder, ledger) == [], f"round {number}"
    assert reports > rounds
    print(f"{rounds} kills, {reports} reports, nothing lost, nothing doubled")
