"""users.json and chats.json as they were found, and what root has to know about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chatapp.errors import StoreDamaged
from chatapp.models import User
from chatapp.storage.chat_state import ChatState
from chatapp.storage.chat_table import ChatIndex
from chatapp.storage.imports.entries import Rejected, chat_of
from chatapp.storage.snapshot import Snapshot, untrusted
from chatapp.storage.user_table import name_key


@dataclass(slots=True)
class DataFile:
    """One of the two files. ``remarks`` are lines for root about what the server did not write itself."""

    snapshot: Snapshot
    is_plain: bool = False
    """True for a simpler layout: the numbers in its head are not its own."""
    remarks: list[str] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.snapshot.path

    @property
    def count(self) -> int:
        """How many entries the file holds, used or not."""
        return len(self.snapshot)

    @property
    def is_changed(self) -> bool:
        """True when somebody else wrote it: it has to be kept as it was found, and written anew."""
        return self.is_plain or bool(self.remarks)

    def note_count(self) -> None:
        """Add a remark when lines were added or taken out."""
        head = self.snapshot.head
        if self.count != head.count:
            self.remarks.append(
                f"{self.path.name} should hold {head.count} {head.kind} and holds {self.count}: lines were added or "
                "taken out outside of chatapp. It is used as it stands now."
            )


@dataclass(slots=True)
class UsersFile(DataFile):
    users: Sequence[User] = ()

    @property
    def count(self) -> int:
        return len(self.users)

    def check_distinct(self) -> None:
        """Raise ``StoreDamaged`` when two accounts could not be told apart."""
        names: set[str] = set()
        ids: set[str] = set()
        for user in self.users:
            if name_key(user.username) in names:
                raise self._unusable(f"two accounts have the name {user.username}, without regard to case")
            if user.id in ids:
                raise self._unusable(f"the account {user.username} has the id of another one")
            names.add(name_key(user.username))
            ids.add(user.id)

    def _unusable(self, reason: str) -> StoreDamaged:
        return untrusted(f"{self.path} cannot be used: {reason}")


@dataclass(slots=True)
class ChatsFile(DataFile):
    index: ChatIndex = field(default_factory=ChatIndex)
    held: dict[str, ChatState] = field(default_factory=dict)
    """Chats whose lines cannot be used as they are, by id."""
    rejected: list[Rejected] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.snapshot) + len(self.held) + len(self.rejected)

    def hold(self, state: ChatState) -> None:
        """Take in a chat that needs a new line. Raises ``ValueError`` when its id is taken."""
        chat_id = state.summary.id
        if chat_id in self.snapshot or chat_id in self.held:
            raise ValueError(f"the chat {chat_id} occurs twice")
        self.held[chat_id] = state

    def hold_entry(self, chat_id: str, value: Any) -> None:
        """Take in an entry of our own format. Raises ``ValueError`` when it is no chat."""
        if not isinstance(value, dict):
            raise ValueError("it is no object")
        self.hold(chat_of(chat_id, value))
