"""One process that opens a data folder and tells what that took, as JSON; ``bench.store`` starts it.

A process of its own, because memory that was used before cannot be told from memory that is used now.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.store_folder import OWNERS, a_message
from chatapp.models import ChatSummary
from chatapp.storage.json_store import JsonStore, open_store

_THREADS = 50


def opened(folder: Path, *, changes: int = 0, checkpoints: int = 0) -> dict[str, float]:
    """Open a folder in a process of its own and return what that took.

    Args:
        changes: how many chats get a message before each checkpoint.
        checkpoints: without any the folder stays as it is, an empty journal file aside.
    """
    numbers = [str(changes), str(checkpoints)]
    command = [sys.executable, "-m", "bench.store_opened", str(folder), *numbers]
    as_served = os.environ | {"MALLOC_ARENA_MAX": "2"}
    result = subprocess.run(command, check=True, capture_output=True, text=True, env=as_served)
    values: dict[str, float] = json.loads(result.stdout)
    return values


def private_dirty_mb() -> float:
    """Return the memory that only this process uses and that no file stands behind."""
    for line in Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1]) / 1024
    raise OSError("this system does not tell the private memory of a process")


def timed(values: dict[str, float], name: str, call: Callable[[], object]) -> None:
    """Note the wall time and the processor time of a call, in milliseconds."""
    started_s, cpu_s = time.perf_counter(), time.process_time()
    call()
    values[f"{name}_ms"] = (time.perf_counter() - started_s) * 1000
    values[f"{name}_cpu_ms"] = (time.process_time() - cpu_s) * 1000


def change(store: JsonStore, chats: Sequence[ChatSummary]) -> None:
    """Add a message to each of these chats, from many threads, so that they share the disk's syncs."""

    def add(part: Sequence[ChatSummary]) -> None:
        for chat in part:
            store.chats.add_messages(chat.owner_id, chat.id, [a_message()])

    threads = [threading.Thread(target=add, args=[chats[first::_THREADS]]) for first in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("changes", type=int)
    parser.add_argument("checkpoints", type=int)
    arguments = parser.parse_args()
    values = {"empty_mb": private_dirty_mb()}
    stores: list[JsonStore] = []
    timed(values, "open", lambda: stores.append(open_store(arguments.folder, checkpoint_after_s=math.inf)))
    [store] = stores
    values["opened_mb"] = private_dirty_mb()
    if arguments.checkpoints:
        timed(values, "first_list", lambda: store.chats.list(OWNERS[0]))
        timed(values, "second_list", lambda: store.chats.list(OWNERS[0]))
        chats = store.chats.list(OWNERS[0])
        values["listed"] = len(chats)
        for number in range(arguments.checkpoints):
            change(store, chats[: arguments.changes])
            values["changed_mb"] = private_dirty_mb()
            timed(values, f"checkpoint{number}", store.checkpoint)
        values["after_mb"] = private_dirty_mb()
    print(json.dumps(values))


if __name__ == "__main__":
    main()
