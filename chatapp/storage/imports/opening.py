"""Reading users.json and chats.json in whatever state they were left. Nothing is changed here.

Most often a file is just as the server wrote it. Otherwise it is our file with some lines edited, our file written
anew by another program, or a plain file of a simpler layout. What is none of these is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter, itemgetter
from pathlib import Path

from chatapp.errors import StoreDamaged
from chatapp.models import User
from chatapp.storage.chat_table import ChatIndex
from chatapp.storage.files import Files
from chatapp.storage.imports.entries import Edited, edited_entries, user_of
from chatapp.storage.imports.found import ChatsFile, UsersFile
from chatapp.storage.imports.values import in_words
from chatapp.storage.imports.whole import whole_chats, whole_users
from chatapp.storage.scan import open_snapshot
from chatapp.storage.snapshot import Damaged, damaged

_REMARKS = 5


def open_users(files: Files, path: Path) -> UsersFile:
    """Read users.json. Raises ``StoreDamaged`` with place and reason, ``FileNotFoundError``."""
    by_key: dict[str, User] = {}

    def note(key: str, members: bytes) -> None:
        by_key[key] = User.model_validate_json(b"{" + members)

    try:
        snapshot = open_snapshot(files, path, "users", note)
    except StoreDamaged as error:
        return whole_users(files, path, error)
    edited, unread = edited_entries(snapshot.broken_lines)
    for broken in unread:
        raise damaged(path, broken.offset, broken.reason)
    snapshot.broken_lines = []
    placed = [(line.offset, by_key[key]) for key in by_key if (line := snapshot.line(key))]
    changed = [(entry.line.offset, _edited_user(path, entry)) for entry in edited]
    users = [user for _, user in sorted(placed + changed, key=itemgetter(0))]
    found = UsersFile(snapshot, users=users)
    found.remarks = _edits(path, edited, [f"the account {user.username}" for _, user in changed])
    found.note_count()
    found.check_distinct()
    return found


def _edited_user(path: Path, entry: Edited) -> User:
    try:
        return user_of(entry.value)
    except ValueError as error:
        reason = f"the entry {entry.key} was changed and is no user any more ({in_words(error)})"
        raise damaged(path, entry.line.offset, reason) from error


def open_chats(files: Files, path: Path, users: Sequence[User]) -> ChatsFile:
    """Read chats.json. Raises ``StoreDamaged`` with place and reason, ``FileNotFoundError``.

    Args:
        users: the accounts to which chats of a plain file can belong.
    """
    index = ChatIndex()
    try:
        snapshot = open_snapshot(files, path, "chats", index.note)
    except StoreDamaged as error:
        return whole_chats(files, path, users, error)
    found = ChatsFile(snapshot, index=index)
    edited, unread = edited_entries(snapshot.broken_lines)
    used = []
    for entry in edited:
        try:
            found.hold_entry(entry.key, entry.value)
            used.append(entry)
        except ValueError as error:
            unread.append(Damaged(entry.line.offset, entry.line.content, in_words(error)))
    snapshot.broken_lines = sorted(unread, key=attrgetter("offset"))
    found.remarks = _edits(path, used, [f"the chat {entry.key}" for entry in used])
    if not unread:
        found.note_count()
    return found


def _edits(path: Path, edited: Sequence[Edited], names: Sequence[str]) -> list[str]:
    remarks = [
        f"{path.name}, byte {entry.line.offset}: {name} was changed outside of chatapp; it is used as it stands now."
        for entry, name in zip(edited[:_REMARKS], names, strict=False)
    ]
    if more := len(edited) - len(remarks):
        remarks.append(f"{path.name}: {more} more entries were changed outside of chatapp.")
    return remarks
