"""When a small store writes its files by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatapp.storage import upkeep
from chatapp.storage.json_store import JsonStore
from tests.records import a_user
from tests.unit.storage.conftest import Opener

IDLE_S = 2.0


class Clock:
    """Time stands still until a test moves it on."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Nothing is done by itself: a test asks when it is due."""
    clock = Clock()
    monkeypatch.setattr(upkeep, "monotonic_s", clock)
    monkeypatch.setattr(upkeep.Upkeep, "_run", lambda _: None)
    return clock


def change(store: JsonStore) -> None:
    store.users.add(a_user(f"user-{store.users.count()}"))


def test_the_files_follow_once_nothing_has_changed_for_a_while(open_folder: Opener, clock: Clock) -> None:
    """However long it was quiet before."""
    store = open_folder(checkpoint_after_s=IDLE_S)
    for _ in range(3):
        clock.now_s += 3600
        change(store)
        clock.now_s += 1
        change(store)

        assert store._upkeep._due_at_s() == clock.now_s + IDLE_S
        clock.now_s += IDLE_S
        store._upkeep._work()


def test_the_files_follow_within_a_limit_while_changes_never_pause(
    open_folder: Opener, folder: Path, clock: Clock
) -> None:
    store = open_folder(checkpoint_after_s=IDLE_S)
    change(store)
    clock.now_s += IDLE_S
    store._upkeep._work()
    clock.now_s += 3600
    before = (folder / "users.json").read_bytes()
    latest_s = clock.now_s + 5 * IDLE_S

    while clock.now_s < latest_s:
        assert (folder / "users.json").read_bytes() == before
        change(store)
        clock.now_s += 1
        store._upkeep._work()

    assert (folder / "users.json").read_bytes() != before
