"""What ``bench.store`` compares the store with: the usual ways of keeping such messages, each as well as it can.

All write the same JSON of a message and return when the disk has it.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.store_folder import MESSAGES_PER_CHAT, a_message
from chatapp.storage.chat_state import text_of

Write = Callable[[str, bytes], None]
"""Stores the text of a message in a chat."""

_TABLE = "CREATE TABLE messages (chat TEXT, place INTEGER PRIMARY KEY, text TEXT)"
_INSERT = "INSERT INTO messages (chat, text) VALUES (?, ?)"


def whole_file(folder: Path, chats: int) -> Write:
    """One JSON file that is written aside, synced and renamed for every message."""
    messages = [json.loads(text_of(a_message(number))) for number in range(MESSAGES_PER_CHAT)]
    content: dict[str, list[Any]] = {f"chat-{number}": list(messages) for number in range(chats)}
    path, aside = folder / "whole.json", folder / "whole.json.tmp"

    def write(_chat_id: str, text: bytes) -> None:
        content["chat-0"].append(json.loads(text))
        with aside.open("w", encoding="utf-8") as file:
            file.write(json.dumps(content, ensure_ascii=False))
            file.flush()
            os.fdatasync(file.fileno())
        aside.replace(path)
        descriptor = os.open(folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

    return write


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    return connection


@contextlib.contextmanager
def sqlite_per_thread(folder: Path) -> Iterator[Write]:
    """SQLite with a write-ahead log and a connection for each thread: every message is its own transaction."""
    path = folder / "threads.sqlite"
    first = _connect(path)
    first.execute(_TABLE)
    local = threading.local()
    connections = [first]

    def write(chat_id: str, text: bytes) -> None:
        if not hasattr(local, "connection"):
            local.connection = _connect(path)
            connections.append(local.connection)
        local.connection.execute(_INSERT, (chat_id, text.decode()))

    try:
        yield write
    finally:
        for connection in connections:
            connection.close()


@contextlib.contextmanager
def sqlite_one_writer(folder: Path) -> Iterator[Write]:
    """The same with one writing thread, which puts all messages that wait into one transaction."""
    waiting: queue.SimpleQueue[tuple[str, str, threading.Event] | None] = queue.SimpleQueue()

    def run() -> None:
        connection = _connect(folder / "writer.sqlite")
        connection.execute(_TABLE)
        while group := _take(waiting):
            connection.execute("BEGIN")
            connection.executemany(_INSERT, [each[:2] for each in group])
            connection.execute("COMMIT")
            for each in group:
                each[2].set()
        connection.close()

    def write(chat_id: str, text: bytes) -> None:
        stored = threading.Event()
        waiting.put((chat_id, text.decode(), stored))
        stored.wait()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield write
    finally:
        waiting.put(None)
        thread.join()


def _take(
    waiting: queue.SimpleQueue[tuple[str, str, threading.Event] | None],
) -> list[tuple[str, str, threading.Event]]:
    """Return all that waits, at least one; nothing at the end."""
    group = []
    each = waiting.get()
    while each is not None:
        group.append(each)
        try:
            each = waiting.get_nowait()
        except queue.Empty:
            break
    return group
