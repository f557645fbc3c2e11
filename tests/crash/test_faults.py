"""The N-th call to the file system fails, for every N: a refusal at worst, and nothing acknowledged is lost."""

from __future__ import annotations

import errno
import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatapp.errors import NotFound, StorageFailed
from chatapp.models import User
from chatapp.storage.json_store import JsonStore, open_store
from tests.fakes.files import FaultyFiles, error
from tests.memory_folder import memory_folder
from tests.records import a_chat, a_message, a_reply, a_user

Step = Callable[[JsonStore], object]

ALICE, CHAT, REPLY = "alice-id", "chat-id", "reply-id"
FINAL = a_reply("the end", id=REPLY, status="complete")


def add(text: str) -> Step:
    return lambda store: store.chats.add_messages(ALICE, CHAT, [a_message(text)])


def checkpoint(store: JsonStore) -> None:
    store.checkpoint()


LIFE: list[tuple[str, Step]] = [
    ("user", lambda store: store.users.add(a_user("alice", id=ALICE))),
    ("chat", lambda store: store.chats.add(a_chat(ALICE, id=CHAT))),
    ("one", add("one")),
    ("files", checkpoint),
    ("two", add("two")),
    ("reply", lambda store: store.chats.add_messages(ALICE, CHAT, [a_reply(id=REPLY)])),
    ("part", lambda store: store.chats.append_part(ALICE, CHAT, REPLY, 0, "the")),
    ("files", checkpoint),
    ("the end", lambda store: store.chats.finish_message(ALICE, CHAT, FINAL)),
    ("three", add("three")),
]
"""What a store lives through. Texts are called by their content."""
TEXTS = {"one", "two", "the end", "three"}


def live(folder: Path, files: FaultyFiles) -> set[str]:
    """Go through a store's life and return which steps were acknowledged. A refusal is all that may happen else."""
    try:
        store = open_store(folder, files=files, checkpoint_after_s=math.inf)
    except StorageFailed:
        return set()
    try:
        return {name for name, step in LIFE if was_acknowledged(step, store)}
    finally:
        store.close()


def was_acknowledged(step: Step, store: JsonStore) -> bool:
    try:
        step(store)
    except (StorageFailed, NotFound):
        return False
    finally:
        assert isinstance(store.users.all(), tuple)
    return True


def calls_of_a_whole_life(folder: Path) -> int:
    files = FaultyFiles(syncs=False)
    assert live(folder, files) == {name for name, _ in LIFE}
    return len(files.calls)


@pytest.fixture
def quick_folder() -> Iterator[Path]:
    with memory_folder() as folder:
        yield folder


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EACCES, errno.EMFILE])
def test_a_call_that_fails_costs_no_acknowledged_change(
    quick_folder: Path, number: int, lasting: bool
) -> None:
    calls = calls_of_a_whole_life(quick_folder / "whole")

    for place in range(calls):
        folder = quick_folder / f"{place}"
        files = FaultyFiles(syncs=False)
        counter = itertools.count()
        files.fault = lambda *_, counter=counter, place=place: (
            error(number) if (at := next(counter)) == place or (lasting and at > place) else None
        )
        acknowledged = live(folder, files)

        after = open_store(folder, files=FaultyFiles(syncs=False), checkpoint_after_s=math.inf)
        texts = [text for text in texts_of(after) if text in TEXTS]
        after.close()
        assert acknowledged & TEXTS <= set(texts), f"call {place}: {files.calls[place]}"
        assert len(texts) == len(set(texts)), f"call {place}: {files.calls[place]}"
        assert ("user" in acknowledged) <= has_alice(after), f"call {place}: {files.calls[place]}"


def texts_of(store: JsonStore) -> list[str]:
    chats = [store.chats.get(ALICE, summary.id) for summary in store.chats.list(ALICE)]
    return [message.content for chat in chats for message in chat.messages]


def has_alice(store: JsonStore) -> bool:
    user: User | None = store.users.by_name("alice")
    return user is not None and user.is_root
