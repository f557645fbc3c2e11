"""What every store promises about its own life."""

from __future__ import annotations

from chatapp.storage.base import Store
from tests.records import a_user


def test_a_checkpoint_changes_nothing_that_is_read(store: Store) -> None:
    alice = store.users.add(a_user("alice"))

    store.checkpoint()

    assert store.users.get(alice.id) == alice


def test_closing_twice_is_closing_once(store: Store) -> None:
    store.close()
    store.close()


def test_a_sound_store_has_nothing_to_report(store: Store) -> None:
    assert store.notices == []
