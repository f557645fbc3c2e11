"""Repair of a data folder that does not start: everything that can be read is written anew, the rest is kept aside.

What the two files hold is taken as it is. The journal's records behind them are replayed in order; damaged and
missing ones are passed over. Older records, which a journal file may still hold, are used only for users and chats
that a file has lost: all changes of one from the first that is known to the last give its newest state, and a
message that is there already is not added again. Where the file before a damaged one is there, and the journal leads
on from it, these two are used instead: then nothing is lost.
"""

from __future__ import annotations

import errno
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from chatapp.errors import StoreDamaged
from chatapp.models import User
from chatapp.storage.chat_table import ChatTable, FrozenChats
from chatapp.storage.files import Files
from chatapp.storage.imports.values import listed
from chatapp.storage.journal import JournalFile, generation_path
from chatapp.storage.layout import Layout
from chatapp.storage.lines import Head
from chatapp.storage.maintenance.backup import no_data, remove_copy
from chatapp.storage.maintenance.readable import read_records
from chatapp.storage.maintenance.restore import exclusive, in_one_line, put_in_place
from chatapp.storage.maintenance.salvage_files import read_chats, read_users
from chatapp.storage.maintenance.salvage_previous import Completed, complete
from chatapp.storage.operations import (
    ChatDelete,
    ChatOperation,
    ChatPut,
    MessageAdd,
    MessageDone,
    UserDelete,
    UserOperation,
    UserPut,
)
from chatapp.storage.recovery import Recovered, load
from chatapp.storage.replay import Record, generations
from chatapp.storage.snapshot import Damaged, SnapshotWriter
from chatapp.storage.user_table import FrozenUsers, UserTable, name_key

_NAMED = 5


@dataclass(frozen=True, slots=True)
class Salvaged:
    """A repaired folder. ``report`` is lines for people about what was lost; ``originals`` is where that is kept."""

    recovered: Recovered
    report: tuple[str, ...]
    originals: Path


def salvage(files: Files, layout: Layout) -> Salvaged | None:
    """Make a damaged data folder start again; ``None`` when there is nothing to repair, and then nothing changes.

    The files as they were found move to ``backups/before-repair-…``. Raises ``StoreLocked`` while a server has the
    folder, ``NotFound`` when there is no data, ``StoreDamaged`` when nothing can be read, other ``StorageFailed``.
    Nothing is changed then, or the next start finishes what had begun.
    """
    with in_one_line(layout):
        if not files.exists(layout.folder):
            raise no_data(layout)
    with exclusive(files, layout) as stamp:
        if _is_sound(files, layout):
            return None
        try:
            found = _Folder(files, layout)
            found.write()
            recovered = load(files, Layout(layout.restoring_aside))
        except BaseException:
            with suppress(OSError):
                remove_copy(files, layout.restoring_aside)
            raise
        originals = layout.backups / f"before-repair-{stamp}"
        put_in_place(files, layout, originals)
        return Salvaged(recovered, tuple(found.report), originals)


def _is_sound(files: Files, layout: Layout) -> bool:
    try:
        recovered = load(files, layout)
    except (StoreDamaged, FileNotFoundError):
        return False
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return False
    chats = recovered.files[1]
    return not (chats.snapshot.broken_lines or chats.rejected or recovered.reader.torn)


class _Folder:
    """Everything that can be read of a data folder, as one state, and a report about the rest."""

    def __init__(self, files: Files, layout: Layout) -> None:
        self._files = files
        self._layout = layout
        self._generations = generations(files, layout.journal)
        remove_copy(files, layout.restoring_aside)
        files.make_folder(layout.restoring_aside)
        found = self._read()
        self._users_file, self._chats_file = found.users, found.chats
        self._heads = [each.head for each in (self._users_file, self._chats_file) if each.head]
        self._users = UserTable(
            self._users_file.users, self._users_file.head.site if self._users_file.head else {}
        )
        self._chats = ChatTable(
            self._chats_file.snapshot, self._chats_file.index, self._chats_file.held.values()
        )
        for operation in found.older_chats:
            self._chats.apply(operation)
        self._numbers: set[int] = set()
        self._damaged: list[str] = []
        self._homeless: Counter[str] = Counter()
        """Chats that are not there → how many of their messages are."""
        self._rebuilt: set[str] = set()
        self._replay()
        renamed = self._separate_names()
        self.report = [
            *self._users_file.report, *self._chats_file.report, *self._about_journal(), *renamed,
            *self._about_accounts(),
        ]  # fmt: skip

    def _read(self) -> Completed:
        users = read_users(self._files, self._layout.users)
        spare = self._layout.restoring_aside / "empty"
        chats = read_chats(self._files, self._layout.chats, users.users, spare)
        return complete(self._files, self._layout, users, chats)

    def _replay(self) -> None:
        for generation in self._generations:
            path = generation_path(self._layout.journal, generation)
            for found in read_records(self._files, path):
                if isinstance(found, Damaged):
                    self._damaged.append(f"{path.name}, byte {found.offset}")
                else:
                    self._numbers.add(found.number)
                    self._apply(generation, found)

    def _apply(self, generation: int, record: Record) -> None:
        for operation in record.operations:
            if isinstance(operation, UserPut | UserDelete):
                if self._users_file.wants(_user_id(operation), generation, record.number):
                    self._users.apply(operation)
            elif self._chats_file.wants(_chat_id(operation), generation, record.number):
                self._apply_chat(_chat_id(operation), operation)

    def _apply_chat(self, chat_id: str, operation: ChatOperation) -> None:
        """Apply a change that may have been applied already: a message is added once and never goes back."""
        state = self._chats.state(chat_id)
        if isinstance(operation, ChatDelete):
            self._homeless.pop(chat_id, None)
            self._rebuilt.discard(chat_id)
        elif state is None:
            self._note_lost_chat(chat_id, operation)
        elif isinstance(operation, MessageAdd | MessageDone):
            is_there = self._chats.message(chat_id, operation.message.id) is not None
            if is_there and isinstance(operation, MessageAdd):
                newest_at = max(operation.message.created_at, state.summary.updated_at)
                operation = ChatPut(state.summary.model_copy(update={"updated_at": newest_at}))
            elif not is_there:
                operation = MessageAdd(chat_id, operation.message)
        self._chats.apply(operation)

    def _note_lost_chat(self, chat_id: str, operation: ChatOperation) -> None:
        if isinstance(operation, ChatPut) and self._chats_file.lacks_entries:
            self._rebuilt.add(chat_id)
        elif isinstance(operation, MessageAdd):
            self._homeless[chat_id] += 1

    def _separate_names(self) -> list[str]:
        """Give an account another name when a newer one has its name: the change that freed it was lost."""
        report = []
        newest: dict[str, User] = {}
        for user in sorted(self._users.all(), key=lambda each: each.created_at, reverse=True):
            owner = newest.setdefault(name_key(user.username), user)
            if owner is not user:
                renamed = user.model_copy(update={"username": f"{user.username[:24]}-{user.id[-6:]}"})
                self._users.apply(UserPut(renamed))
                self._users.apply(UserPut(owner))
                report.append(
                    f"Two accounts had the name {user.username}; the older is {renamed.username} now."
                )
        return report

    def _about_journal(self) -> list[str]:
        report = []
        missing = "The journal is" if not self._generations else self._missing_files()
        if missing:
            report.append(f"{missing} missing. What was only there, newer than the two files, is lost.")
        if self._damaged:
            more = f" and {len(self._damaged) - _NAMED} more places" if len(self._damaged) > _NAMED else ""
            report.append(f"The journal could not be read at {'; '.join(self._damaged[:_NAMED])}{more}.")
        if lacking := self._count_missing():
            report.append(f"{lacking} changes that the journal should hold are missing.")
        if self._rebuilt:
            report.append(
                f"{len(self._rebuilt)} chats come from the journal alone; what they held before may be missing."
            )
        if homeless := sum(self._homeless.values()):
            report.append(f"{homeless} messages in the journal belong to chats that could not be read.")
        return report

    def _missing_files(self) -> str:
        """Return which journal files a start would look for in vain, and the verb; ``""`` when none."""
        known = [*self._generations, *(head.gen for head in self._heads)]
        first = min([head.gen for head in self._heads] or known)
        names = [
            f"journal/{generation_path(self._layout.journal, each).name}"
            for each in range(first, max(known) + 1)
            if each not in self._generations
        ]
        return f"{listed(names)} {'is' if len(names) == 1 else 'are'}" if names else ""

    def _count_missing(self) -> int:
        """Return how many records are missing behind what the older of the two files holds."""
        known = [head.seq for head in self._heads] or [number - 1 for number in self._numbers]
        first = min(known, default=0)
        last = max([*known, *self._numbers], default=0)
        return last - first - sum(1 for number in self._numbers if number > first)

    def _about_accounts(self) -> list[str]:
        report = []
        users = self._users.all()
        if nobodys := self._chats.count_without(self._users.ids()):
            report.append(
                f"{nobodys} chats belong to accounts that are not there: they are kept, but nobody sees them. Put a "
                "users.json with these accounts, perhaps of an old backup, into the data folder and repair again."
            )
        if not users:
            report.append("There is no account. The first one that is made becomes root.")
        elif not any(user.is_root for user in users):
            report.append("No account is root. Choose one: `.venv/bin/flask user set-role NAME root`.")
        return report

    def write(self) -> None:
        """Write the whole state to ``restoring.tmp``, synced. Raises ``StoreDamaged`` when there is none."""
        contents = self._users.freeze(), self._chats.freeze()
        if not any(content.count for content in contents) and not self._is_empty_on_purpose():
            raise StoreDamaged(
                f"Nothing in {self._layout.folder} can be read, so nothing was changed. Restore a backup: "
                "`.venv/bin/flask store restore DIR`."
            )
        aside = self._layout.restoring_aside
        number = max([*(head.seq for head in self._heads), *self._numbers], default=0)
        generation = max([*self._generations, *(head.gen for head in self._heads)], default=0) + 1
        for content in contents:
            self._write_file(aside / f"{content.kind}.json", content, number, generation)
        self._files.make_folder(aside / "journal")
        JournalFile.create(self._files, aside / "journal", generation).close()
        self._files.sync_folder(aside)

    def _is_empty_on_purpose(self) -> bool:
        """Return whether a file that is whole says that there is nothing."""
        return any(head.count == 0 for head in self._heads) and not self._damaged

    def _write_file(
        self, path: Path, content: FrozenUsers | FrozenChats, number: int, generation: int
    ) -> None:
        writer = SnapshotWriter(
            self._files, path, Head(content.kind, number, generation, content.count, content.site)
        )
        content.write(writer)
        writer.finish()
        self._files.rename(writer.aside, path)


def _user_id(operation: UserOperation) -> str:
    return operation.user.id if isinstance(operation, UserPut) else operation.user_id


def _chat_id(operation: ChatOperation) -> str:
    return operation.summary.id if isinstance(operation, ChatPut) else operation.chat_id
