"""Accounts without HTTP: sessions that grow old, and what happens when two things happen at once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from werkzeug.security import check_password_hash, generate_password_hash

from chatapp.errors import BadLogin, Invalid, NotAllowed, NotFound
from chatapp.models import Session, User
from chatapp.services import passwords
from chatapp.services.accounts import SESSION_IDLE, SESSION_LONGEST, Accounts
from chatapp.storage.memory import MemoryStore, MemoryUserRepository
from tests.records import NOON, a_user

PASSWORD = "correct horse battery"


class Clock:
    """A clock that a test sets forward."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def advance(self, by: timedelta) -> None:
        self.now += by


class NoSetupCode:
    def fits(self, code: str) -> bool:
        return False

    def used(self) -> None:
        """There is none to forget."""


class Interrupted(MemoryUserRepository):
    """Lets something happen just before the next change."""

    def __init__(self) -> None:
        super().__init__(MemoryStore().chats)
        self.before_next_update: Callable[[], object] | None = None
        self.updates = 0

    def update(self, user_id: str, change: Callable[[User], User]) -> User:
        self.updates += 1
        happens, self.before_next_update = self.before_next_update, None
        if happens is not None:
            happens()
        return super().update(user_id, change)


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "METHOD", "scrypt:1024:8:1")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def users() -> Interrupted:
    return Interrupted()


@pytest.fixture
def accounts(users: Interrupted, clock: Clock) -> Accounts:
    made = Accounts(users, NoSetupCode(), now=clock)
    made.register("alice", PASSWORD, setup_code=None, local=True)
    return made


def session_of(accounts: Accounts, session_id: str) -> Session:
    known = accounts.authenticate(session_id)
    assert known is not None
    return known[1]


def test_a_session_that_is_used_lives_its_longest_time(accounts: Accounts, clock: Clock) -> None:
    _, session_id = accounts.log_in("alice", PASSWORD, "")

    while clock.now < NOON + SESSION_LONGEST - timedelta(days=7):
        clock.advance(timedelta(days=7))
        assert accounts.is_signed_in(session_id)
    clock.advance(timedelta(days=7))

    assert not accounts.is_signed_in(session_id)


def test_a_session_that_nobody_uses_ends_earlier(accounts: Accounts, clock: Clock) -> None:
    _, session_id = accounts.log_in("alice", PASSWORD, "")

    clock.advance(SESSION_IDLE)

    assert not accounts.is_signed_in(session_id)


def test_a_clock_that_is_set_back_an_hour_signs_nobody_out(accounts: Accounts, clock: Clock) -> None:
    _, session_id = accounts.log_in("alice", PASSWORD, "")

    clock.advance(timedelta(hours=-1))

    assert accounts.is_signed_in(session_id)


def test_the_last_use_is_noted_once_a_minute_at_most(accounts: Accounts, clock: Clock) -> None:
    _, session_id = accounts.log_in("alice", PASSWORD, "")
    clock.advance(timedelta(seconds=59))
    accounts.authenticate(session_id)
    early = session_of(accounts, session_id).last_used_at
    clock.advance(timedelta(seconds=1))
    accounts.authenticate(session_id)

    assert early == NOON
    assert session_of(accounts, session_id).last_used_at == clock.now


def test_old_sessions_are_dropped_at_the_next_log_in(accounts: Accounts, clock: Clock) -> None:
    accounts.log_in("alice", PASSWORD, "old")
    clock.advance(SESSION_IDLE)

    user, _ = accounts.log_in("alice", PASSWORD, "new")

    assert [session.user_agent for session in user.sessions] == ["new"]


def test_a_password_changed_during_a_log_in_wins(accounts: Accounts, users: Interrupted) -> None:
    users.before_next_update = lambda: accounts.reset_password("alice", "changed meanwhile")

    with pytest.raises(BadLogin):
        accounts.log_in("alice", PASSWORD, "")

    assert users.all()[0].sessions == ()


def test_somebody_disabled_during_a_log_in_stays_out(accounts: Accounts, users: Interrupted) -> None:
    alice = users.all()[0]
    users.before_next_update = lambda: users.update(
        alice.id, lambda user: user.model_copy(update={"disabled": True})
    )

    with pytest.raises(BadLogin):
        accounts.log_in("alice", PASSWORD, "")


def test_somebody_deleted_during_a_log_in_is_unknown(accounts: Accounts, users: Interrupted) -> None:
    users.before_next_update = lambda: users.delete(users.all()[0].id)

    with pytest.raises(BadLogin):
        accounts.log_in("alice", PASSWORD, "")


def test_a_new_password_and_the_end_of_the_other_sessions_are_one_step(
    accounts: Accounts, users: Interrupted
) -> None:
    accounts.log_in("alice", PASSWORD, "other")
    alice, session_id = accounts.log_in("alice", PASSWORD, "own")
    own = session_of(accounts, session_id)
    updates_before = users.updates

    accounts.change_password(alice, own, PASSWORD, "another long password")

    assert users.updates == updates_before + 1
    assert [session.user_agent for session in users.get(alice.id).sessions] == ["own"]
    assert users.get(alice.id).password_hash != alice.password_hash


def test_two_who_log_in_with_an_older_hash_at_once_both_get_in(
    accounts: Accounts, users: Interrupted
) -> None:
    older = generate_password_hash(PASSWORD, "pbkdf2:sha256:1000")
    users.update(users.all()[0].id, lambda user: user.model_copy(update={"password_hash": older}))
    users.before_next_update = lambda: accounts.log_in("alice", PASSWORD, "first")

    user, _ = accounts.log_in("alice", PASSWORD, "second")

    assert [session.user_agent for session in user.sessions] == ["first", "second"]


@pytest.mark.parametrize("name", ["Jörg Müller", "x", "eve@example.org", "e" * 128])
def test_an_imported_account_signs_in_under_a_name_that_nobody_could_choose(
    accounts: Accounts, users: Interrupted, name: str
) -> None:
    older = generate_password_hash(PASSWORD, "pbkdf2:sha256:1000")
    users.add(a_user(name, password_hash=older))

    user, _ = accounts.log_in(name.upper(), PASSWORD, "")

    assert user.username == name
    assert user.password_hash.startswith(passwords.METHOD)


def test_resetting_a_password_ends_every_session(accounts: Accounts) -> None:
    _, session_id = accounts.log_in("alice", PASSWORD, "")

    accounts.reset_password("ALICE", "another long password")

    assert not accounts.is_signed_in(session_id)


def test_resetting_the_password_of_nobody_is_not_found(accounts: Accounts) -> None:
    with pytest.raises(NotFound):
        accounts.reset_password("nobody", "another long password")


def test_root_of_the_configuration_is_not_made_beside_somebody(
    accounts: Accounts, users: Interrupted
) -> None:
    accounts.ensure_root("boss", PASSWORD)

    assert [user.username for user in users.all()] == ["alice"]


def test_an_ordinary_user_neither_lists_nor_allows(accounts: Accounts) -> None:
    bob = accounts.register("bob", PASSWORD, setup_code=None, local=False)

    with pytest.raises(NotAllowed):
        accounts.everybody(bob)
    with pytest.raises(NotAllowed):
        accounts.allow_models(bob, bob.id, True)


def test_without_its_code_a_server_that_others_reach_makes_no_root(users: Interrupted) -> None:
    accounts = Accounts(users, NoSetupCode())

    with pytest.raises(Invalid) as refused:
        accounts.register("alice", PASSWORD, setup_code="guess", local=False)

    assert refused.value.field == "setup_code"
    assert accounts.is_empty


@pytest.mark.parametrize(
    ("username", "password"),
    [("nobody", PASSWORD), ("no user name", PASSWORD), ("", PASSWORD), ("nobody", "x" * 2000), ("alice", "")],
)
def test_every_refusal_costs_one_hash_so_that_its_time_tells_no_names(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch, username: str, password: str
) -> None:
    checked: list[str] = []

    def check(stored_hash: str, tried: str) -> bool:
        checked.append(stored_hash)
        return check_password_hash(stored_hash, tried)

    monkeypatch.setattr(passwords, "check_password_hash", check)

    with pytest.raises(BadLogin):
        accounts.log_in(username, password, "test")

    assert [stored_hash.partition("$")[0] for stored_hash in checked] == [passwords.METHOD]
