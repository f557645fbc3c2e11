"""Opening a data folder: everything is read and checked first, and only then is anything repaired."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

from chatapp.errors import StoreDamaged
from chatapp.models import User
from chatapp.storage.chat_table import ChatIndex, ChatTable
from chatapp.storage.files import Files, read_whole, write_aside
from chatapp.storage.journal import JournalFile, generation_path
from chatapp.storage.layout import Layout
from chatapp.storage.lines import Head, Kind
from chatapp.storage.operations import MessageAdd, MessageDone, UserDelete, UserPut
from chatapp.storage.replay import JournalReader, Record, generations
from chatapp.storage.scan import open_snapshot
from chatapp.storage.snapshot import Snapshot, SnapshotWriter, damaged
from chatapp.storage.user_table import UserTable

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Recovered:
    """A data folder in memory, with every durable record applied."""

    users: UserTable
    chats: ChatTable
    snapshots: tuple[Snapshot, Snapshot]
    reader: JournalReader
    orphans: list[bytes] = field(default_factory=list)
    """Journal lines about chats that could not be read."""

    @property
    def saved_number(self) -> int:
        """The last record that both files hold."""
        return min(snapshot.head.seq for snapshot in self.snapshots)


def load(files: Files, layout: Layout) -> Recovered:
    """Read a data folder and change nothing.

    Raises ``StoreDamaged`` when a file cannot be trusted, ``FileNotFoundError`` when there is none.
    """
    users, users_file = _load_users(files, layout.users)
    chats, chats_file = _load_chats(files, layout.chats)
    first = min(users_file.head, chats_file.head, key=lambda head: head.gen)
    reader = JournalReader(files, layout.journal, first.gen, first.seq)
    recovered = Recovered(users, chats, (users_file, chats_file), reader)
    for record in reader.records():
        _apply(recovered, record)
    _check_reaches(reader, users_file)
    _check_reaches(reader, chats_file)
    return recovered


def _load_users(files: Files, path: Path) -> tuple[UserTable, Snapshot]:
    users: list[User] = []
    snapshot = open_snapshot(files, path, "users", lambda _, members: users.append(_user(members)))
    if snapshot.broken_lines:
        broken = snapshot.broken_lines[0]
        raise damaged(path, broken.offset, broken.reason)
    return UserTable(users, snapshot.head.site), snapshot


def _user(members: bytes) -> User:
    return User.model_validate_json(b"{" + members)


def _load_chats(files: Files, path: Path) -> tuple[ChatTable, Snapshot]:
    index = ChatIndex()
    snapshot = open_snapshot(files, path, "chats", index.note)
    return ChatTable(snapshot, index), snapshot


def _apply(recovered: Recovered, record: Record) -> None:
    """Apply what the files do not hold yet. Each file has its own place in the journal."""
    users_file, chats_file = recovered.snapshots
    for operation in record.operations:
        if isinstance(operation, UserPut | UserDelete):
            if record.number > users_file.head.seq:
                recovered.users.apply(operation)
        elif record.number > chats_file.head.seq:
            if isinstance(operation, MessageAdd | MessageDone) and not recovered.chats.state(
                operation.chat_id
            ):
                recovered.orphans.append(record.line)
            recovered.chats.apply(operation)


def _check_reaches(reader: JournalReader, snapshot: Snapshot) -> None:
    if reader.last_number < snapshot.head.seq:
        path = snapshot.path
        raise damaged(path, 0, f"it is newer than the journal, which ends at record {reader.last_number}")


def create_missing(files: Files, layout: Layout) -> None:
    """Write empty files where the folder is new, or where the very first start was interrupted.

    Raises ``StoreDamaged`` when a file is missing from a folder that was in use.
    """
    missing = [path for path in (layout.users, layout.chats) if not files.exists(path)]
    if not missing:
        return
    _check_unused(files, layout, missing)
    existing = generations(files, layout.journal)
    if not existing:
        JournalFile.create(files, layout.journal, 1).close()
    for path in missing:
        kind: Kind = "users" if path == layout.users else "chats"
        writer = SnapshotWriter(files, path, Head(kind, seq=0, gen=max(existing, default=1), count=0))
        writer.finish()
        files.rename(writer.aside, path)
    files.sync_folder(layout.folder)


def _check_unused(files: Files, layout: Layout, missing: list[Path]) -> None:
    journals = [generation_path(layout.journal, each) for each in generations(files, layout.journal)]
    in_use = any(read_whole(files, path) for path in journals)
    if layout.users not in missing:
        in_use = in_use or open_snapshot(files, layout.users, "users", lambda *_: None).head.seq > 0
    if layout.chats not in missing:
        in_use = in_use or open_snapshot(files, layout.chats, "chats", lambda *_: None).head.seq > 0
    if in_use:
        raise StoreDamaged(
            f"{missing[0]} is missing, but the data folder was in use. Nothing was changed. "
            "Put the file back from a backup, together with the rest of the folder."
        )


def repair(files: Files, layout: Layout, recovered: Recovered) -> list[str]:
    """Put aside what could not be read, cut off what was torn, and return a line for root about each."""
    notices = []
    for broken in recovered.snapshots[1].broken_lines:
        kept = _put_aside(files, layout, f"chats.json-{broken.offset}", broken.content)
        notices.append(
            f"A chat in chats.json could not be read (byte {broken.offset}: {broken.reason}). "
            f"It was put aside as {kept}; all others are here."
        )
    if recovered.snapshots[1].broken_lines and recovered.orphans:
        kept = _put_aside(files, layout, "journal", b"\n".join(recovered.orphans) + b"\n")
        notices.append(f"Newer messages of chats that could not be read were put aside as {kept}.")
    if torn := recovered.reader.torn:
        kept = _put_aside(files, layout, f"{torn.path.name}-{torn.offset}", torn.content)
        _cut(files, torn.path, torn.offset)
        notices.append(
            f"The server was stopped while it was writing. {len(torn.content)} bytes that had not been saved "
            f"completely were put aside as {kept}; everything that had been saved is here."
        )
    for notice in notices:
        log.warning(notice)
    return notices


def _put_aside(files: Files, layout: Layout, name: str, content: bytes) -> str:
    """Keep bytes in the quarantine folder and return their name there. The same bytes are kept once.

    They are written anew each time: what a start that was cut short has left may be no more than a beginning.
    """
    files.make_folder(layout.quarantine)
    path = layout.quarantine / f"{name}-{crc32(content):08x}"
    write_aside(files, path, content)
    return f"quarantine/{path.name}"


def _cut(files: Files, path: Path, length: int) -> None:
    fd = files.open(path, writable=True)
    try:
        files.cut(fd, length)
        files.sync(fd)
    finally:
        files.close(fd)
