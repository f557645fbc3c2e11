"""The N-th call to the file system fails, for every N: a refusal at worst, and nothing acknowledged is lost.

A drawn share of all cases in an everyday run; all of them with ``--rounds 1000`` or more. A case that failed names
its life and its fault; ``--seed`` draws the same cases again.
"""

from __future__ import annotations

import errno
import math
import random
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from chatapp.errors import NotFound, StorageFailed
from chatapp.storage.json_store import JsonStore, open_store
from chatapp.storage.upkeep import Upkeep
from tests.crash.conftest import ALL_FROM_ROUNDS
from tests.crash.lives import LIVES, RESTART, Held, Life, Step, anything, held_by
from tests.crash.unlucky import ERRORS, Fault, UnluckyFiles
from tests.memory_folder import memory_folder
from tests.records import a_user
from tests.unit.storage.killed import reopened

DRAWN_CASES = 50
"""Per life, in an everyday run."""
CLEAR = (
    r"The server's disk is full, so this was not saved\. Free some space",
    r"The server may not write to its data folder, so this was not saved\. Check",
    r"The server's disk reported an error, so this was not saved\. Try again",
    r"The server's disk reported an error, so nothing can be saved at the moment\. Try again",
    r"The data folder \S+ cannot be used: .*\. Check",
    r"\S+ is damaged at byte \d+: this line (cannot be read|changed on the disk)",
)
"""How a refusal may begin."""


@dataclass
class Lived:
    """How far a life came."""

    store: JsonStore | None
    acknowledged: list[Step] = field(default_factory=list)
    refused: list[Step] = field(default_factory=list)


@pytest.fixture(autouse=True)
def no_background(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing happen beside the steps, so that a case fails again in the same way."""
    monkeypatch.setattr(Upkeep, "start", lambda _: None)
    monkeypatch.setattr(Upkeep, "stop", lambda _: None)


def open_with(folder: Path, files: UnluckyFiles) -> JsonStore | None:
    try:
        return open_store(folder, files=files, checkpoint_after_s=math.inf)
    except StorageFailed as refusal:
        check_text(refusal)
        return None


def check_text(refusal: StorageFailed) -> None:
    assert refusal.status == 503
    assert any(re.match(each, refusal.message) for each in CLEAR), refusal.message


def live(life: Life, folder: Path, files: UnluckyFiles) -> Lived:
    """Go through a life. A refusal in plain words is the worst that may happen."""
    lived = Lived(open_with(folder, files))
    for step in life.steps:
        if step is RESTART and lived.store is not None:
            lived.store.close()
            lived.store = open_with(folder, files)
        elif lived.store is not None:
            take(step, lived, lived.store, files)
    return lived


def take(step: Step, lived: Lived, store: JsonStore, files: UnluckyFiles) -> None:
    try:
        step.call(store, files)
        lived.acknowledged.append(step)
    except StorageFailed as refusal:
        check_text(refusal)
        lived.refused.append(step)
        files.is_reading = True
        assert step.shown(held_by(store)) != "whole" or step.shown is anything, (
            f"{step.name} was refused, and is shown"
        )
    except NotFound:
        assert lived.refused, step.name  # only what was refused is missing
    files.is_reading = True
    check(lived, held_by(store))
    files.is_reading = False


def check(lived: Lived, held: Held) -> None:
    """Demand everything acknowledged, and what was refused whole or not at all; nothing twice and in order."""
    wrong = {step.name: step.shown(held) for step in lived.acknowledged if step.shown(held) != "whole"}
    assert wrong == {}, "acknowledged"
    half = [step.name for step in lived.refused if step.shown(held) == "half"]
    assert half == [], "refused"
    for chat in held.chats.values():
        ids = [message.id for message in chat.messages]
        assert len(ids) == len(set(ids)), "doubled"
        expected = [name for step in lived.acknowledged if (name := step.name) in held.texts(chat.id)]
        assert [text for text in held.texts(chat.id) if text in expected] == expected, "order"


def goes_on(store: JsonStore) -> None:
    """Demand that the store accepts again, at the latest after a checkpoint into new files."""
    dora = a_user("dora", id="dora-id")
    with suppress(StorageFailed):
        store.users.add(dora)
        return
    store.checkpoint()
    store.users.add(dora)


@contextmanager
def killed(folder: Path) -> Iterator[JsonStore]:
    """Open what a kill at this moment would leave."""
    left = folder.with_name(folder.name + "-left")
    shutil.copytree(folder, left)
    with reopened(left) as store:
        yield store
    shutil.rmtree(left)


def check_case(life: Life, folder: Path, fault: Fault) -> None:
    files = UnluckyFiles(fault)
    lived = live(life, folder, files)
    files.heal()
    if folder.exists():
        with killed(folder) as after:
            check(lived, held_by(after))
    store = lived.store or open_store(folder, files=files, checkpoint_after_s=math.inf)
    goes_on(store)
    check(lived, held_by(store))
    with killed(folder) as after:
        check(lived, held_by(after))
        assert after.users.get("dora-id").username == "dora"
    store.close()
    with reopened(folder) as after:
        check(lived, held_by(after))
        assert after.users.get("dora-id").username == "dora"
    kept = b"".join(path.read_bytes() for path in folder.glob("quarantine/*"))
    assert [each for each in life.kept_bytes if each not in kept] == []


def calls_of(life: Life, folder: Path) -> int:
    """Return the number of calls of a life in which nothing fails."""
    files = UnluckyFiles()
    lived = live(life, folder, files)
    assert len(lived.acknowledged) + len(lived.refused) == sum(step is not RESTART for step in life.steps)
    calls = files.count
    assert lived.store is not None
    lived.store.close()
    return calls


def all_faults(calls: int) -> list[Fault]:
    return [
        Fault(place, number, lasts, is_late)
        for place in range(calls)
        for number in ERRORS
        for lasts in (False, True)
        for is_late in (False, True)
        if not (number == errno.EINTR and lasts)
    ]


@pytest.mark.crash
@pytest.mark.timeout(0)
@pytest.mark.parametrize("life", LIVES, ids=[life.name for life in LIVES])
def test_a_call_that_fails_costs_no_acknowledged_change(
    life: Life, rounds: int, chance: random.Random
) -> None:
    with memory_folder() as top:
        life.prepare(top / "prepared")
        (top / "prepared").mkdir(exist_ok=True)
        shutil.copytree(top / "prepared", top / "counted")
        faults = all_faults(calls_of(life, top / "counted"))
        drawn = faults if rounds >= ALL_FROM_ROUNDS else chance.sample(faults, min(DRAWN_CASES, len(faults)))
        for fault in drawn:
            folder = top / "data"
            shutil.copytree(top / "prepared", folder)
            try:
                check_case(life, folder, fault)
            except Exception as problem:
                problem.add_note(f"life {life.name}, {fault}")
                raise
            shutil.rmtree(folder)
    print(f"{life.name}: {len(drawn)} of {len(faults)} faults")
