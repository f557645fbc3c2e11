"""users.json and chats.json of a damaged folder: what can be read of them, and a report about the rest."""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from chatapp.errors import StoreDamaged
from chatapp.models import User
from chatapp.storage.chat_state import ChatState
from chatapp.storage.chat_table import ChatIndex
from chatapp.storage.files import Files
from chatapp.storage.imports.entries import Edited, chat_of, edited_entries, user_of
from chatapp.storage.imports.opening import open_chats, open_users
from chatapp.storage.imports.values import in_words
from chatapp.storage.lines import Head
from chatapp.storage.maintenance.readable import Readable, read_snapshot
from chatapp.storage.snapshot import Damaged, Snapshot, SnapshotWriter
from chatapp.storage.user_table import name_key

_NAMED = 5


@dataclass(slots=True)
class Source(ABC):
    """One of the two files, as far as it can be relied on."""

    head: Head | None = None
    """``None`` when nobody knows which record the file ends with."""
    lacks_entries: bool = True
    is_edited: bool = False
    """True when it holds changes of others, which nothing else has."""
    report: list[str] = field(default_factory=list)
    older: Head | None = None
    """The head of the file from which ``older_keys`` were taken."""
    older_keys: set[str] = field(default_factory=set)

    def wants(self, key: str, generation: int, number: int) -> bool:
        """Return whether this record of the journal has to be applied to this user or chat."""
        if key in self.older_keys:
            return _is_behind(self.older, generation, number)
        return _is_behind(self.head, generation, number) or (self.lacks_entries and key not in self)

    @abstractmethod
    def __contains__(self, key: str) -> bool:
        """Return whether the file gave this user or chat."""


def _is_behind(head: Head | None, generation: int, number: int) -> bool:
    """Return whether a file with this head does not hold this record of the journal."""
    return head is None or (number > head.seq and generation >= head.gen)


@dataclass(slots=True)
class UsersSource(Source):
    users: list[User] = field(default_factory=list)

    def __contains__(self, user_id: str) -> bool:
        return any(user.id == user_id for user in self.users)


@dataclass(slots=True)
class ChatsSource(Source):
    snapshot: Snapshot = field(kw_only=True)
    index: ChatIndex = field(default_factory=ChatIndex)
    held: dict[str, ChatState] = field(default_factory=dict)

    def __contains__(self, chat_id: str) -> bool:
        return chat_id in self.snapshot or chat_id in self.held


def read_users(files: Files, path: Path) -> UsersSource:
    """Read users.json in whatever state it is. Raises ``StoreDamaged`` for a file of another version."""
    try:
        found = open_users(files, path)
    except FileNotFoundError:
        return UsersSource(report=["users.json is missing."])
    except (StoreDamaged, OSError) as error:
        return _readable_users(files, path, _reason(path, error))
    head = None if found.is_plain else found.snapshot.head
    is_emptied = found.is_plain and not found.count
    return UsersSource(
        head,
        is_emptied,
        is_edited=not is_emptied and found.is_changed,
        report=found.remarks,
        users=list(found.users),
    )


def _readable_users(files: Files, path: Path, reason: str) -> UsersSource:
    users: dict[str, User] = {}

    def add(user: User) -> None:
        if user.id in users or name_key(user.username) in {
            name_key(each.username) for each in users.values()
        }:
            raise ValueError(f"the account {user.username} occurs twice")
        users[user.id] = user

    read = read_snapshot(
        files, path, "users", lambda _, members: add(User.model_validate_json(b"{" + members))
    )
    whole = len(users)
    unread = _take_edited(read.snapshot.broken_lines, lambda entry: add(user_of(entry.value)))
    report = [reason, *_unread(path, unread), *_miscount(path, read, len(users))]
    return UsersSource(read.head, is_edited=len(users) > whole, report=report, users=list(users.values()))


def read_chats(files: Files, path: Path, users: Collection[User], spare: Path) -> ChatsSource:
    """Read chats.json in whatever state it is. Raises ``StoreDamaged`` for a file of another version.

    Args:
        users: the accounts to which chats of a file of a simpler layout can belong.
        spare: a path where a file may be made and removed again.
    """
    try:
        found = open_chats(files, path, users if isinstance(users, list) else list(users))
    except FileNotFoundError:
        return ChatsSource(report=["chats.json is missing."], snapshot=_empty_snapshot(files, spare))
    except (StoreDamaged, OSError) as error:
        return _readable_chats(files, path, _reason(path, error))
    unread, rejected = found.snapshot.broken_lines, found.rejected
    report = [*found.remarks, *_unread(path, unread)]
    report += [f"chats.json: the chat {each.key} could not be used ({each.reason})." for each in rejected]
    is_emptied = found.is_plain and not found.count
    return ChatsSource(
        None if found.is_plain else found.snapshot.head, is_emptied or bool(unread or rejected),
        not is_emptied and found.is_changed, report,
        snapshot=found.snapshot, index=found.index, held=found.held,
    )  # fmt: skip


def _readable_chats(files: Files, path: Path, reason: str) -> ChatsSource:
    index = ChatIndex()
    read = read_snapshot(files, path, "chats", index.note)
    source = ChatsSource(read.head, snapshot=read.snapshot, index=index)

    def hold(entry: Edited) -> None:
        if entry.key in source:
            raise ValueError(f"the chat {entry.key} occurs twice")
        source.held[entry.key] = chat_of(entry.key, entry.value)

    unread = _take_edited(read.snapshot.broken_lines, hold)
    source.is_edited = bool(source.held)
    count = len(read.snapshot) + len(source.held)
    source.report = [reason, *_unread(path, unread), *_miscount(path, read, count)]
    return source


def _empty_snapshot(files: Files, spare: Path) -> Snapshot:
    writer = SnapshotWriter(files, spare, Head("chats", 0, 0, 0))
    snapshot = writer.finish()
    files.remove(writer.aside)
    return snapshot


def _take_edited(broken: Iterable[Damaged], take: Callable[[Edited], None]) -> list[Damaged]:
    """Take what was edited by hand and is valid, and return the rest."""
    edited, unread = edited_entries(list(broken))
    for entry in edited:
        try:
            take(entry)
        except ValueError as error:
            unread.append(Damaged(entry.line.offset, entry.line.content, in_words(error)))
    return unread


def _reason(path: Path, error: StoreDamaged | OSError) -> str:
    """Return what is wrong with a file. Raises an ``OSError`` again that is no bad place of the disk."""
    if isinstance(error, StoreDamaged):
        return f"{error.detail}."
    if error.errno != errno.EIO:
        raise error
    return f"The disk does not give back all of {path}."


def _unread(path: Path, unread: list[Damaged]) -> list[str]:
    report = [
        f"{path.name}, byte {each.offset}: {len(each.content)} bytes could not be read ({each.reason})."
        for each in unread[:_NAMED]
    ]
    if len(unread) > _NAMED:
        report.append(f"{path.name}: {len(unread) - _NAMED} more places could not be read.")
    return report


def _miscount(path: Path, read: Readable, count: int) -> list[str]:
    if read.head is None or read.head.count == count:
        return []
    return [f"{path.name} should hold {read.head.count} {read.head.kind}; {count} could be read."]
