"""The files that a checkpoint replaces: each stays in ``previous/`` until the next checkpoint.

With the journal from where it ends, such a file gives everything that the one after it holds, should that be
destroyed. It is the same file under a second name, so keeping it costs no writing, only room.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

from chatapp.errors import StoreDamaged
from chatapp.storage.chat_table import ChatTable
from chatapp.storage.files import Files
from chatapp.storage.imports.found import ChatsFile, DataFile, UsersFile
from chatapp.storage.imports.opening import open_chats, open_users
from chatapp.storage.layout import Layout
from chatapp.storage.lines import Head, Kind, decode_head
from chatapp.storage.operations import UserDelete, UserPut
from chatapp.storage.replay import JournalReader

log = logging.getLogger(__name__)

_HEAD_BYTES = 1 << 16

Identity = tuple[int, int, int, int]


class PreviousFiles:
    """Keeps the file before the newest of each kind. Whatever goes wrong with that stops no checkpoint."""

    def __init__(self, files: Files, layout: Layout) -> None:
        self._files = files
        self._layout = layout
        self._held: dict[Kind, tuple[int, Identity]] = {}
        """What waits under its name aside: where its journal begins, and which file it is."""
        self._generations: dict[Kind, int] = {}
        """Where the journal begins that goes with each of the kept files."""
        self._has_warned = False
        kinds: tuple[Kind, ...] = ("users", "chats")
        for kind in kinds:
            with suppress(OSError, ValueError):
                self._generations[kind] = _read_head(files, layout.previous_of(kind), kind).gen

    def first_generation(self, default: int) -> int:
        """Return the oldest journal file that a kept file needs; ``default`` when none needs an older one."""
        return min([default, *self._generations.values()])

    def hold(self, kind: Kind, path: Path, generation: int) -> None:
        """Give the file at ``path`` a second name before another takes its place.

        Args:
            generation: the journal file in which the records after it begin.
        """
        aside = self._aside(kind)
        self._held.pop(kind, None)
        try:
            self._files.add_folder(self._layout.previous)
            self._files.remove(aside)
            self._files.link(path, aside)
            self._held[kind] = generation, self._files.identity(aside)
        except OSError as error:
            self._give_up(kind, error)

    def settle(self) -> None:
        """Let the files that are held take the place of the ones before them.

        Must be called only when the disk has the names of the new files: until then the older ones are needed.
        """
        held, self._held = self._held, {}
        renamed = {kind: held[kind][0] for kind in held if self._rename(kind, held[kind][1])}
        if not renamed:
            return
        try:
            self._files.sync_folder(self._layout.previous)
            self._generations |= renamed
        except OSError as error:
            for kind in renamed:
                self._give_up(kind, error)

    def _rename(self, kind: Kind, identity: Identity) -> bool:
        """Let a file that is held take its place; return whether it has."""
        aside = self._aside(kind)
        try:
            if self._files.identity(aside) != identity:
                raise OSError("somebody wrote into the file while it was replaced")
            self._files.rename(aside, self._layout.previous_of(kind))
        except OSError as error:
            self._give_up(kind, error)
            return False
        return True

    def drop(self, kind: Kind) -> None:
        """Forget the kept file, durable: the journal does not lead from it to what is about to be written."""
        self._generations.pop(kind, None)
        path = self._layout.previous_of(kind)
        if self._files.exists(path):
            with suppress(IsADirectoryError):
                self._files.remove(path)
            self._files.sync_folder(path.parent)

    def _give_up(self, kind: Kind, error: OSError) -> None:
        """Go on without: a file whose place is not sure must not hold on to the journal for ever."""
        if not self._has_warned:
            log.warning("the %s.json before the newest is not kept: %s", kind, error)
            self._has_warned = True
        self._generations.pop(kind, None)
        for path in (self._aside(kind), self._layout.previous_of(kind)):
            with suppress(OSError):
                self._files.remove(path)

    def _aside(self, kind: Kind) -> Path:
        path = self._layout.previous_of(kind)
        return path.with_name(path.name + ".tmp")


def _read_head(files: Files, path: Path, kind: Kind) -> Head:
    """Return the head of a file. Raises ``OSError``, and ``ValueError`` when it is damaged."""
    fd = files.open(path)
    try:
        return decode_head(kind, files.read(fd, _HEAD_BYTES, 0).partition(b"\n")[0])
    finally:
        files.close(fd)


def previous_users(files: Files, layout: Layout) -> UsersFile | None:
    """Return the users.json before the newest; ``None`` when there is none that is whole."""
    try:
        found = open_users(files, layout.previous_of("users"))
    except (StoreDamaged, OSError):
        return None
    return found if _is_whole(found) else None


def previous_chats(files: Files, layout: Layout) -> ChatsFile | None:
    """Return the chats.json before the newest; ``None`` when there is none that is whole."""
    try:
        found = open_chats(files, layout.previous_of("chats"), ())
    except (StoreDamaged, OSError):
        return None
    return found if _is_whole(found) else None


def _is_whole(found: DataFile) -> bool:
    return not (found.is_changed or found.snapshot.broken_lines)


def last_record_after(files: Files, layout: Layout, head: Head) -> int | None:
    """Return the number of the journal's last record; ``None`` when it lacks anything since a file with this head."""
    try:
        reader = JournalReader(files, layout.journal, head.gen, head.seq)
        for _ in reader.records():
            pass
    except (StoreDamaged, OSError):
        return None
    return reader.last_number


def chats_again(files: Files, layout: Layout, last_number: int) -> ChatTable | None:
    """Return all chats as they are after a record, from the file before the newest and the journal.

    ``None`` when there is no such file or the journal does not lead from it to that record.
    """
    found = previous_chats(files, layout)
    if found is None or found.snapshot.head.seq > last_number:
        return None
    table = ChatTable(found.snapshot, found.index)
    try:
        head = found.snapshot.head
        reader = JournalReader(files, layout.journal, head.gen, head.seq)
        for record in reader.records():
            for operation in record.operations:
                if not isinstance(operation, UserPut | UserDelete):
                    table.apply(operation)
    except (StoreDamaged, OSError):
        return None
    return table if reader.last_number == last_number else None
