"""What storing costs with much stored already: ``python -m bench.store [--quick] [--cold]``.

Prints one stored message at 10 and at 100,000 chats in turns, beside a bare fdatasync and other ways of storing it;
the throughput of 50 threads; how long a folder with a million messages takes to open and to be written anew; and the
memory that takes. Everything happens in a folder that is removed afterwards (up to 2 GB); its disk is
what is measured, so choose it with TMPDIR. What is read is in the system's cache, except with ``--cold`` (as root).
"""

from __future__ import annotations

import argparse
import math
import os
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.measured import bare_sync_ms, conditions, quantile
from bench.store_folder import MESSAGES_PER_CHAT, OWNERS, a_chat, a_message, lay_out, with_journal
from bench.store_opened import opened
from bench.store_rivals import Write, sqlite_one_writer, sqlite_per_thread, whole_file
from chatapp.storage.chat_state import text_of
from chatapp.storage.json_store import JsonStore, open_store

_DROP_CACHES = Path("/proc/sys/vm/drop_caches")
_ACTIVE_CHATS = 10

Store = Callable[[int], object]
"""Stores the message of that number."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is stored, and how often each thing is measured."""

    few: int = 10
    many: int = 100_000
    records: int = 100_000
    changed: int = 1_000
    rewritten: tuple[int, ...] = (10, 1_000, 10_000)
    messages: int = 400
    threads: int = 50
    messages_per_thread: int = 100
    times: int = 5


QUICK = Sizes(
    few=2, many=100, records=100, changed=1, rewritten=(2, 20),
    messages=3, threads=2, messages_per_thread=2, times=1,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Filled:
    """A store and some of its chats, as pairs of owner and chat."""

    store: JsonStore
    chats: Sequence[tuple[str, str]]

    def write(self, number: int) -> None:
        owner_id, chat_id = self.chats[number % len(self.chats)]
        self.store.chats.add_messages(owner_id, chat_id, [a_message(number)])


def milliseconds(call: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    call()
    return (time.perf_counter() - started_s) * 1000


def row(name: str, values: Sequence[float], unit: str, note: str = "") -> None:
    spread = f"({min(values):,.1f} to {max(values):,.1f}, {len(values)} times)"
    print(f"  {name:<52} {statistics.median(values):>10,.1f} {unit:<4} {spread} {note}", flush=True)


def latency_row(name: str, values: Sequence[float], note: str = "") -> None:
    p50, p99 = statistics.median(values), quantile(values, 0.99)
    print(f"  {name:<52} p50 {p50:7.3f} ms  p99 {p99:7.3f} ms  ({len(values)} times) {note}", flush=True)


def fill(stack: ExitStack, folder: Path, chats: int, sizes: Sizes) -> tuple[Filled, Filled]:
    """Make and open a store; return it with the few chats that people write to, and with ones not looked at yet."""
    ids = lay_out(folder, chats)
    store = open_store(folder, checkpoint_after_s=math.inf)
    stack.callback(store.close)
    pairs = [(OWNERS[place % len(OWNERS)], chat_id) for place, chat_id in enumerate(ids)]
    random.Random(1).shuffle(pairs)
    return Filled(store, pairs[:_ACTIVE_CHATS]), Filled(store, pairs[-sizes.messages :])


def one_message(ways: dict[str, Store], top: Path, sizes: Sizes) -> None:
    """Print what one message takes while nobody else writes; all ways take turns, each round in another order."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    cpu_us: dict[str, list[float]] = {name: [] for name in ways}
    bare: list[float] = []
    order, dice = list(ways), random.Random(1)
    for number in range(sizes.messages):
        dice.shuffle(order)
        for name in order:
            cpu_s = time.process_time()
            times[name].append(milliseconds(partial(ways[name], number)))
            cpu_us[name].append((time.process_time() - cpu_s) * 1e6)
        bare += bare_sync_ms(top)
    first = statistics.median(times[next(iter(ways))])
    for name, values in times.items():
        share, cpu = statistics.median(values) / first, statistics.median(cpu_us[name])
        latency_row(name, values, f"{share:.2f} of the first row, {cpu:.0f} µs of processor time")
    latency_row("a bare write and fdatasync of the same size", bare)


def rewriting(top: Path, sizes: Sizes) -> None:
    """Print what one message takes when the whole JSON file is written for it."""
    for chats in sizes.rewritten:
        write = whole_file(top, chats)
        values = [milliseconds(partial(rival(write), number)) for number in range(sizes.times * 2)]
        latency_row(f"the whole JSON file rewritten, {chats:,} chats", values)
        (top / "whole.json").unlink()


def rival(write: Write) -> Store:
    return lambda number: write(f"chat-{number % _ACTIVE_CHATS}", text_of(a_message(number)))


def own_chats(stores: Sequence[Filled], sizes: Sizes) -> Iterator[Store]:
    """Yield each store with a new chat for every thread."""
    for filled in stores:
        added = [filled.store.chats.add(a_chat()) for _ in range(sizes.threads)]
        yield Filled(filled.store, [(chat.owner_id, chat.id) for chat in added]).write


def many_threads(ways: dict[str, Store], sizes: Sizes) -> None:
    """Print the acknowledged messages per second of all threads together; the ways take turns."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    cpu_us: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(sizes.times):
        for name, store in ways.items():
            cpu_s = time.process_time()
            wall_ms = milliseconds(partial(_run_threads, store, sizes))
            count = sizes.threads * sizes.messages_per_thread
            rates[name].append(count / wall_ms * 1000)
            cpu_us[name].append((time.process_time() - cpu_s) / count * 1e6)
    for name, values in rates.items():
        row(name, values, "/s", f"{statistics.median(cpu_us[name]):.0f} µs of processor time each")


def _run_threads(store: Store, sizes: Sizes) -> None:
    def work(first: int) -> None:
        for number in range(sizes.messages_per_thread):
            store(first + number * sizes.threads)

    threads = [threading.Thread(target=work, args=[first]) for first in range(sizes.threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def opening(top: Path, sizes: Sizes, *, cold: bool) -> None:
    """Print how long opening and checkpoints take, and the memory, each time in a new process."""
    ids = lay_out(top / "clean", sizes.many)
    with_journal(top / "clean", top / "journal", ids, sizes.records)
    lay_out(top / "empty", 0)
    clean: list[dict[str, float]] = []
    journal: list[dict[str, float]] = []
    empty: list[dict[str, float]] = []
    for _ in range(sizes.times):
        for folder, runs in ((top / "clean", clean), (top / "journal", journal), (top / "empty", empty)):
            if cold:
                drop_caches()
            runs.append(opened(folder))
    used = [opened(top / "clean", changes=sizes.changed, checkpoints=sizes.times)]
    size_mb = (top / "clean" / "chats.json").stat().st_size / 1e6
    print(f"\n{sizes.many:,} chats, {sizes.many * MESSAGES_PER_CHAT:,} messages, {size_mb:,.0f} MB")
    timed_row("open", clean, "open")
    timed_row(f"open with {sizes.records:,} records in the journal", journal, "open")
    timed_row(f"checkpoint of {sizes.changed:,} changed chats", used, "checkpoint")
    timed_row(f"first list of {used[0]['listed']:,.0f} chats of one owner", used, "first_list")
    timed_row("the same list again", used, "second_list")
    print("\nprivate memory over that of an empty store")
    base_mb = statistics.median(run["opened_mb"] for run in empty)
    row("opened", [run["opened_mb"] - base_mb for run in clean], "MB")
    row("opened with the journal", [run["opened_mb"] - base_mb for run in journal], "MB")
    row(f"after {sizes.times} checkpoints", [run["after_mb"] - base_mb for run in used], "MB")


def timed_row(name: str, runs: Sequence[dict[str, float]], key: str) -> None:
    """Print all measurements of the runs whose name begins with ``key``: wall time, and processor time beside it."""
    found = [(each, value) for run in runs for each, value in run.items() if each.startswith(key)]
    cpu = [value for each, value in found if each.endswith("_cpu_ms")]
    wall = [value for each, value in found if each.endswith("_ms") and not each.endswith("_cpu_ms")]
    row(name, wall, "ms", f"{statistics.median(cpu):,.0f} ms of processor time")


def drop_caches() -> None:
    """Have the system forget what it read from the disk. Raises ``PermissionError`` without the right to."""
    os.sync()
    _DROP_CACHES.write_text("3", encoding="ascii")


def storing(sizes: Sizes) -> None:
    with ExitStack() as stack:
        top = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chatapp-bench-")))
        few, _ = fill(stack, top / "few", sizes.few, sizes)
        many, untouched = fill(stack, top / "many", sizes.many, sizes)
        per_thread = rival(stack.enter_context(sqlite_per_thread(top)))
        one_writer = rival(stack.enter_context(sqlite_one_writer(top)))
        stores: dict[str, Store] = {
            f"the store, {sizes.few:,} chats": few.write,
            f"the store, {sizes.many:,} chats": many.write,
        }
        rivals = {"SQLite, a connection per thread": per_thread, "SQLite, one writing thread": one_writer}
        print("\none message, acknowledged when the disk has it")
        first = {f"the store, {sizes.many:,} chats, first look at the chat": untouched.write}
        one_message(stores | first | rivals, top, sizes)
        rewriting(top, sizes)
        print(f"\n{sizes.threads} threads, each in a chat of its own, acknowledged messages per second")
        many_threads(dict(zip(stores, own_chats([few, many], sizes), strict=True)) | rivals, sizes)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="a look at the table, with almost nothing stored"
    )
    parser.add_argument(
        "--cold", action="store_true", help="have the system forget its cache before each open"
    )
    arguments = parser.parse_args()
    print(f"{conditions()}, {'cold' if arguments.cold else 'warm'} cache")
    sizes = QUICK if arguments.quick else Sizes()
    storing(sizes)
    with tempfile.TemporaryDirectory(prefix="chatapp-bench-") as name:
        opening(Path(name), sizes, cold=arguments.cold)


if __name__ == "__main__":
    main()
