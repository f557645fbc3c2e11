"""Accounts on the journal."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime

from chatapp.errors import Conflict, NameTaken, NotFound
from chatapp.models import User
from chatapp.storage.chat_table import ChatTable
from chatapp.storage.journal import Journal
from chatapp.storage.locks import Turns
from chatapp.storage.operations import ChatDelete, Operation, UserDelete, UserPut
from chatapp.storage.user_table import UserTable


class JsonUserRepository:
    """See :class:`chatapp.storage.base.UserRepository`. One change at a time: each is decided and stored in turn."""

    def __init__(self, table: UserTable, chats: ChatTable, journal: Journal, turns: Turns) -> None:
        self._table = table
        self._chats = chats
        self._journal = journal
        self._turns = turns
        self._turn = threading.Lock()

    def get(self, user_id: str) -> User:
        user = self._table.get(user_id)
        if user is None:
            raise no_such_user()
        return user

    def by_name(self, username: str) -> User | None:
        return self._table.by_name(username)

    def all(self) -> Sequence[User]:
        return self._table.all()

    def count(self) -> int:
        return self._table.count()

    def add(self, user: User) -> User:
        with self._turn:
            if self._table.get(user.id):
                raise Conflict("A user with this id exists already.")
            self._check_name_free(user)
            if self._table.count() == 0:
                user = user.model_copy(update={"role": "root"})
            stored = self._put(user)
            self._turns.gone_owners.discard(user.id)
            return stored

    def update(self, user_id: str, change: Callable[[User], User]) -> User:
        with self._turn:
            user = change(self.get(user_id)).model_copy(update={"id": user_id})
            self._check_name_free(user)
            return self._put(user)

    def _check_name_free(self, user: User) -> None:
        taken = self._table.by_name(user.username)
        if taken is not None and taken.id != user.id:
            raise name_taken()

    def _put(self, user: User) -> User:
        self._journal.commit([UserPut(user)])
        return self.get(user.id)

    def touch_session(self, user_id: str, secret_sha256: str, used_at: datetime) -> None:
        self._table.touch(user_id, secret_sha256, used_at)

    def delete(self, user_id: str) -> None:
        with self._turn, self._turns.all():
            self.get(user_id)
            chats: list[Operation] = [ChatDelete(chat_id) for chat_id in self._chats.ids_of(user_id)]
            self._journal.commit([UserDelete(user_id), *chats])
            self._turns.gone_owners.add(user_id)


def no_such_user() -> NotFound:
    return NotFound("This user does not exist.")


def name_taken() -> NameTaken:
    return NameTaken("This name is taken. Choose another one.", field="username")
