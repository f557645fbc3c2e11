"""The plug is pulled at every moment: whatever a disk may have kept by then, nothing acknowledged is lost."""

from __future__ import annotations

import errno
import itertools
import logging
import random
from collections.abc import Iterator
from functools import partial
from time import perf_counter

import pytest

from chatapp.errors import StorageFailed
from chatapp.storage import checkpoint, locks
from chatapp.storage.files import read_whole, write_new
from chatapp.storage.json_store import JsonStore
from chatapp.storage.upkeep import Upkeep
from tests.crash.disk import SimulatedDisk
from tests.crash.power import ALICE, BOB, DATA, Lab, Life, Workload
from tests.fakes.files import Fault, disk_full, error, no_fault
from tests.records import a_reply

WORKLOADS: list[Workload] = []


def workload(function: Workload) -> Workload:
    WORKLOADS.append(function)
    return function


def furnish(life: Life, *, files_too: bool = True) -> None:
    """Alice and Bob, three chats, and one message in each."""
    life.start()
    life.sign_up(ALICE)
    life.sign_up(BOB)
    for owner, chat_id in ((ALICE, "a"), (ALICE, "b"), (BOB, "c")):
        life.begin(owner, chat_id)
        life.say(owner, chat_id)
    if files_too:
        life.checkpoint()


@workload
def first_start(life: Life) -> None:
    life.start()
    life.sign_up(ALICE)
    life.begin(ALICE, "a")
    life.say(ALICE, "a")


@workload
def messages(life: Life) -> None:
    furnish(life, files_too=False)
    for length in (10, 700, 1500):
        life.say(ALICE, "a", length)
        life.say(BOB, "c", length)


@workload
def groups(life: Life) -> None:
    furnish(life)
    life.say_together(["a", "b", "c"])
    life.say_together(["c", "a"])
    life.say_together(["b"])
    life.checkpoint()
    for _ in range(4):
        life.say_together(["a", "c", "b"])


def write_part(text: str, store: JsonStore) -> None:
    store.chats.append_part(ALICE, "a", "reply", 0, text)
    store._parts.flush()


@workload
def a_reply_in_parts(life: Life) -> None:
    furnish(life)
    reply = a_reply("", id="reply")
    life.do(lambda store: store.chats.add_messages(ALICE, "a", [reply]), life.with_added("a", reply))
    began = life.now["a"][:-1]
    for text in ("The", "The answer", "The answer is"):
        shown = {**life.now, "a": (*began, ("reply", text, "streaming"))}
        life.do(partial(write_part, text), shown)
    final = a_reply("The answer is 42.", id="reply", status="complete")
    done = {**life.now, "a": (*began, ("reply", final.content, "complete"))}
    life.do(lambda store: store.chats.finish_message(ALICE, "a", final), done)
    life.checkpoint()


@workload
def a_user_is_deleted(life: Life) -> None:
    furnish(life)
    life.say(BOB, "c")
    life.do(lambda store: store.users.delete(ALICE), {each: life.now[each] for each in (BOB, "c")})
    life.say(BOB, "c")
    life.checkpoint()


@workload
def checkpoints(life: Life) -> None:
    furnish(life)
    for length in (20, 900, 20):
        life.say(ALICE, "a", length)
        life.checkpoint()
    life.say(BOB, "c")
    life.store.close()
    life.kill()
    life.start()
    life.say(ALICE, "b")


@workload
def writes_during_a_checkpoint(life: Life) -> None:
    furnish(life)
    life.say(ALICE, "b")
    steps = iter(["sync_folder", "create", "write", "sync", "rename", "sync_folder"])
    wanted = [next(steps)]

    def say_meanwhile(call: str, name: str) -> None:
        if wanted and call == wanted[0] and (name.endswith(".tmp") or name == DATA.name):
            wanted[:] = []
            life.say(BOB, "c")
            wanted[:] = [step] if (step := next(steps, "")) else []

    life.disk.fault = say_meanwhile
    life.checkpoint()
    life.disk.fault = no_fault
    assert not wanted
    life.say(ALICE, "a")


def fill_up(failing: set[str]) -> Fault:
    """Let the journal take three writes, then fail these calls."""
    writes = itertools.count()

    def fault(call: str, name: str) -> OSError | None:
        is_due = call != "write" or next(writes) > 2
        return disk_full() if call in failing and name.endswith(".jsonl") and is_due else None

    return fault


def failing_at(*places: tuple[str, str]) -> Fault:
    """Fail these calls on files or folders whose names end so."""
    return lambda call, name: (
        error(errno.EIO) if any(call == each and name.endswith(end) for each, end in places) else None
    )


@workload
def a_full_disk(life: Life) -> None:
    furnish(life)
    life.disk.most_bytes_per_write = 100
    for failing in ({"write"}, {"write", "cut"}):
        life.disk.fault = fill_up(failing)
        assert not life.say_together(["a", "b", "c"])
        life.disk.fault = no_fault
        life.checkpoint()
        life.say(ALICE, "a")
    life.disk.most_bytes_per_write = 1 << 30
    life.disk.fault = failing_at(("write", ".jsonl"))
    assert not life.say(ALICE, "b")
    life.disk.fault = no_fault
    life.say(ALICE, "b")


def fail_a_sync(life: Life) -> None:
    life.disk.fault = failing_at(("sync", ".jsonl"))
    assert not life.say_together(["a", "b"])
    life.disk.fault = no_fault


@workload
def a_failed_sync_and_a_rescue(life: Life) -> None:
    furnish(life)
    life.say(ALICE, "a")
    fail_a_sync(life)
    assert not life.say(ALICE, "a")
    assert life.checkpoint()
    life.say(ALICE, "a")


@workload
def a_failed_sync_during_a_checkpoint(life: Life) -> None:
    furnish(life)
    life.say(ALICE, "a")

    def fail_meanwhile(call: str, name: str) -> None:
        if (call, name) == ("rename", "chats.json.tmp"):
            fail_a_sync(life)

    life.disk.fault = fail_meanwhile
    life.checkpoint()
    assert not life.say(ALICE, "a")
    life.checkpoint()
    life.say(ALICE, "a")


@workload
def a_failed_sync_and_a_restart(life: Life) -> None:
    """The system still shows what the disk never got; the next process must not build on it."""
    furnish(life)
    life.say(ALICE, "a")
    fail_a_sync(life)
    life.kill()
    life.start()
    life.say(ALICE, "a")
    life.checkpoint()
    life.say(BOB, "c")


@workload
def a_failed_sync_a_failed_rescue_and_a_restart(life: Life) -> None:
    furnish(life)
    life.say(ALICE, "a")
    fail_a_sync(life)
    life.disk.fault = failing_at(("sync", "chats.json.tmp"))
    assert not life.checkpoint()
    life.disk.fault = no_fault
    life.kill()
    life.start()
    life.say(ALICE, "a")
    life.say(BOB, "c")


@workload
def starts_that_fail(life: Life) -> None:
    """A torn end is cut off, and the disk does not take the cut."""
    furnish(life)
    life.say(ALICE, "a")
    life.disk.most_bytes_per_write = 100
    life.disk.fault = fill_up({"write", "cut"})
    assert not life.say_together(["a", "b", "c"])
    life.disk.most_bytes_per_write = 1 << 30
    for place in (("sync", ".jsonl"), ("sync_folder", "journal")):
        life.kill()
        life.disk.fault = failing_at(place)
        with pytest.raises(StorageFailed):
            life.start()
    life.disk.fault = no_fault
    life.kill()
    life.start()
    life.say(ALICE, "a")
    life.say(BOB, "c")


@workload
def checkpoints_that_fail(life: Life) -> None:
    furnish(life)
    for failing in (
        ("sync_folder", "journal"), ("write", "users.json.tmp"), ("sync", "chats.json.tmp"),
        ("rename", "users.json.tmp"), ("rename", "chats.json.tmp"), ("sync_folder", DATA.name),
    ):  # fmt: skip
        life.say(ALICE, "a")
        life.disk.fault = failing_at(failing)
        life.checkpoint()
        life.disk.fault = no_fault
        life.say(BOB, "c")
    life.checkpoint()


def put_in_place(life: Life) -> bytes:
    """Have somebody put another file in place of chats.json; return what it holds."""
    content = read_whole(life.disk, DATA / "chats.json")
    write_new(life.disk, DATA / "copy", content)
    life.disk.rename(DATA / "copy", DATA / "chats.json")
    life.disk.sync_folder(DATA)
    return content


@workload
def a_file_of_somebody_else(life: Life) -> None:
    furnish(life)
    put_in_place(life)
    life.say(ALICE, "a")
    life.checkpoint()
    life.say(ALICE, "a")


@workload
def an_edit_by_hand(life: Life) -> None:
    """What was taken out stays out, also of what is kept of the file before."""
    furnish(life)
    life.say(ALICE, "b")
    life.checkpoint()
    life.take_out_by_hand("c")
    life.say(ALICE, "a")
    life.checkpoint()
    life.say(ALICE, "b")


@pytest.fixture
def bare_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A store that opens in a millisecond: no thread, few locks, and nothing said about torn disks.

    It also removes what it does not need as early as it ever may.
    """
    monkeypatch.setattr(Upkeep, "start", lambda _: None)
    monkeypatch.setattr(Upkeep, "stop", lambda _: None)
    monkeypatch.setattr(locks, "_STRIPES", 1)
    monkeypatch.setattr(checkpoint, "_KEPT_S", 0.0)
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.timeout(0)
@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda each: each.__name__)
def test_a_power_cut_loses_nothing_acknowledged(
    workload: Workload, states: int, chance: random.Random, bare_store: None
) -> None:
    began = perf_counter()
    lab = Lab(workload, chance)

    lab.run(states // len(WORKLOADS))

    print(f"{workload.__name__}: {lab.summary()}, {lab.states / (perf_counter() - began):.0f} per second")


def test_a_power_cut_never_takes_the_file_that_somebody_else_put_in_place(
    chance: random.Random, bare_store: None
) -> None:
    life = Life(SimulatedDisk())
    furnish(life)
    stranger = put_in_place(life)
    life.say(ALICE, "a")
    before = len(life.disk.moments)

    life.checkpoint()

    for moment in life.disk.moments[before:]:
        by_chance = [moment.after_power_cut(chance) for _ in range(20)]
        for left in [*moment.whole_power_cuts(256), *by_chance]:
            names = [name for name in left.names(DATA) if name.startswith("chats.json")]
            assert stranger in [read_whole(left, DATA / name) for name in names]
