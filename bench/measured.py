"""What the measurements of the whole server share: a server in a folder of its own, and how figures are printed."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.start.processes import TOP, Server, free_port

SETTINGS = {"LOG_LEVEL": "error", "RATELIMIT_ENABLED": "false"}
_RECORD_BYTES = 700  # about what one question and its empty reply are in the journal


class Folder:
    """A data folder that servers are started over, one after the other, at one address."""

    def __init__(self, top: Path, ollama_url: str, **settings: str) -> None:
        self._top = top
        self._runs = 0
        self.port = free_port()
        self._settings = {
            **SETTINGS,
            "PORT": str(self.port),
            "CHATAPP_DATA_DIR": str(top / "data"),
            "OLLAMA_URL": ollama_url,
            **settings,
        }

    def start(self) -> Server:
        """Start a server without waiting for it. The caller kills it."""
        self._runs += 1
        run = self._top / f"run-{self._runs}"
        run.mkdir()
        return Server(run, self._settings)


@contextlib.contextmanager
def new_folder(ollama_url: str, **settings: str) -> Iterator[Folder]:
    """A folder that is removed at the end; its disk is what is measured, so choose it with TMPDIR."""
    with tempfile.TemporaryDirectory(prefix="chatapp-bench-") as name:
        yield Folder(Path(name), ollama_url, **settings)


@contextlib.contextmanager
def running(folder: Folder) -> Iterator[Server]:
    """A server that answers; killed at the end."""
    server = folder.start()
    try:
        yield server.wait_until_ready()
    finally:
        server.kill()


@contextlib.contextmanager
def program(*arguments: str) -> Iterator[str]:
    """A Python program of its own process that prints its address as its first line; yields the address."""
    process = subprocess.Popen([sys.executable, *arguments], cwd=TOP, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def fake_ollama(*, tokens: int, tokens_per_s: float) -> Iterator[str]:
    """The scriptable Ollama in a process of its own; yields its address."""
    with program(
        *("-m", "tests.fakes.ollama", "--tokens", str(tokens), "--tokens-per-s", str(tokens_per_s))
    ) as url:
        yield url


def bare_sync_ms(folder: Path, count: int = 1) -> list[float]:
    """Return how long one write and fdatasync of a message's size take in this folder, without the product."""
    times_ms = []
    path = folder / "bare"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for _ in range(count):
            started_s = time.perf_counter()
            os.write(fd, b"x" * _RECORD_BYTES)
            os.fdatasync(fd)
            times_ms.append((time.perf_counter() - started_s) * 1000)
    finally:
        os.close(fd)
    return times_ms


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that ``share`` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def line(name: str, values: Sequence[float], unit: str) -> str:
    """Return one line: median, range and number of measurements."""
    spread = f"{min(values):.1f} to {max(values):.1f}"
    return f"{name:<44} median {statistics.median(values):8.2f} {unit}   ({spread}, {len(values)} times)"


def conditions() -> str:
    """Return what a reader has to know of the machine to judge a figure."""
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores, load {load:.1f} before the run, Python {sys.version.split()[0]}"
