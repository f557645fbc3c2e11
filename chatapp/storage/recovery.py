"""Opening a data folder: everything is read and checked first, and only then is anything repaired."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from chatapp.errors import StoreDamaged
from chatapp.storage.chat_table import ChatTable
from chatapp.storage.chats import summary_of
from chatapp.storage.files import Files, read_whole
from chatapp.storage.imports.entries import as_json
from chatapp.storage.imports.found import ChatsFile, DataFile, UsersFile
from chatapp.storage.imports.opening import open_chats, open_users
from chatapp.storage.imports.values import listed
from chatapp.storage.journal import JournalFile, generation_path
from chatapp.storage.keeping import cut_off, keep_original, put_aside
from chatapp.storage.layout import Layout
from chatapp.storage.lines import Head, Kind
from chatapp.storage.operations import ChatPut, MessageAdd, MessageDone, UserDelete, UserPut
from chatapp.storage.previous import chats_again
from chatapp.storage.replay import JournalReader, Record, generations
from chatapp.storage.snapshot import Snapshot, SnapshotWriter, damaged, untrusted
from chatapp.storage.user_table import UserTable

log = logging.getLogger(__name__)

_NO_ROOT = (
    "No account has the role root, so nobody manages this site. Stop the server and run "
    "`.venv/bin/flask user set-role NAME root`."
)


@dataclass(slots=True)
class Recovered:
    """A data folder in memory, with every durable record applied."""

    users: UserTable
    chats: ChatTable
    files: tuple[UsersFile, ChatsFile]
    reader: JournalReader
    orphans: list[bytes] = field(default_factory=list)
    """Journal lines about chats that could not be read, or are gone from chats.json."""
    brought_back: int = 0
    """How many chats that chats.json lacks were taken from the file before it and the journal."""

    @property
    def snapshots(self) -> tuple[Snapshot, Snapshot]:
        return self.files[0].snapshot, self.files[1].snapshot

    @property
    def is_changed(self) -> bool:
        """True when the files were not left as the server wrote them, so that they have to be written anew."""
        return any(file.is_changed for file in self.files)

    @property
    def saved_number(self) -> int:
        """The last record that both files hold; -1 when they have to be written anew for another reason."""
        return (
            -1
            if self.is_changed or self.brought_back
            else min(snapshot.head.seq for snapshot in self.snapshots)
        )

    @property
    def remarks(self) -> list[str]:
        """Lines for root about what others wrote into the files; empty when there is nothing to say."""
        users_file, chats_file = self.files
        remarks = users_file.remarks + chats_file.remarks
        if self.is_changed and self.reader.last_number > min(each.head.seq for each in self.snapshots):
            remarks.append(
                "The journal held newer changes than these files; they were made on top of what was edited."
            )
        nobodys = self.chats.count_without(self.users.ids()) if self.is_changed else 0
        if nobodys:
            remarks.append(
                f"Chats that belong to no account in users.json: {nobodys}. They are kept, but nobody sees them."
            )
        if self.users.count() and not any(user.is_root for user in self.users.all()):
            remarks.append(_NO_ROOT)
        return remarks


def load(files: Files, layout: Layout) -> Recovered:
    """Read a data folder and change nothing.

    Raises ``StoreDamaged`` when a file cannot be trusted, ``FileNotFoundError`` when there is none.
    """
    users_file = open_users(files, layout.users)
    chats_file = open_chats(files, layout.chats, users_file.users)
    _settle_heads(files, layout, users_file, chats_file)
    heads = sorted((users_file.snapshot.head, chats_file.snapshot.head), key=lambda head: head.gen)
    may_be_new = users_file.is_plain and chats_file.is_plain
    reader = JournalReader(
        files, layout.journal, heads[0].gen, heads[0].seq, heads=heads, may_be_new=may_be_new
    )
    users = UserTable(users_file.users, users_file.snapshot.head.site)
    chats = ChatTable(chats_file.snapshot, chats_file.index, chats_file.held.values())
    recovered = Recovered(users, chats, (users_file, chats_file), reader)
    for record in reader.records():
        _apply(recovered, record)
    for file in recovered.files:
        _check_reaches(reader, file)
    if chats_file.snapshot.broken_lines and not chats_file.is_changed:
        _bring_back(files, layout, recovered)
    return recovered


def _bring_back(files: Files, layout: Layout, recovered: Recovered) -> None:
    """Take chats that could not be read from the file before and the journal, when these lead up to now."""
    again = chats_again(files, layout, recovered.reader.last_number)
    if again is None:
        return
    present = set(recovered.chats.ids())
    for chat in (again.chat(chat_id) for chat_id in again.ids() if chat_id not in present):
        if chat is not None:
            recovered.chats.apply(ChatPut(summary_of(chat)))
            for message in chat.messages:
                recovered.chats.apply(MessageAdd(chat.id, message))
            recovered.brought_back += 1
    recovered.orphans = []


def _settle_heads(files: Files, layout: Layout, users: UsersFile, chats: ChatsFile) -> None:
    """Give a plain file its place in the journal: where the other file ends, or at the very beginning.

    Raises ``StoreDamaged`` for an empty file that took the place of a full one.
    """
    known = next((file.snapshot.head for file in (users, chats) if not file.is_plain), None)
    seq, gen = (known.seq, known.gen) if known else (0, min(generations(files, layout.journal), default=1))
    if users.is_plain and not users.count and (seq or chats.count):
        raise _was_in_use(users)
    if chats.is_plain and not chats.count and seq:
        raise _was_in_use(chats)
    for file in (users, chats):
        if file.is_plain:
            file.snapshot.head = Head(file.snapshot.head.kind, seq, gen, file.count)


def _was_in_use(file: DataFile) -> StoreDamaged:
    return untrusted(
        f"{file.path} is empty, but the data folder was in use",
        "Put the file back from a backup, together with the rest of the folder, "
        "or run `.venv/bin/flask store repair`.",
    )


def _apply(recovered: Recovered, record: Record) -> None:
    """Apply what the files do not hold yet. Each file has its own place in the journal."""
    users_file, chats_file = recovered.files
    if users_file.is_plain or chats_file.is_plain:
        raise _journal_goes_on(users_file if users_file.is_plain else chats_file)
    for operation in record.operations:
        # Tuples, because this is done for every record of a long journal: a union would be made anew each time.
        if isinstance(operation, (UserPut, UserDelete)):
            if record.number > users_file.snapshot.head.seq:
                recovered.users.apply(operation)
        elif record.number > chats_file.snapshot.head.seq:
            if isinstance(operation, (MessageAdd, MessageDone)) and not recovered.chats.state(
                operation.chat_id
            ):
                recovered.orphans.append(record.line)
            recovered.chats.apply(operation)


def _journal_goes_on(file: DataFile) -> StoreDamaged:
    return untrusted(
        f"{file.path} is a file of a simpler layout, but the journal holds changes that go with the file it replaced",
        "Put that file back, start and stop the server once, and put this one in its place then; "
        "or run `.venv/bin/flask store repair`.",
    )


def _check_reaches(reader: JournalReader, file: DataFile) -> None:
    if file.is_plain and reader.torn:
        raise _journal_goes_on(file)
    if reader.last_number < file.snapshot.head.seq:
        raise damaged(
            file.path, 0, f"it is newer than the journal, which ends at record {reader.last_number}"
        )


def create_missing(files: Files, layout: Layout) -> None:
    """Write empty files where the folder is new, or where the very first start was interrupted.

    Raises ``StoreDamaged`` when a file is missing from a folder that was in use.
    """
    missing = [path for path in (layout.users, layout.chats) if not files.exists(path)]
    existing = generations(files, layout.journal)
    if not missing:
        return
    if _is_in_use(files, layout):
        raise untrusted(
            f"{missing[0]} is missing, but the data folder was in use",
            "Put the file back from a backup, together with the rest of the folder, "
            "or run `.venv/bin/flask store repair`.",
        )
    if existing:
        files.sync_folder(layout.journal)
    else:
        JournalFile.create(files, layout.journal, 1).close()
    for path in missing:
        kind: Kind = "users" if path == layout.users else "chats"
        writer = SnapshotWriter(files, path, Head(kind, seq=0, gen=max(existing, default=1), count=0))
        writer.finish()
        files.rename(writer.aside, path)
    files.sync_folder(layout.folder)


def _is_in_use(files: Files, layout: Layout) -> bool:
    """Return whether a folder that lacks a file has held anything that goes with it.

    Accounts of a plain file do not count: a folder may be prepared with them alone.
    """
    journals = [generation_path(layout.journal, each) for each in generations(files, layout.journal)]
    if any(read_whole(files, path) for path in journals):
        return True
    if files.exists(layout.users):
        found = open_users(files, layout.users)
        return not found.is_plain and bool(found.snapshot.head.seq or found.count)
    return files.exists(layout.chats) and _holds_chats(open_chats(files, layout.chats, ()))


def _holds_chats(found: ChatsFile) -> bool:
    return bool(found.snapshot.head.seq or found.count)


def repair(files: Files, layout: Layout, recovered: Recovered) -> list[str]:
    """Keep what was changed by others as it was found, put aside what could not be read, cut off what was torn.

    Returns a line for root about each.
    """
    if not generations(files, layout.journal):
        JournalFile.create(files, layout.journal, recovered.reader.newest).close()
    notices = recovered.remarks
    for file in recovered.files:
        if file.is_changed:
            kept = keep_original(files, layout, file.path)
            if file.remarks:
                notices.append(f"{file.path.name} as it was found is kept as {kept}.")
    notices += _put_lines_aside(files, layout, recovered) + _put_entries_aside(
        files, layout, recovered.files[1]
    )
    if torn := recovered.reader.torn:
        kept = put_aside(files, layout, f"{torn.path.name}-{torn.offset}", torn.content)
        cut_off(files, torn.path, torn.offset)
        notices.append(
            f"The server was stopped while it was writing. {len(torn.content)} bytes that had not been saved "
            f"completely were put aside as {kept}; everything that had been saved is here."
        )
    for notice in notices:
        log.warning(notice)
    return notices


def _put_lines_aside(files: Files, layout: Layout, recovered: Recovered) -> list[str]:
    notices = []
    for broken in recovered.snapshots[1].broken_lines:
        kept = put_aside(files, layout, f"chats.json-{broken.offset}", broken.content)
        notices.append(
            f"A chat in chats.json could not be read (byte {broken.offset}: {broken.reason}). "
            f"It was put aside as {kept}; all others are here."
        )
    if recovered.brought_back:
        notices.append(
            f"Chats that were missing in chats.json: {recovered.brought_back}. They were taken from the file before it "
            "and the journal, and are here with everything in them."
        )
    if recovered.orphans:
        kept = put_aside(files, layout, "journal", b"\n".join(recovered.orphans) + b"\n")
        notices.append(f"Newer messages of chats that are not in chats.json were put aside as {kept}.")
    return notices


def _put_entries_aside(files: Files, layout: Layout, found: ChatsFile) -> list[str]:
    if not found.rejected:
        return []
    kept = put_aside(files, layout, "chats.json-entries", as_json(found.rejected))
    reasons = listed([f"{each.key}: {each.reason}" for each in found.rejected])
    return [f"Chats that could not be used: {reasons}. They were put aside as {kept}; all others are here."]
