"""What is deleted can be brought back for 30 days, and is then gone for good, whoever owned it."""

from __future__ import annotations

from datetime import timedelta

from chatapp.jobs.registry import JobRegistry
from chatapp.services.chats import KEPT_AFTER_DELETE, Chats
from chatapp.storage.memory import MemoryStore
from tests.records import NOON, a_chat, a_user


def test_only_what_was_deleted_long_ago_is_removed_for_good() -> None:
    store = MemoryStore()
    service = Chats(store.chats, JobRegistry(), now=lambda: NOON)
    alice, bob = (store.users.add(a_user(name)) for name in ("alice", "bob"))
    long_ago, lately = NOON - KEPT_AFTER_DELETE - timedelta(seconds=1), NOON - timedelta(days=29)
    kept = [store.chats.add(a_chat(alice.id)), store.chats.add(a_chat(bob.id, deleted_at=lately))]
    for owner in (alice, bob):
        store.chats.add(a_chat(owner.id, deleted_at=long_ago))

    removed = service.purge_deleted()

    left = [chat.id for owner in (alice, bob) for chat in store.chats.list(owner.id)]
    assert (removed, left) == (2, [chat.id for chat in kept])
