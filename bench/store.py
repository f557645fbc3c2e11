"""What storing costs: ``python -m bench.store [--chats 10 10000] [--messages 300]``.

Prints one stored message beside a bare fdatasync of as many bytes in the same run, the throughput of 50 threads, and
how long a folder takes to open and to be written anew. Everything happens in a folder that is removed afterwards;
its disk is what is measured, so choose it with TMPDIR.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from chatapp.ids import new_id
from chatapp.models import Chat, Message
from chatapp.storage.chat_state import ChatState, text_of
from chatapp.storage.files import Files
from chatapp.storage.json_store import JsonStore, open_store
from chatapp.storage.lines import Head
from chatapp.storage.snapshot import SnapshotWriter

OWNER = "owner-id"
MESSAGES_PER_CHAT = 10
THREADS = 50
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def a_message(length: int = 240) -> Message:
    return Message(id=new_id(), role="user", content="x" * length, created_at=NOW)


def a_chat() -> Chat:
    return Chat(id=new_id(), owner_id=OWNER, title="A chat", created_at=NOW, updated_at=NOW)


def lay_out(folder: Path, chats: int) -> None:
    """Make a data folder with so many chats in chats.json."""
    open_store(folder, checkpoint_after_s=math.inf).close()
    messages = tuple(text_of(a_message()) for _ in range(MESSAGES_PER_CHAT))
    writer = SnapshotWriter(Files(), folder / "chats.json", Head("chats", seq=0, gen=1, count=chats))
    for _ in range(chats):
        writer.add(new_id(), ChatState(a_chat(), added=messages).members())
    writer.finish()
    writer.aside.replace(folder / "chats.json")


def milliseconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1000


def quantiles(times_ms: list[float]) -> str:
    return f"p50 {statistics.median(times_ms):7.2f} ms   p99 {sorted(times_ms)[int(len(times_ms) * 0.99)]:7.2f} ms"


def bare_syncs(folder: Path) -> Iterator[float]:
    """Yield how long one write and fdatasync of about as many bytes take, without a store."""
    fd = os.open(folder / "bare", os.O_RDWR | os.O_CREAT, 0o600)
    for number in range(1 << 30):
        os.pwrite(fd, b"x" * 700, number * 700)
        yield milliseconds(lambda: os.fdatasync(fd))


def one_message(store: JsonStore, folder: Path, count: int) -> tuple[list[float], list[float]]:
    """Return times of stored messages and of bare syncs, taken in turns."""
    chat = store.chats.add(a_chat())
    bare = bare_syncs(folder)
    stored, synced = [], []
    for _ in range(count):
        message = a_message()
        stored.append(milliseconds(partial(store.chats.add_messages, OWNER, chat.id, [message])))
        synced.append(next(bare))
    return stored, synced


def many_threads(store: JsonStore, each: int) -> float:
    """Return the acknowledged messages per second of all threads together, each in a chat of its own."""
    chats = [store.chats.add(a_chat()) for _ in range(THREADS)]

    def write(chat_id: str) -> None:
        for _ in range(each):
            store.chats.add_messages(OWNER, chat_id, [a_message()])

    threads = [threading.Thread(target=write, args=[chat.id]) for chat in chats]

    def run() -> None:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return THREADS * each / milliseconds(run) * 1000


def private_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(chats: int, count: int) -> None:
    with tempfile.TemporaryDirectory(prefix="chatapp-bench-") as name:
        folder = Path(name) / "data"
        lay_out(folder, chats)
        size_mb = (folder / "chats.json").stat().st_size / 1e6
        opened: list[JsonStore] = []
        opening_ms = milliseconds(lambda: opened.append(open_store(folder, checkpoint_after_s=math.inf)))
        [store] = opened
        stored, synced = one_message(store, Path(name), count)
        throughput = many_threads(store, max(10, count // 5))
        checkpoint_ms = milliseconds(store.checkpoint)
        store.close()
    print(f"{chats:,} chats, {chats * MESSAGES_PER_CHAT:,} messages, {size_mb:.1f} MB")
    print(f"  one stored message   {quantiles(stored)}")
    print(f"  bare fdatasync       {quantiles(synced)}")
    print(f"  {THREADS} threads           {throughput:7.0f} acknowledged messages/s")
    print(f"  open {opening_ms:.0f} ms   checkpoint {checkpoint_ms:.0f} ms")
    print(f"  highest memory of this process so far {private_mb():.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--chats", type=int, nargs="+", default=[10, 10_000], help="how many chats are stored already"
    )
    parser.add_argument("--messages", type=int, default=300, help="how many messages are timed")
    arguments = parser.parse_args()
    for chats in arguments.chats:
        measure(chats, arguments.messages)


if __name__ == "__main__":
    main()
