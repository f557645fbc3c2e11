"""Checkpoints: users.json and chats.json are written anew beside the old ones, then renamed over them.

A crash at any step leaves files and journal that give the same state. The steps:

1. a new journal generation is made; under the journal's lock, writing moves to it and the tables are frozen
2. both files are written aside and synced, while readers and writers go on
3. they are renamed, and the folder is synced
4. the files that they replaced, still there under a second name, take the place of the ones before in ``previous/``
5. only then are generations removed that neither needs; young ones stay, for whoever is copying the folder
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from chatapp.errors import StorageFailed, StoreDamaged, StoreLocked
from chatapp.ids import monotonic_s, now_utc
from chatapp.offload import offload
from chatapp.storage.chat_table import ChatTable, FrozenChats
from chatapp.storage.files import Files, copy_file, storage_error
from chatapp.storage.imports.found import DataFile
from chatapp.storage.journal import Journal, JournalFile, generation_path
from chatapp.storage.keeping import free_name
from chatapp.storage.layout import Layout
from chatapp.storage.lines import Head
from chatapp.storage.locks import FolderLock
from chatapp.storage.previous import Identity, PreviousFiles
from chatapp.storage.replay import generations
from chatapp.storage.snapshot import Snapshot, SnapshotWriter
from chatapp.storage.user_table import FrozenUsers, UserTable

log = logging.getLogger(__name__)

_KEPT_S = 600.0
_KEPT_BYTES = 64 << 20
"""How long, and up to which size together, finished generations are kept."""


@dataclass(frozen=True, slots=True)
class _Moment:
    """What a checkpoint writes: everything up to one record, and where the next one goes.

    Args:
        is_rescue: the journal file before failed: what it holds behind that record was refused, and may be there.
    """

    number: int
    generation: int
    is_rescue: bool
    users: FrozenUsers
    chats: FrozenChats


@dataclass(frozen=True, slots=True)
class _InPlace:
    """A data file as it was opened or put in place, to be known again.

    Args:
        generation: the journal file in which the records after it begin.
        is_whole: the journal leads on from exactly what it holds.
        is_changed: it holds changes of others, which the journal does not know.
    """

    identity: Identity
    generation: int
    is_whole: bool = True
    is_changed: bool = False

    @classmethod
    def found(cls, file: DataFile, first_generation: int) -> _InPlace:
        """Return what a start found.

        Args:
            first_generation: where the start began to read the journal. What follows a file that ends later may begin
                before its generation, when a rescue of a failed journal was cut short.
        """
        snapshot = file.snapshot
        is_whole = not (file.is_changed or snapshot.broken_lines) and snapshot.head.gen == first_generation
        return cls(snapshot.identity, snapshot.head.gen, is_whole, file.is_changed)


class Checkpointer:
    """Writes the two files. Safe for any thread; one checkpoint at a time.

    Args:
        found: users.json and chats.json as they are now.
        saved_number: the last record that both hold.
        notice: takes a line for root.
    """

    def __init__(
        self,
        files: Files,
        layout: Layout,
        lock: FolderLock,
        journal: Journal,
        users: UserTable,
        chats: ChatTable,
        found: Sequence[DataFile],
        saved_number: int,
        notice: Callable[[str], None],
    ) -> None:
        self._files = files
        self._layout = layout
        self._lock = lock
        self._journal = journal
        self._users = users
        self._chats = chats
        self._saved_number = saved_number
        self._notice = notice
        first = min(file.snapshot.head.gen for file in found)
        self._in_place = {file.path: _InPlace.found(file, first) for file in found}
        self._tried: dict[Path, _InPlace] = {}
        self._previous = PreviousFiles(files, layout)
        self._finished: dict[int, tuple[float, int]] = {}
        """Generations before the present one: since when they are (monotonic seconds), and their size."""
        self._busy = threading.Lock()
        self.files_bytes = sum(file.snapshot.size_bytes for file in found)
        """Size of users.json and chats.json together."""

    @property
    def unsaved_records(self) -> int:
        """How many records of the journal the files do not hold, whichever process wrote them."""
        return self._journal.last_number - self._saved_number

    @property
    def is_needed(self) -> bool:
        """True when the files do not hold everything, or the journal cannot go on without them, or may not."""
        journal = self._journal
        return self.unsaved_records > 0 or journal.needs_new_file or journal.problem is not None

    def checkpoint(self, *, with_uses: bool = True) -> None:
        """Make the files hold everything; do nothing when they do already.

        Args:
            with_uses: also when nothing but the last use of a session is new, or when somebody touched the files.

        Raises ``StorageFailed``, and then the old files and the journal hold everything as before.
        """
        with self._busy:
            if not self.is_needed and not (
                with_uses and (self._users.has_unsaved_uses or self._were_touched())
            ):
                return
            try:
                self._lock.hold()
                self._checkpoint()
            except StoreLocked as error:
                self._journal.refuse(str(error))
                raise
            except OSError as error:
                raise storage_error(error) from error

    def _were_touched(self) -> bool:
        """Return whether a file was removed, replaced or written to since it was put in place."""
        try:
            return any(self._files.identity(path) != known.identity for path, known in self._in_place.items())
        except OSError:
            return True

    def _checkpoint(self) -> None:
        moment = self._freeze()
        users, chats = offload(self._write, moment)
        self._users.adopt(moment.users)
        self._chats.adopt(moment.chats, chats)
        self._saved_number = moment.number
        self.files_bytes = users.size_bytes + chats.size_bytes
        self._journal.accept()
        self._forget_before(moment.generation)

    def _freeze(self) -> _Moment:
        """Move the journal on to an empty generation and take everything as it is at that point."""
        new_file = None if self._journal.is_fresh else self._new_generation()
        with self._journal.paused():
            is_rescue = self._journal.needs_new_file
            if new_file is None and not self._journal.is_fresh:
                new_file = self._new_generation()
            if new_file is not None:
                self._journal.move_to(new_file)
            journal = self._journal
            return _Moment(
                journal.last_number, journal.generation, is_rescue, self._users.freeze(), self._chats.freeze()
            )

    def _new_generation(self) -> JournalFile:
        """Make the next generation, in a new folder where somebody removed the old one."""
        folder = self._layout.journal
        self._files.make_folder(folder)
        return JournalFile.create(
            self._files, folder, max([self._journal.generation, *generations(self._files, folder)]) + 1
        )

    def _write(self, moment: _Moment) -> tuple[Snapshot, Snapshot]:
        users = self._write_aside(self._layout.users, moment, moment.users)
        chats = self._write_aside(self._layout.chats, moment, moment.chats)
        if moment.is_rescue:
            for snapshot in (users, chats):
                with suppress(OSError):
                    self._previous.drop(snapshot.head.kind)
        for snapshot in (users, chats):
            self._publish(snapshot, is_rescue=moment.is_rescue)
        for folder in {users.path.parent, chats.path.parent}:
            self._files.sync_folder(folder)
        self._previous.settle()
        return users, chats

    def _write_aside(self, path: Path, moment: _Moment, content: FrozenUsers | FrozenChats) -> Snapshot:
        head = Head(content.kind, moment.number, moment.generation, content.count, content.site)
        writer = SnapshotWriter(self._files, path, head)
        try:
            content.write(writer)
            return writer.finish()
        except BaseException:
            writer.discard()
            raise

    def _publish(self, snapshot: Snapshot, *, is_rescue: bool) -> None:
        """Put a finished snapshot in its place. What is there stays for a while, a file of somebody else beside it."""
        path, kind = snapshot.path, snapshot.head.kind
        known = self._in_place.get(path)
        if known and known.is_changed:
            self._previous.drop(kind)
        if self._files.exists(path):
            ours = self._ours_at(path)
            if ours is None:
                self._keep_stranger(path)
            elif ours.is_whole and not is_rescue:
                self._previous.hold(kind, path, ours.generation)
        self._tried[path] = _InPlace(snapshot.identity, snapshot.head.gen)
        self._files.rename(path.with_name(path.name + ".tmp"), path)
        self._in_place[path] = self._tried[path]

    def _ours_at(self, path: Path) -> _InPlace | None:
        """Return what we put there; ``None`` when it is somebody else's.

        It may be the last one tried: a rename can be made and be reported as failed all the same.
        """
        found = self._files.identity(path)
        ours = (self._in_place.get(path), self._tried.get(path))
        return next((each for each in ours if each and each.identity == found), None)

    def _keep_stranger(self, path: Path) -> None:
        """Give a stranger's file a second name. The first stays until ours takes its place: no cut finds it missing."""
        stamped = path.with_name(f"{path.name}.foreign-{now_utc():%Y%m%dT%H%M%S%f}")
        kept = free_name(self._files, stamped)
        try:
            self._files.link(path, kept)
        except OSError:
            self._copy_stranger(path, kept)
        self._files.sync_folder(path.parent)
        self._notice(
            f"{path.name} was changed by somebody while the server ran. That file was kept as {kept.name}."
        )

    def _copy_stranger(self, path: Path, kept: Path) -> None:
        """Keep a stranger where there are no hard links. One that is no file at all is moved away."""
        source = self._files.open(path)
        try:
            copy_file(self._files, source, kept)
        except IsADirectoryError:
            self._files.remove(kept)
            self._files.rename(path, kept)
        finally:
            self._files.close(source)

    def _forget_before(self, generation: int) -> None:
        """Remove journal files that nobody needs any more, the oldest first.

        Those stay that go with the files in ``previous/``, and the newest in any case; others too while they are young
        and together small, for a slow copy of the folder.
        """
        needed_from = self._previous.first_generation(generation)
        finished = [each for each in generations(self._files, self._layout.journal) if each < generation]
        self._finished = {each: self._finished.get(each) or self._just_finished(each) for each in finished}
        kept_bytes = 0
        for place, each in enumerate(reversed(finished)):
            at_s, size_bytes = self._finished[each]
            kept_bytes += size_bytes
            is_kept = monotonic_s() - at_s < _KEPT_S and kept_bytes <= _KEPT_BYTES
            if place > 0 and each < needed_from and not is_kept:
                self._forget(finished[: len(finished) - place])
                return

    def _just_finished(self, generation: int) -> tuple[float, int]:
        """Return the time and the size of a generation that nothing is written to any more."""
        size_bytes = 0
        with suppress(OSError):
            size_bytes = self._files.identity(generation_path(self._layout.journal, generation))[2]
        return monotonic_s(), size_bytes

    def _forget(self, finished: Sequence[int]) -> None:
        for each in finished:
            try:
                self._files.remove(generation_path(self._layout.journal, each))
            except OSError as error:
                log.warning("an old journal file could not be removed: %s", error)


def failed(error: StorageFailed) -> str:
    """Return the line for root about a checkpoint that failed."""
    begin = f"users.json and chats.json could not be brought up to date ({error.detail or error})."
    if isinstance(error, StoreDamaged):
        return (
            f"{begin} The journal has what is new. If somebody wrote into that file, stop and start the server: "
            "a start takes over what was edited."
        )
    return f"{begin} Nothing is lost: the journal has it."
