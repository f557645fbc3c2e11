"""Any sequence of changes, checkpoints, restarts and kills gives what the plain dicts of the memory store give."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from chatapp.errors import ChatAppError
from chatapp.storage.base import Store
from chatapp.storage.json_store import JsonStore, open_store
from chatapp.storage.memory import MemoryStore
from tests.fakes.files import FaultyFiles
from tests.memory_folder import memory_folder
from tests.records import NOON, a_chat, a_message, a_session, a_user

NAMES = st.sampled_from(["alice", "ALICE", "bob", "Straße", "STRASSE", "charlie", '"quoted"'])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
IDS = st.sampled_from(["first-id", "second-id", "third-id", 'id "4"'])
STATUSES = st.sampled_from(["complete", "streaming", "stopped"])
TIMES = st.integers(-100, 100).map(lambda minutes: NOON + timedelta(minutes=minutes))


def outcome(call: Callable[[], Any]) -> Any:
    """Return what a call gives, or the kind of its refusal."""
    try:
        return call()
    except ChatAppError as refusal:
        return type(refusal)


def open_quickly(folder: Path) -> JsonStore:
    return open_store(folder, files=FaultyFiles(syncs=False), checkpoint_after_s=math.inf)


class Stores(RuleBasedStateMachine):
    """The same calls on both stores; kills and checkpoints only on the one that has files."""

    users = Bundle("users")
    chats = Bundle("chats")

    def __init__(self) -> None:
        super().__init__()
        self.cleanup = ExitStack()
        self.folder = self.cleanup.enter_context(memory_folder())
        self.real: JsonStore = open_quickly(self.folder / "0")
        self.model = MemoryStore()
        self.kills = 0

    def on_both(self, call: Callable[[Store], Any]) -> None:
        assert outcome(lambda: call(self.real)) == outcome(lambda: call(self.model))

    @rule(target=users, name=NAMES)
    def add_user(self, name: str) -> str:
        user = a_user(name, sessions=(a_session("one"),))
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
    def add_chat(self, owner_id: str, title: str, updated_at: Any) -> tuple[str, str]:
        chat = a_chat(owner_id, title=title, updated_at=updated_at, messages=(a_message(title),))
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
        messages = [a_message(text, id=each, status=status, created_at=created_at) for each in ids]
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
        self.real.checkpoint()

    @rule()
    def restart(self) -> None:
        self.real.close()
        self.real = open_quickly(self.real._lock.folder)

    @rule()
    def kill_and_restart(self) -> None:
        """Last uses are all that a kill may take away, so the files are written first when some are unsaved."""
        if self.real._users.has_unsaved_uses:
            self.real.checkpoint()
        self.kills += 1
        left = self.folder / f"{self.kills}"
        shutil.copytree(self.real._lock.folder, left)
        self.real.close()
        self.real = open_quickly(left)

    @invariant()
    def both_hold_the_same(self) -> None:
        users = list(self.real.users.all())
        assert users == list(self.model.users.all())
        for user in users:
            listed = list(self.real.chats.list(user.id))
            assert listed == list(self.model.chats.list(user.id))
            for summary in listed:
                assert self.real.chats.get(user.id, summary.id) == self.model.chats.get(user.id, summary.id)

    def teardown(self) -> None:
        self.real.close()
        self.cleanup.close()
        assert self.real.notices == []


TestStores = Stores.TestCase
TestStores.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
