"""Any sequence of changes, checkpoints, restarts and kills gives what the plain dicts of the memory store give."""

from __future__ import annotations

import errno
import math
import shutil
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from chatapp.errors import ChatAppError, StorageFailed
from chatapp.storage import checkpoint, journal, keeping
from chatapp.storage.base import Store
from chatapp.storage.journal import generation_path
from chatapp.storage.json_store import JsonStore, open_store
from chatapp.storage.layout import Layout
from chatapp.storage.lines import encode_record
from chatapp.storage.maintenance.backup import back_up
from chatapp.storage.memory import MemoryStore
from chatapp.storage.upkeep import Upkeep
from tests.crash.unlucky import Fault, UnluckyFiles
from tests.memory_folder import memory_folder
from tests.property.conftest import EXAMPLES_IN_CI
from tests.records import NOON, a_chat, a_message, a_session, a_user

NAMES = st.sampled_from(["alice", "ALICE", "bob", "Straße", "STRASSE", "charlie", '"quoted"'])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
IDS = st.sampled_from(["first-id", "second-id", "third-id", 'id "4"'])
STATUSES = st.sampled_from(["complete", "streaming", "stopped"])
FAULTS = st.builds(
    Fault,
    st.integers(0, 40),
    st.sampled_from([errno.EIO, errno.ENOSPC, errno.EACCES]),
    st.booleans(),
    st.booleans(),
)
EXPECTED = ("The server was stopped while it was writing.", "No account has the role root")
"""What root may be told: after a kill, and after the last root was deleted."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TIMES = st.integers(-100, 100).map(lambda minutes: NOON + timedelta(minutes=minutes))


def outcome(call: Callable[[], Any]) -> Any:
    """Return what a call gives, or the kind of its refusal."""
    try:
        return call()
    except ChatAppError as refusal:
        return type(refusal)


def held_by(store: Store, owners: Iterable[str]) -> Any:
    """Return all that a store holds; ``owners`` also names people who were deleted."""
    listed = {owner: list(store.chats.list(owner)) for owner in owners}
    chats = [store.chats.get(owner, each.id) for owner, summaries in listed.items() for each in summaries]
    return list(store.users.all()), listed, chats


def is_refusal(result: Any) -> bool:
    return isinstance(result, type) and issubclass(result, StorageFailed)


class Stores(RuleBasedStateMachine):
    """The same calls on both stores; kills, faults, copies and checkpoints only on the one that has files."""

    users = Bundle("users")
    chats = Bundle("chats")

    def __init__(self) -> None:
        super().__init__()
        self.cleanup = ExitStack()
        self.folder = self.cleanup.enter_context(memory_folder())
        self.clock = NOON
        for module in (journal, checkpoint, keeping):
            self.cleanup.enter_context(patch.object(module, "now_utc", lambda: self.clock))
        for name in ("start", "stop"):  # nothing happens beside the steps, so that a failure can be repeated
            self.cleanup.enter_context(patch.object(Upkeep, name, lambda _: None))
        self.files = UnluckyFiles()
        self.files.is_reading = True
        self.real = self.opened(self.folder / "0")
        self.model = MemoryStore()
        self.kills = 0
        self.owners: dict[str, None] = {}
        self.dies_of_it = False
        self.refused: Callable[[Store], Any] = lambda _: None

    def held_by(self, store: Store) -> Any:
        return held_by(store, self.owners)

    def opened(self, folder: Path) -> JsonStore:
        return open_store(folder, files=self.files, checkpoint_after_s=math.inf)

    def on_both(self, call: Callable[[Store], Any]) -> None:
        dies = self.dies_of_it and not self.real._users.has_unsaved_uses
        result = self.with_fault(lambda: call(self.real))
        if not is_refusal(result):
            assert result == outcome(lambda: call(self.model))
            return
        self.refused = call
        self.settle()
        if dies:
            self.die()
        if self.real._journal.needs_new_file:
            self.real.checkpoint()
        self.refused = lambda _: None

    def with_fault(self, call: Callable[[], Any]) -> Any:
        """Make a call during which bad luck may strike; once it did, all is well again."""
        self.files.is_reading = False
        try:
            return outcome(call)
        finally:
            self.files.is_reading = True
            if self.files.failed:
                self.files.heal()
                self.files.failed.clear()

    def settle(self) -> None:
        """A refused change is there whole or not at all: where it is, the model makes it too."""
        if self.held_by(self.real) != self.held_by(self.model):
            outcome(lambda: self.refused(self.model))

    @rule(fault=FAULTS, dies=st.booleans())
    def have_bad_luck_soon(self, fault: Fault, dies: bool) -> None:
        self.files.count, self.files.failing, self.dies_of_it = 0, fault, dies

    @rule(minutes=st.sampled_from([-24 * 60, -60, 1, 60 * 24 * 3653, -60 * 24 * 20_000]))
    def move_the_clock(self, minutes: int) -> None:
        with suppress(OverflowError):
            self.clock = max(self.clock + timedelta(minutes=minutes), EPOCH)

    @rule(target=users, name=NAMES)
    def add_user(self, name: str) -> str:
        user = a_user(name, sessions=(a_session("one"),), later_field={"kept": name})
        self.owners[user.id] = None
        self.on_both(lambda store: store.users.add(user))
        return user.id

    @rule(user_id=users, name=NAMES)
    def rename_user(self, user_id: str, name: str) -> None:
        self.on_both(
            lambda store: store.users.update(user_id, lambda u: u.model_copy(update={"username": name}))
        )

    @rule(user_id=users)
    def delete_user(self, user_id: str) -> None:
        self.on_both(lambda store: store.users.delete(user_id))

    @rule(target=chats, owner_id=users, title=TEXTS, updated_at=TIMES)
    def add_chat(self, owner_id: str, title: str, updated_at: Any) -> Any:
        """Only the process that deleted an account knows that it did, so chats are made for accounts that are there."""
        if all(user.id != owner_id for user in self.model.users.all()):
            return multiple()
        chat = a_chat(
            owner_id, title=title, updated_at=updated_at, later=[title], messages=(a_message(title),)
        )
        self.on_both(lambda store: store.chats.add(chat))
        return owner_id, chat.id

    @rule(chat=chats, title=TEXTS)
    def rename_chat(self, chat: tuple[str, str], title: str) -> None:
        self.on_both(
            lambda store: store.chats.update(*chat, lambda each: each.model_copy(update={"title": title}))
        )

    @rule(chat=chats)
    def delete_chat(self, chat: tuple[str, str]) -> None:
        self.on_both(lambda store: store.chats.delete(*chat))

    @rule(chat=chats, owner_id=users)
    def read_as_somebody(self, chat: tuple[str, str], owner_id: str) -> None:
        self.on_both(lambda store: store.chats.get(owner_id, chat[1]))

    @rule(chat=chats, ids=st.lists(IDS, max_size=3), text=TEXTS, status=STATUSES, created_at=TIMES)
    def add_messages(
        self, chat: tuple[str, str], ids: list[str], text: str, status: str, created_at: Any
    ) -> None:
        messages = [
            a_message(text, id=each, status=status, created_at=created_at, later=text) for each in ids
        ]
        self.on_both(lambda store: list(store.chats.add_messages(*chat, messages)))

    @rule(chat=chats, message_id=IDS, offset=st.integers(0, 40), text=TEXTS)
    def append_part(self, chat: tuple[str, str], message_id: str, offset: int, text: str) -> None:
        self.on_both(lambda store: store.chats.append_part(*chat, message_id, offset, text))
        self.real._parts.flush()

    @rule(chat=chats, message_id=IDS, text=TEXTS, status=STATUSES)
    def finish_message(self, chat: tuple[str, str], message_id: str, text: str, status: str) -> None:
        final = a_message(text, id=message_id, status=status)
        self.on_both(lambda store: store.chats.finish_message(*chat, final))

    @rule()
    def interrupt_streaming(self) -> None:
        self.on_both(lambda store: store.chats.interrupt_streaming())

    @rule(user_id=users, used_at=TIMES)
    def use_session(self, user_id: str, used_at: Any) -> None:
        self.on_both(lambda store: store.users.touch_session(user_id, "one", used_at))

    @rule()
    def checkpoint(self) -> None:
        if is_refusal(self.with_fault(self.real.checkpoint)):
            self.real.checkpoint()

    @rule()
    def restart(self) -> None:
        """Last uses are all that a stop may lose, when the disk fails just then, so they are written first."""
        if self.real._users.has_unsaved_uses:
            self.checkpoint()
        folder = self.real._lock.folder
        self.with_fault(self.real.close)
        self.real = self.opened(folder)

    @rule()
    def restart_with_bad_luck(self) -> None:
        folder = self.real._lock.folder
        self.real.close()
        opened = self.with_fault(lambda: self.opened(folder))
        self.real = self.opened(folder) if is_refusal(opened) else opened

    @rule(torn_bytes=st.integers(0, 200))
    def kill_and_restart(self, torn_bytes: int) -> None:
        """Last uses are all that a kill may take away, so the files are written first when some are unsaved."""
        if self.real._users.has_unsaved_uses:
            self.real.checkpoint()
        self.die(torn_bytes)

    def die(self, torn_bytes: int = 0) -> None:
        """Go on with what the folder holds now, and with the beginning of a record that never was complete."""
        self.kills += 1
        left = self.folder / f"{self.kills}"
        shutil.copytree(self.real._lock.folder, left)
        if torn_bytes and self.real._journal.size_bytes:
            number = self.real._journal.last_number + 1
            record = encode_record(number, number, "2026-11-20T12:00:00.000Z", b'"op":"user.del","id":"x"')
            with generation_path(left / "journal", self.real._journal.generation).open("ab") as file:
                file.write(record[: min(torn_bytes, len(record) - 2)])
        self.real.close()
        self.real = self.opened(left)
        self.settle()

    @rule()
    def a_copy_opens_to_the_same(self) -> None:
        copy = self.folder / "copy"
        back_up(self.files, Layout(self.real._lock.folder), copy)
        opened = self.opened(copy)
        assert self.held_by(opened) == self.held_by(self.real) or self.real._users.has_unsaved_uses
        opened.close()
        shutil.rmtree(copy)

    @invariant()
    def both_hold_the_same(self) -> None:
        held = users, _, chats = self.held_by(self.real)
        assert held == self.held_by(self.model)
        assert all(each.model_extra for each in (*users, *chats)), "a later version's fields are gone"

    def teardown(self) -> None:
        self.real.close()
        self.cleanup.close()
        assert [each for each in self.real.notices if not each.startswith(EXPECTED)] == []


@pytest.mark.timeout(0)
def test_any_sequence_gives_what_plain_dicts_give(request: pytest.FixtureRequest) -> None:
    """``pytest tests/property --examples 5000`` for the long run; ``--hypothesis-seed`` repeats one."""
    examples: int = request.config.getoption("--examples", default=EXAMPLES_IN_CI)
    run_state_machine_as_test(
        Stores,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            derandomize=examples == EXAMPLES_IN_CI,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
