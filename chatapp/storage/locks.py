"""Who may write: one server per folder, and inside it one change of a chat at a time."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from chatapp.errors import StoreLocked
from chatapp.storage.files import Files, read_whole, write_all

_STRIPES = 4096


class FolderLock:
    """The exclusive lock of a data folder, held until :meth:`release` or the end of the process.

    The operating system drops it when the process dies, however it dies, so a leftover file locks nobody out.
    A child made by ``fork`` would share the lock; the store is therefore opened after a server has forked.
    """

    def __init__(self, files: Files, folder: Path) -> None:
        """Take the lock. Raises ``StoreLocked`` when another server has it."""
        self.folder = folder
        self._files = files
        self._path = folder / "store.lock"
        try:
            self._fd = files.create(self._path)
        except FileExistsError:
            self._fd = files.open(self._path, writable=True)
        try:
            self._take()
        except BaseException:
            files.close(self._fd)
            raise

    def _take(self) -> None:
        """Take the lock and write down who holds it, for the message that a second server prints."""
        if not self._files.lock(self._fd):
            raise StoreLocked(_taken(self._files, self._path))
        self._files.cut(self._fd, 0)
        write_all(self._files, self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        self._files.close(self._fd)


def _taken(files: Files, path: Path) -> str:
    holder = read_whole(files, path).decode(errors="replace").strip()
    who = f"process {holder}" if holder.isdigit() else "another process"
    return (
        f"The data folder {path.parent} is in use by another chatapp server ({who}). "
        "Stop that one first, or set CHATAPP_DATA_DIR to another folder."
    )


class Turns:
    """Gives each chat a turn: whoever decides about a chat holds its turn until the change is stored.

    Many chats share one of a fixed number of locks, so nothing has to be cleaned up. A turn is not reentrant.
    """

    def __init__(self) -> None:
        self._locks = [threading.Lock() for _ in range(_STRIPES)]

    def of(self, chat_id: str) -> threading.Lock:
        """Return the lock to hold while changing this chat."""
        return self._locks[hash(chat_id) % _STRIPES]

    @contextmanager
    def all(self) -> Iterator[None]:
        """Hold every chat still. Always taken in the same order, and never while holding one turn."""
        with ExitStack() as held:
            for lock in self._locks:
                held.enter_context(lock)
            yield
