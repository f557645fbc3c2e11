"""Stores that live on a simulated disk, and what they promised at each moment of their life."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from zlib import crc32

from chatapp.errors import StorageFailed
from chatapp.models import Message
from chatapp.storage.files import read_whole
from chatapp.storage.json_store import JsonStore, open_store
from chatapp.storage.operations import MessageAdd
from tests.crash.disk import SimulatedDisk
from tests.records import a_chat, a_message, a_user

DATA = Path("/simulated/disk/data")
ALICE, BOB = "alice-id", "bob-id"

Picture = Mapping[str, tuple[object, ...]]
"""Everything that a store shows: user → name and role, chat → title and messages."""


def picture_of(store: JsonStore) -> Picture:
    users = {user.id: (user.username, user.role) for user in store.users.all()}
    chats = {
        summary.id: (summary.title, *[_shown(each) for each in store.chats.get(owner, summary.id).messages])
        for owner in (ALICE, BOB)
        for summary in store.chats.list(owner)
    }
    return {**users, **chats}


def _shown(message: Message) -> tuple[str, str, str]:
    return message.id, message.content, message.status


class Life:
    """One process after another over one disk, and what the disk must give back if it were cut off at a moment.

    Args:
        expected: the pictures of which the first start must show one.
    """

    def __init__(self, disk: SimulatedDisk, expected: Sequence[Picture] = ({},)) -> None:
        self.disk = disk
        self.now: Picture = {}
        self._promises: list[tuple[int, tuple[Picture, ...]]] = [(0, tuple(expected))]
        self._said = 0

    def allowed(self, moment: int) -> tuple[Picture, ...]:
        """Return what a start may show after a cut at this moment of the disk."""
        return next(pictures for since, pictures in reversed(self._promises) if since <= moment)

    def _promise(self, *pictures: Picture) -> None:
        self._promises.append((len(self.disk.moments) - 1, pictures))

    @property
    def _possible(self) -> tuple[Picture, ...]:
        return self._promises[-1][1]

    def start(self) -> Life:
        """Open the store; what it shows to readers from now on must stay."""
        self.store = open_store(DATA, files=self.disk, checkpoint_after_s=math.inf)
        self.now = picture_of(self.store)
        assert self.now in self._possible, f"{self.now} is none of {self._possible}"
        for name in ("users.json", "chats.json"):
            json.loads(read_whole(self.disk, DATA / name))
        self._check_quarantine()
        self._promise(self.now)
        return self

    def _check_quarantine(self) -> None:
        """What was put aside is whole: its name ends with its checksum."""
        folder = DATA / "quarantine"
        for name in self.disk.names(folder):
            content = read_whole(self.disk, folder / name)
            assert name.endswith((f"-{crc32(content):08x}", ".tmp")), f"{name} holds {content!r}"

    def kill(self) -> None:
        """End the process. The system has all that it wrote."""
        self.disk.forget_descriptors()

    def do(self, step: Callable[[JsonStore], object], *outcomes: Picture) -> bool:
        """Do something that leads over the first outcomes to the last; return whether it was acknowledged.

        When it was refused, all of them remain possible. A step without outcomes changes nothing that is shown.
        """
        self._promise(*self._possible, *outcomes)
        try:
            step(self.store)
        except StorageFailed:
            assert picture_of(self.store) == self.now
            return False
        if outcomes:
            self.now = outcomes[-1]
            self._promise(self.now)
        assert picture_of(self.store) == self.now
        return True

    # --- what people do -------------------------------------------------------------------------------------

    def sign_up(self, user_id: str) -> bool:
        name = user_id.removesuffix("-id")
        role = "user" if {ALICE, BOB} & self.now.keys() else "root"
        return self.do(
            lambda store: store.users.add(a_user(name, id=user_id)), {**self.now, user_id: (name, role)}
        )

    def begin(self, owner: str, chat_id: str) -> bool:
        return self.do(
            lambda store: store.chats.add(a_chat(owner, id=chat_id)),
            {**self.now, chat_id: (a_chat().title,)},
        )

    def say(self, owner: str, chat_id: str, length: int = 20) -> bool:
        """Add a message of about this many characters that was never said before."""
        message = self.new_message(length)
        return self.do(
            lambda store: store.chats.add_messages(owner, chat_id, [message]),
            self.with_added(chat_id, message),
        )

    def say_together(self, chat_ids: Sequence[str]) -> bool:
        """Add a message to each chat, all in one group: any first part of it may be left."""
        messages = [self.new_message(300) for _ in chat_ids]
        outcomes = [self.now]
        for chat_id, message in zip(chat_ids, messages, strict=True):
            outcomes.append(self.with_added(chat_id, message, outcomes[-1]))

        def commit(store: JsonStore) -> None:
            *first, last = [[MessageAdd(*each)] for each in zip(chat_ids, messages, strict=True)]
            for change in first:
                store._journal._enqueue(change)
            store._journal.commit(last)

        return self.do(commit, *outcomes)

    def new_message(self, length: int = 20) -> Message:
        self._said += 1
        words = f"{self._said} of {len(self.disk.moments)} "
        return a_message((words * (length // len(words) + 1))[: max(length, len(words))])

    def with_added(self, chat_id: str, message: Message, before: Picture | None = None) -> Picture:
        before = self.now if before is None else before
        return {**before, chat_id: (*before[chat_id], _shown(message))}

    def checkpoint(self) -> bool:
        return self.do(lambda store: store.checkpoint())

    def go_on(self) -> None:
        """Show that writing goes on, whatever is there by now."""
        if ALICE not in self.now:
            assert self.sign_up(ALICE)
        if "later" not in self.now:
            assert self.begin(ALICE, "later")
        assert self.say(ALICE, "later")
