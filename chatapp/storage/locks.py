"""Who may write: one server per folder, and inside it one change of a chat at a time."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from chatapp.errors import StoreLocked
from chatapp.storage.files import Files, read_whole, write_all

_STRIPES = 4096
# What a folder on a network file system answers: there, only a file that is open for writing can be locked.
_CANNOT_BE_LOCKED = {errno.EBADF, errno.EINVAL, errno.EISDIR, errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS}


class FolderLock:
    """The exclusive lock of a data folder, held until :meth:`release` or the end of the process.

    Two things are locked: the folder itself, which nobody can take from under a server unnoticed, and ``store.lock``
    in it, which says who has it and can be locked on network file systems where a folder cannot.

    The operating system drops both when the process dies, however it dies, so a leftover file locks nobody out.
    A child made by ``fork`` would share the lock; the store is therefore opened after a server has forked.
    """

    def __init__(self, files: Files, folder: Path) -> None:
        """Take the lock. Raises ``StoreLocked`` when another server has it."""
        self.folder = folder
        self._files = files
        self._path = folder / "store.lock"
        self._is_lost = False
        self._folder_fd = self._take_folder()
        try:
            self._file_fd = self._take_file()
        except BaseException:
            files.close(self._folder_fd)
            raise

    def _take_folder(self) -> int:
        fd = self._files.open(self.folder)
        try:
            self._lock(fd)
        except BaseException as error:
            if isinstance(error, OSError) and error.errno in _CANNOT_BE_LOCKED:
                return fd
            self._files.close(fd)
            raise
        return fd

    def _take_file(self) -> int:
        """Take the lock file and write down who holds it, for the message that a second server prints."""
        try:
            fd = self._files.create(self._path)
        except FileExistsError:
            fd = self._files.open(self._path, writable=True)
        try:
            self._lock(fd)
            self._files.cut(fd, 0)
            write_all(self._files, fd, f"{os.getpid()}\n".encode(), 0)
        except BaseException:
            self._files.close(fd)
            raise
        return fd

    def _lock(self, fd: int) -> None:
        if not self._files.lock(fd):
            raise StoreLocked(_taken(self._files, self._path))

    def hold(self) -> None:
        """Make sure that what stands at the folder's place is what is locked; lock what somebody put there.

        Raises ``StoreLocked`` when another server has taken it, now and ever after: its changes must not be
        written over. Raises ``OSError`` when the folder cannot be reached or made.
        """
        try:
            if self._is_lost:
                raise StoreLocked(_taken(self._files, self._path))
            self._files.make_folder(self.folder)
            if not self._is_at(self.folder, self._folder_fd):
                self._folder_fd = self._instead_of(self._folder_fd, self._take_folder())
            if not self._is_at(self._path, self._file_fd):
                self._file_fd = self._instead_of(self._file_fd, self._take_file())
        except StoreLocked:
            self._is_lost = True
            raise

    def _is_at(self, path: Path, fd: int) -> bool:
        try:
            return self._files.identity(path)[:2] == self._files.identity(fd)[:2]
        except FileNotFoundError:
            return False

    def _instead_of(self, old: int, new: int) -> int:
        self._files.close(old)
        return new

    def release(self) -> None:
        self._files.close(self._file_fd)
        self._files.close(self._folder_fd)


def _taken(files: Files, path: Path) -> str:
    try:
        holder = read_whole(files, path).decode(errors="replace").strip()
    except OSError:
        holder = ""
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
        self.gone_owners: set[str] = set()
        """Ids of the accounts that this process deleted. An id is added only while all chats are held still."""
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
