"""Changes that meet: who deletes an account or a chat leaves nothing behind, whatever is on its way meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from chatapp.errors import NotFound, StorageFailed
from chatapp.models import Chat, User
from chatapp.storage.files import Files
from chatapp.storage.json_store import JsonStore
from chatapp.storage.layout import Layout
from chatapp.storage.recovery import load
from tests.fakes.files import FaultyFiles, disk_full
from tests.records import a_chat, a_reply, a_user
from tests.unit.storage.conftest import Opener

PATIENCE_S = 20
LONG_ENOUGH_TO_GO_WRONG_S = 0.2


class HeldDisk(FaultyFiles):
    """Holds the next sync of the journal after :meth:`hold` until :meth:`release`."""

    def __init__(self) -> None:
        super().__init__(syncs=False)
        self.reached = threading.Event()
        self._may_go_on = threading.Event()

    def hold(self) -> None:
        self.fault = self._wait

    def release(self) -> None:
        self._may_go_on.set()

    def _wait(self, call: str, name: str) -> None:
        if call == "sync" and name.endswith(".jsonl") and not self.reached.is_set():
            self.reached.set()
            self._may_go_on.wait(PATIENCE_S)


@pytest.fixture
def disk() -> HeldDisk:
    return HeldDisk()


@pytest.fixture
def store(open_folder: Opener, disk: HeldDisk) -> JsonStore:
    return open_folder(disk)


@pytest.fixture
def alice(store: JsonStore) -> User:
    return store.users.add(a_user("alice"))


@pytest.fixture
def pool(disk: HeldDisk) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool
        disk.release()


def met(
    disk: HeldDisk, pool: ThreadPoolExecutor, first: Callable[[], object], second: Callable[[], object]
) -> list[Future[object]]:
    """Run ``second`` while ``first`` waits for the disk, and return both when they have ended."""
    disk.hold()
    calls = [pool.submit(first)]
    assert disk.reached.wait(PATIENCE_S)
    calls.append(pool.submit(second))
    threading.Event().wait(LONG_ENOUGH_TO_GO_WRONG_S)
    disk.release()
    for call in calls:
        call.exception(PATIENCE_S)
    return calls


def chats_in(folder: Path) -> list[str]:
    """Return the ids of all chats that a start would find, with or without an owner."""
    return list(load(Files(), Layout(folder)).chats.ids())


def test_a_chat_that_is_being_stored_goes_with_its_account(
    store: JsonStore, alice: User, disk: HeldDisk, pool: ThreadPoolExecutor, folder: Path
) -> None:
    added, deleted = met(
        disk, pool, lambda: store.chats.add(a_chat(alice.id)), lambda: store.users.delete(alice.id)
    )

    assert (added.exception(), deleted.exception()) == (None, None)
    assert chats_in(folder) == []


def test_a_chat_for_an_account_that_is_being_deleted_is_refused(
    store: JsonStore, alice: User, disk: HeldDisk, pool: ThreadPoolExecutor, folder: Path
) -> None:
    deleted, added = met(
        disk, pool, lambda: store.users.delete(alice.id), lambda: store.chats.add(a_chat(alice.id))
    )

    assert deleted.exception() is None
    assert isinstance(added.exception(), NotFound)
    assert chats_in(folder) == []


def test_an_account_that_could_not_be_deleted_takes_new_chats(
    store: JsonStore, alice: User, disk: HeldDisk
) -> None:
    disk.fault = lambda call, _: disk_full() if call == "write" else None
    with pytest.raises(StorageFailed):
        store.users.delete(alice.id)
    disk.fault = lambda *_: None

    chat: Chat = store.chats.add(a_chat(alice.id))

    assert [each.id for each in store.chats.list(alice.id)] == [chat.id]


def test_a_reply_that_ends_while_its_chat_is_deleted_leaves_nothing_in_the_journal(
    store: JsonStore, alice: User, disk: HeldDisk, pool: ThreadPoolExecutor, folder: Path
) -> None:
    reply = a_reply("so far", status="streaming")
    chat = store.chats.add(a_chat(alice.id, messages=(reply,)))

    deleted, ended = met(
        disk, pool,
        lambda: store.chats.delete(alice.id, chat.id),
        lambda: store.chats.finish_message(
            alice.id, chat.id, reply.model_copy(update={"status": "complete"})
        ),
    )  # fmt: skip

    assert deleted.exception() is None
    assert isinstance(ended.exception(), NotFound)
    assert load(Files(), Layout(folder)).orphans == []
