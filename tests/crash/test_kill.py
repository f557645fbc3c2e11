"""kill -9 at any moment: nothing acknowledged is lost, nothing is doubled, the files stay valid JSON."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

from chatapp.models import Chat
from chatapp.storage.json_store import JsonStore, open_store
from tests.crash.ledger import Ledger
from tests.crash.writer import OWNER
from tests.memory_folder import memory_folder

ROUNDS_PER_FOLDER = 25
LONGEST_S = 0.25
# A start makes up to about forty calls, a checkpoint about twenty-five; writers share them with checkpoints.
CALLS_OF_A_START = 50
CALLS_OF_CHECKPOINTS = 600
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Kill:
    """When a writer dies: after a while, at one of its calls to the file system, or whichever comes first."""

    after_s: float
    at_call: int = -1

    def __str__(self) -> str:
        return f"at call {self.at_call}" if self.at_call >= 0 else f"after {self.after_s:.3f} s"


def drawn(chance: random.Random, *, is_first: bool) -> Kill:
    """Draw a moment: the very first start, often a later one, often around a checkpoint, otherwise any."""
    kind = 0 if is_first else chance.random()
    if kind < 0.3:
        return Kill(LONGEST_S, chance.randrange(CALLS_OF_A_START))
    if kind < 0.6:
        return Kill(LONGEST_S, chance.randrange(CALLS_OF_A_START, CALLS_OF_CHECKPOINTS))
    return Kill(chance.uniform(0.02, LONGEST_S))


class Nursery:
    """Starts writers and reads what they report."""

    def __init__(self, orders: IO[str], reports: IO[str]) -> None:
        self._orders = orders
        self._reports = reports

    def run_and_kill(self, folder: Path, kill: Kill) -> Iterator[str]:
        """Let a writer work on a folder until it is killed and yield all its reports."""
        print(kill.at_call, folder, file=self._orders, flush=True)
        first = self._reports.readline().split()
        assert first[0] == "pid", first
        killer = threading.Timer(kill.after_s, end_process, [int(first[1])])
        killer.start()
        for report in self._reports:
            if report == "end\n":
                break
            assert not report.startswith("problem"), report
            yield report.rstrip("\n")
        killer.cancel()
        killer.join()


def end_process(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


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
    for path in folder.glob("*.json"):
        json.loads(path.read_bytes())
    store = open_store(folder, checkpoint_after_s=math.inf)
    try:
        store.chats.interrupt_streaming()
        return ledger.complaints(chats_of(store))
    finally:
        store.close()


@contextmanager
def folder_for(number: int, tmp_path: Path) -> Iterator[Path]:
    """Give every second folder in memory, where many more calls fit into the same time."""
    if number // ROUNDS_PER_FOLDER % 2:
        with memory_folder() as folder:
            yield folder / "data"
    else:
        yield tmp_path / f"{number}"
        shutil.rmtree(tmp_path / f"{number}", ignore_errors=True)


@pytest.mark.crash
@pytest.mark.timeout(0)
def test_a_killed_writer_loses_and_doubles_nothing(
    tmp_path: Path, nursery: Nursery, rounds: int, chance: random.Random
) -> None:
    reports = 0
    for first in range(0, rounds, ROUNDS_PER_FOLDER):
        ledger = Ledger()
        with folder_for(first, tmp_path) as folder:
            for number in range(first, min(rounds, first + ROUNDS_PER_FOLDER)):
                kill = drawn(chance, is_first=number == first)
                for report in nursery.run_and_kill(folder, kill):
                    ledger.take(report)
                    reports += 1
                assert complaints_after_restart(folder, ledger) == [], f"round {number}, {kill}"
        if first % 100 == 0:
            print(f"{first} kills, {reports} reports", flush=True)
    assert reports > rounds
    print(f"{rounds} kills, {reports} reports, nothing lost, nothing doubled")
