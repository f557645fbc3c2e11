"""All users in memory, parsed: they are few."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chatapp.models import Session, User
from chatapp.storage.lines import Kind
from chatapp.storage.operations import UserDelete, UserOperation, UserPut
from chatapp.storage.snapshot import SnapshotWriter


def name_key(username: str) -> str:
    """Return what two spellings of the same name have in common."""
    return username.casefold()


@dataclass(frozen=True, slots=True)
class FrozenUsers:
    """All users at one moment, last-use times included."""

    users: tuple[User, ...]
    site: dict[str, Any]
    uses: int = 0
    """How many last uses had been noted by then."""
    kind: Kind = "users"

    @property
    def count(self) -> int:
        """Number of users."""
        return len(self.users)

    def write(self, writer: SnapshotWriter) -> None:
        for user in self.users:
            writer.add(name_key(user.username), user.model_dump_json().encode()[1:])


class UserTable:
    """The users that readers see, in the order in which they were added. Safe for any thread.

    The last use of a session is kept beside its user, because it is written only with the next checkpoint.

    Args:
        site: the settings of the whole site, carried along unchanged.
    """

    def __init__(self, users: Iterable[User], site: dict[str, Any]) -> None:
        self.site = site
        self._users = {user.id: user for user in users}
        self._ids = {name_key(user.username): user.id for user in self._users.values()}
        self._used_at: dict[tuple[str, str], datetime] = {}
        self._uses = self._saved_uses = 0
        self._lock = threading.Lock()

    def get(self, user_id: str) -> User | None:
        with self._lock:
            user = self._users.get(user_id)
            return self._current(user) if user else None

    def by_name(self, username: str) -> User | None:
        with self._lock:
            user_id = self._ids.get(name_key(username))
            return self._current(self._users[user_id]) if user_id else None

    def all(self) -> tuple[User, ...]:
        with self._lock:
            return tuple(self._current(user) for user in self._users.values())

    def count(self) -> int:
        return len(self._users)

    def ids(self) -> Collection[str]:
        return self._users.keys()

    def _current(self, user: User) -> User:
        """Return the user with the last uses that are known by now."""
        if not any((user.id, each.secret_sha256) in self._used_at for each in user.sessions):
            return user
        sessions = tuple(self._current_session(user.id, each) for each in user.sessions)
        return user.model_copy(update={"sessions": sessions})

    def _current_session(self, user_id: str, session: Session) -> Session:
        used_at = self._used_at.get((user_id, session.secret_sha256), session.last_used_at)
        return session.model_copy(update={"last_used_at": max(used_at, session.last_used_at)})

    def touch(self, user_id: str, secret_sha256: str, used_at: datetime) -> None:
        """Note the last use of a session; an unknown one is passed over."""
        with self._lock:
            user = self._users.get(user_id)
            if user and any(each.secret_sha256 == secret_sha256 for each in user.sessions):
                known = self._used_at.get((user_id, secret_sha256), used_at)
                self._used_at[user_id, secret_sha256] = max(used_at, known)
                self._uses += 1

    @property
    def has_unsaved_uses(self) -> bool:
        return self._uses > self._saved_uses

    def apply(self, operation: UserOperation) -> None:
        """Show a durable change to readers."""
        with self._lock:
            match operation:
                case UserPut(user):
                    self._remove_name(user.id)
                    self._users[user.id] = user
                    self._ids[name_key(user.username)] = user.id
                case UserDelete(user_id):
                    self._remove_name(user_id)
                    self._users.pop(user_id, None)
                    self._used_at = {key: at for key, at in self._used_at.items() if key[0] != user_id}

    def _remove_name(self, user_id: str) -> None:
        if user := self._users.get(user_id):
            self._ids.pop(name_key(user.username), None)

    def freeze(self) -> FrozenUsers:
        """Return all users as they are now; from here on they hold the last uses themselves."""
        with self._lock:
            self._users = {user.id: self._current(user) for user in self._users.values()}
            self._used_at.clear()
            return FrozenUsers(tuple(self._users.values()), self.site, self._uses)

    def adopt(self, frozen: FrozenUsers) -> None:
        """Take note that a file holds these users, last uses included."""
        self._saved_uses = frozen.uses
