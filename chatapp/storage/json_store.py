"""The store over one data folder: users.json, chats.json and the journal behind both repositories."""

from __future__ import annotations

import logging
from pathlib import Path

from chatapp.errors import StorageFailed
from chatapp.storage.base import ChatRepository, UserRepository
from chatapp.storage.chats import JsonChatRepository
from chatapp.storage.checkpoint import Checkpointer, failed
from chatapp.storage.files import Files
from chatapp.storage.journal import Journal, continue_journal
from chatapp.storage.layout import Layout
from chatapp.storage.locks import FolderLock, Turns
from chatapp.storage.maintenance.restore import finish_restore
from chatapp.storage.mounts import warn_of_network
from chatapp.storage.operations import Operation, UserDelete, UserPut
from chatapp.storage.parts import PartBuffer
from chatapp.storage.recovery import Recovered, create_missing, load, repair
from chatapp.storage.upkeep import Upkeep
from chatapp.storage.users import JsonUserRepository

log = logging.getLogger(__name__)

CHECKPOINT_AFTER_S = 2.0


def open_store(
    data_dir: Path, *, files: Files | None = None, checkpoint_after_s: float = CHECKPOINT_AFTER_S
) -> JsonStore:
    """Open a data folder, making it when it is new, and hold it until :meth:`JsonStore.close`.

    Must be called after the server has forked: the lock and the background thread belong to this process.

    Args:
        files: the file system; the real one unless a test passes another.
        checkpoint_after_s: how long after the last change a small store is written to its files.

    Raises ``StoreLocked`` while another server has the folder, ``StoreDamaged`` when a file cannot be trusted
    (nothing is changed then), other ``StorageFailed`` when the folder cannot be read or written.
    """
    files = files or Files()
    layout = Layout(data_dir)
    try:
        files.make_folder(layout.folder)
        lock = FolderLock(files, layout.folder)
        warn_of_network(files, layout.folder)
        try:
            return _open_locked(files, layout, lock, checkpoint_after_s)
        except BaseException:
            lock.release()
            raise
    except OSError as error:
        raise StorageFailed(
            f"The data folder {data_dir} cannot be used: {error.strerror or error} ({error.filename or data_dir}). "
            "Check that it is a folder, that this user may write to it and that the disk is not full.",
            detail=str(error),
        ) from error


def _open_locked(files: Files, layout: Layout, lock: FolderLock, checkpoint_after_s: float) -> JsonStore:
    finish_restore(files, layout)
    files.make_folder(layout.journal)
    create_missing(files, layout)
    recovered = load(files, layout)
    notices = repair(files, layout, recovered)
    return JsonStore(files, layout, lock, recovered, notices, checkpoint_after_s)


class JsonStore:
    """See :class:`chatapp.storage.base.Store`. Made by :func:`open_store`."""

    users: UserRepository
    chats: ChatRepository

    def __init__(
        self,
        files: Files,
        layout: Layout,
        lock: FolderLock,
        recovered: Recovered,
        notices: list[str],
        checkpoint_after_s: float,
    ) -> None:
        self._lasting_notices = notices
        self._lock = lock
        self._users = recovered.users
        self._chats = recovered.chats
        self._closed = False
        reader = recovered.reader
        journal_file = continue_journal(files, layout.journal, reader.newest, reader.last_group)
        self._journal = Journal(journal_file, reader.last_number, self._apply)
        self._checkpointer = Checkpointer(
            files, layout, lock, self._journal, self._users, self._chats,
            recovered.files, recovered.saved_number, notices.append,
        )  # fmt: skip
        if recovered.is_changed:
            self._write_anew()
        turns = Turns()
        self.users = JsonUserRepository(self._users, self._chats, self._journal, turns)
        self._parts = PartBuffer(self._journal)
        self.chats = JsonChatRepository(self._chats, self._journal, self._parts, turns)
        self._upkeep = Upkeep(self._journal, self._parts, self._checkpointer, checkpoint_after_s)
        self._upkeep.start()

    def _write_anew(self) -> None:
        """Give files that others changed the server's form, before anything else happens to them."""
        try:
            self._checkpointer.checkpoint()
        except BaseException:
            self._journal.close(StorageFailed("The server did not start, so this was not saved."))
            raise

    def _apply(self, operation: Operation) -> None:
        if isinstance(operation, (UserPut, UserDelete)):
            self._users.apply(operation)
        else:
            self._chats.apply(operation)

    @property
    def notices(self) -> list[str]:
        failure = self._upkeep.failure
        return [*self._lasting_notices, *([failure] if failure else [])]

    @property
    def problem(self) -> str | None:
        problem = self._journal.problem
        return problem.message if problem else None

    def checkpoint(self) -> None:
        self._checkpointer.checkpoint()

    def close(self) -> None:
        """A checkpoint that fails here loses nothing: what it would have written is in the journal."""
        if self._closed:
            return
        self._closed = True
        self._upkeep.stop()
        try:
            self._parts.flush()
            self._checkpointer.checkpoint()
        except StorageFailed as error:
            log.error("%s", failed(error))
        finally:
            self._journal.close(
                StorageFailed("The server is being stopped, so this was not saved. Try again soon.")
            )
            self._lock.release()
