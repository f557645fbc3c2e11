"""What a killed server leaves: the bytes of its folder at one moment, to be opened again and again."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chatapp.storage.json_store import JsonStore, open_store
from chatapp.storage.recovery import Recovered
from tests.fakes.files import FaultyFiles
from tests.records import a_chat, a_message, a_user


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files of a folder but the lock, by relative name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "store.lock"
    }


def lay_out(folder: Path, files: dict[str, bytes]) -> None:
    """Make the folder hold exactly these files."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@contextmanager
def reopened(folder: Path) -> Iterator[JsonStore]:
    """Open a folder without waiting for the disk: many bytes are tried one after another."""
    store = open_store(folder, files=FaultyFiles(syncs=False), checkpoint_after_s=math.inf)
    try:
        yield store
    finally:
        store.close()


def stored_texts(store: JsonStore) -> list[str]:
    """Return the content of every message of every user, chat by chat in the order of their making."""
    return [
        message.content
        for user in store.users.all()
        for summary in sorted(store.chats.list(user.id), key=lambda each: each.id)
        for message in store.chats.get(user.id, summary.id).messages
    ]


def loaded_texts(recovered: Recovered) -> list[str]:
    """As :func:`stored_texts`, for a folder that was only read."""
    return [
        message.content
        for user in recovered.users.all()
        for chat_id in recovered.chats.ids_of(user.id)
        if (chat := recovered.chats.chat(chat_id))
        for message in chat.messages
    ]


def reports_something(recovered: Recovered) -> bool:
    """Return whether opening the folder would leave a line for root."""
    return bool(recovered.snapshots[1].broken_lines or recovered.reader.torn or recovered.remarks)


def write_some(store: JsonStore, *texts: str) -> None:
    """Store one message after another, each durable before the next, in the first chat of the first user."""
    alice = store.users.by_name("alice") or store.users.add(a_user("alice"))
    chats = store.chats.list(alice.id) or [store.chats.add(a_chat(alice.id))]
    for text in texts:
        store.chats.add_messages(alice.id, chats[0].id, [a_message(text)])


def newest_journal(folder: Path) -> Path:
    return max(path for path in (folder / "journal").iterdir() if path.stat().st_size)
