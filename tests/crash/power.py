"""Stores that live on a simulated disk, what they promised at each moment of their life, and how they are cut off."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from zlib import crc32

from chatapp.errors import StorageFailed
from chatapp.models import Message
from chatapp.storage.files import read_whole, write_new
from chatapp.storage.json_store import JsonStore, open_store
from chatapp.storage.layout import Layout
from chatapp.storage.operations import MessageAdd
from chatapp.storage.previous import chats_again, last_record_after, previous_users
from tests.crash.disk import SimulatedDisk
from tests.records import a_chat, a_message, a_user

DATA = Path("/simulated/disk/data")
MOST_WHOLE_STATES = 64
"""Up to so many disks that a moment may leave are all tried; beyond, some are chosen by chance."""
KILLS = 0.2
"""How often the process ends and the system goes on, in place of a power cut."""
CHECKPOINTS = 0.3
"""How often a start on what was left goes on to a checkpoint."""

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
        self._check_previous()
        self._promise(self.now)
        return self

    def _check_quarantine(self) -> None:
        """What was put aside is whole: its name ends with its checksum."""
        folder = DATA / "quarantine"
        for name in self.disk.names(folder):
            content = read_whole(self.disk, folder / name)
            assert name.endswith((f"-{crc32(content):08x}", ".tmp")), f"{name} holds {content!r}"

    def _check_previous(self) -> None:
        """A file before the newest that is there is whole, and with the journal it gives what is shown."""
        layout, last_number = Layout(DATA), self.store._journal.last_number
        if self.disk.exists(layout.previous_of("users")):
            users = previous_users(self.disk, layout)
            assert users is not None, "the users.json in previous is not whole"
            assert last_record_after(self.disk, layout, users.snapshot.head) == last_number
        if self.disk.exists(layout.previous_of("chats")):
            table = chats_again(self.disk, layout, last_number)
            assert table is not None, "the chats.json in previous does not lead up to now"
            chats = [chat for chat_id in table.ids() if (chat := table.chat(chat_id))]
            again = {chat.id: (chat.title, *[_shown(each) for each in chat.messages]) for chat in chats}
            assert again == {each: self.now[each] for each in self.now if each not in (ALICE, BOB)}

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

    def take_out_by_hand(self, chat_id: str) -> None:
        """Stop the server, take the line of a chat out of chats.json, and start again."""
        self.store.close()
        self.kill()
        lines = read_whole(self.disk, DATA / "chats.json").split(b"\n")
        rest = {each: shown for each, shown in self.now.items() if each != chat_id}
        self._promise(*self._possible, rest)
        left = [line for line in lines if not line.startswith(b'"%s":' % chat_id.encode())]
        write_new(self.disk, DATA / "edited", b"\n".join(left))
        self.disk.rename(DATA / "edited", DATA / "chats.json")
        self.disk.sync_folder(DATA)
        self._promise(rest)
        self.start()

    def checkpoint(self) -> bool:
        return self.do(lambda store: store.checkpoint())

    def go_on(self) -> None:
        """Show that writing goes on, whatever is there by now."""
        if ALICE not in self.now:
            assert self.sign_up(ALICE)
        if "later" not in self.now:
            assert self.begin(ALICE, "later")
        assert self.say(ALICE, "later")


Workload = Callable[[Life], None]


class Lab:
    """Cuts the power of one workload again and again, and of what is started on the disks that are left."""

    def __init__(self, workload: Workload, chance: random.Random) -> None:
        self.states = 0
        self._chance = chance
        self._different: set[int] = set()
        self._story: list[str] = []
        self._life = Life(SimulatedDisk())
        workload(self._life)

    def summary(self) -> str:
        return f"{self.states} disks, {len(self._different)} different ones"

    def run(self, states: int) -> None:
        """Try all disks that a moment may leave where these are few, then others by chance.

        With few states to try, not all of the first either, but some by chance: a third as many as states.
        """
        moments = self._life.disk.moments
        whole = [
            (place, disk)
            for place, moment in enumerate(moments)
            for disk in moment.whole_power_cuts(MOST_WHOLE_STATES)
        ]
        for place, disk in self._chance.sample(whole, min(len(whole), states // 3)):
            self._story = []
            self._note("cut", self._life, place)
            self._try(place, disk)
        weights = [moment.unsure for moment in moments]
        while self.states < states:
            self._story = []
            [place] = self._chance.choices(range(len(moments)), weights)
            self._try(place, self._interrupted(self._life, place))

    def _interrupted(self, life: Life, place: int) -> SimulatedDisk:
        """Return what the next process finds: now and then the system outlives the process."""
        moment = life.disk.moments[place]
        is_kill = self._chance.random() < KILLS
        self._note("killed" if is_kill else "cut", life, place)
        return moment.after_kill() if is_kill else moment.after_power_cut(self._chance)

    def _note(self, what: str, life: Life, place: int) -> None:
        last_calls = ", ".join(" ".join(call) for call in life.disk.calls[max(0, place - 3) : place])
        self._story.append(f"{what} at call {place} (… {last_calls})")

    def _try(self, place: int, disk: SimulatedDisk) -> None:
        """Start on what was left of the workload's disk."""
        try:
            self._survive(Life(disk, self._life.allowed(place)), self._chance.choice((1, 1, 2)))
        except Exception as failure:
            raise AssertionError("; ".join([*self._story, repr(failure)])) from failure

    def _survive(self, life: Life, more_cuts: int) -> None:
        """Start on a disk, write, and be cut off again: in the middle of the start, or later."""
        self.states += 1
        self._different.add(life.disk.fingerprint())
        life.start()
        life.go_on()
        if self._chance.random() < CHECKPOINTS:
            life.checkpoint()
            life.go_on()
        if more_cuts:
            place = self._chance.randrange(len(life.disk.moments))
            after = self._interrupted(life, place)
            self._survive(Life(after, life.allowed(place)), more_cuts - 1)
