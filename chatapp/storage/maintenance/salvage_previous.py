"""What the files before the newest give to a repair: with the journal all of it, without it what they held."""

from __future__ import annotations

from dataclasses import dataclass

from chatapp.storage.chat_table import ChatTable
from chatapp.storage.chats import summary_of
from chatapp.storage.files import Files
from chatapp.storage.imports.found import DataFile
from chatapp.storage.imports.values import counted
from chatapp.storage.layout import Layout
from chatapp.storage.lines import Head
from chatapp.storage.maintenance.salvage_files import ChatsSource, Source, UsersSource
from chatapp.storage.operations import ChatOperation, ChatPut, MessageAdd
from chatapp.storage.previous import last_record_after, previous_chats, previous_users
from chatapp.storage.replay import generations


@dataclass(frozen=True, slots=True)
class Completed:
    """Both files, with what the files before them could add.

    Args:
        older_chats: what makes the chats that only the older file has, to be applied before the journal.
    """

    users: UsersSource
    chats: ChatsSource
    older_chats: tuple[ChatOperation, ...] = ()


class _Journal:
    """Tells from which files the journal leads up to now.

    Args:
        known: the heads of the two files as far as they could be read: the journal has to reach them.
    """

    def __init__(self, files: Files, layout: Layout, known: list[Head]) -> None:
        self._files = files
        self._layout = layout
        self._known = known

    def leads_on_from(self, head: Head) -> bool:
        """Return whether every change since a file with this head is there."""
        present = generations(self._files, self._layout.journal)
        reached = last_record_after(self._files, self._layout, head)
        return reached is not None and all(
            each.seq <= reached and each.gen in present for each in self._known
        )


def complete(files: Files, layout: Layout, users: UsersSource, chats: ChatsSource) -> Completed:
    """Replace a file that lost something by the one before it where the journal leads on from that.

    Otherwise, and where the file holds changes of others, users and chats are added that only the older file has.
    """
    journal = _Journal(files, layout, [source.head for source in (users, chats) if source.head])
    if users.lacks_entries and (older_users := previous_users(files, layout)):
        head = older_users.snapshot.head
        if _can_replace(users, journal, head):
            users = UsersSource(head, False, report=_again(users, older_users), users=list(older_users.users))
        else:
            missing = [user for user in older_users.users if user.id not in users]
            users.users += missing
            _note_older(users, head, [user.id for user in missing], is_exact=journal.leads_on_from(head))
    if not chats.lacks_entries or (older_chats := previous_chats(files, layout)) is None:
        return Completed(users, chats)
    head = older_chats.snapshot.head
    if _can_replace(chats, journal, head):
        report = _again(chats, older_chats)
        return Completed(
            users,
            ChatsSource(head, False, report=report, snapshot=older_chats.snapshot, index=older_chats.index),
        )
    table = ChatTable(older_chats.snapshot, older_chats.index)
    keys = [chat_id for chat_id in table.ids() if chat_id not in chats]
    _note_older(chats, head, keys, is_exact=journal.leads_on_from(head))
    return Completed(users, chats, tuple(each for chat_id in keys for each in _made_again(table, chat_id)))


def _can_replace(source: Source, journal: _Journal, head: Head) -> bool:
    return not source.is_edited and journal.leads_on_from(head)


def _again(source: Source, older: DataFile) -> list[str]:
    name = older.path.name
    return [
        *source.report,
        f"{name} was put together again from the file before it and the journal; nothing is missing.",
    ]


def _note_older(source: Source, head: Head, keys: list[str], *, is_exact: bool) -> None:
    source.older, source.older_keys = head, set(keys)
    if not keys:
        return
    noun = "user" if head.kind == "users" else "chat"
    rest = (
        "The journal has all that came later."
        if is_exact
        else "The journal lacks some of what came later: newest changes of them may be missing, and some that were "
        "deleted may be here again."
    )
    source.report.append(
        f"Taken from the {head.kind}.json before this one: {counted(len(keys), noun)}. {rest}"
    )


def _made_again(table: ChatTable, chat_id: str) -> list[ChatOperation]:
    """Return the changes that make a chat as it is in another table."""
    chat = table.chat(chat_id)
    if chat is None:
        return []
    return [ChatPut(summary_of(chat)), *(MessageAdd(chat_id, message) for message in chat.messages)]
