"""A store that several people write to without pause, while it writes its files again and again."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chatapp.storage.json_store import JsonStore, open_store
from tests.fakes.files import FaultyFiles
from tests.records import a_chat, a_message, a_user

WRITERS = 4
OWNER = "alice-id"


@contextmanager
def under_load(folder: Path) -> Iterator[list[str]]:
    """Give the growing list of the messages that were acknowledged; each text occurs once."""
    acknowledged: list[str] = []
    ended = threading.Event()
    store = open_store(folder, files=FaultyFiles(syncs=False), checkpoint_after_s=math.inf)
    store.users.add(a_user("alice", id=OWNER))
    works = [threading.Thread(target=_write, args=[store, acknowledged, ended, n]) for n in range(WRITERS)]
    works.append(threading.Thread(target=_checkpoint, args=[store, ended]))
    for thread in works:
        thread.start()
    try:
        yield acknowledged
    finally:
        ended.set()
        for thread in works:
            thread.join()
        store.close()


def _write(store: JsonStore, acknowledged: list[str], ended: threading.Event, writer: int) -> None:
    chat = store.chats.add(a_chat(OWNER))
    for number in itertools.count():
        if ended.is_set():
            return
        text = f"{writer}-{number}"
        store.chats.add_messages(OWNER, chat.id, [a_message(text)])
        acknowledged.append(text)


def _checkpoint(store: JsonStore, ended: threading.Event) -> None:
    while not ended.is_set():
        store.checkpoint()
