"""What every store promises about users."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from chatapp.errors import Conflict, NameTaken, NotFound
from chatapp.models import User
from chatapp.storage.base import Store
from tests.records import NOON, a_chat, a_session, a_user, minutes_after_noon


def test_a_stored_user_is_found_by_id(store: Store) -> None:
    alice = store.users.add(a_user("alice"))

    assert store.users.get(alice.id) == alice


def test_an_unknown_id_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound):
        store.users.get("nobody")


def test_a_user_is_found_by_name_in_any_case(store: Store) -> None:
    alice = store.users.add(a_user("Alice"))

    assert store.users.by_name("aLICE") == alice


def test_names_that_differ_only_by_folding_are_the_same(store: Store) -> None:
    store.users.add(a_user("strasse"))

    with pytest.raises(NameTaken):
        store.users.add(a_user("STRASSE"))


def test_an_unknown_name_gives_none(store: Store) -> None:
    assert store.users.by_name("nobody") is None


def test_the_first_user_is_root_and_the_second_is_not(store: Store) -> None:
    first, second = store.users.add(a_user("alice")), store.users.add(a_user("bob"))

    assert (first.role, second.role) == ("root", "user")


def test_a_later_user_may_be_root_from_the_start(store: Store) -> None:
    store.users.add(a_user("alice"))

    assert store.users.add(a_user("bob", role="root")).is_root


def test_fifty_first_users_at_once_make_one_root(store: Store) -> None:
    newcomers = [a_user(f"user{number}") for number in range(50)]

    with ThreadPoolExecutor(50) as pool:
        list(pool.map(store.users.add, newcomers))

    assert [user.is_root for user in store.users.all()].count(True) == 1
    assert store.users.count() == 50


def test_the_same_name_at_once_is_given_away_once(store: Store) -> None:
    def register(number: int) -> str:
        try:
            return store.users.add(a_user("Alice")).id
        except NameTaken:
            return "taken"

    with ThreadPoolExecutor(20) as pool:
        outcomes = list(pool.map(register, range(20)))

    assert outcomes.count("taken") == 19


def test_an_id_is_stored_once(store: Store) -> None:
    alice = store.users.add(a_user("alice"))

    with pytest.raises(Conflict):
        store.users.add(a_user("bob", id=alice.id))


def test_all_users_come_in_the_order_in_which_they_were_added(store: Store) -> None:
    for name in ("zoe", "adam", "mia"):
        store.users.add(a_user(name))

    assert [user.username for user in store.users.all()] == ["zoe", "adam", "mia"]


def test_an_update_is_stored_and_returned(store: Store) -> None:
    alice = store.users.add(a_user("alice"))

    changed = store.users.update(alice.id, lambda user: user.model_copy(update={"password_hash": "new"}))

    assert changed.password_hash == "new"
    assert store.users.get(alice.id) == changed


def test_an_update_may_change_the_name(store: Store) -> None:
    alice = store.users.add(a_user("alice"))

    store.users.update(alice.id, lambda user: user.model_copy(update={"username": "Alicia"}))

    assert store.users.by_name("alice") is None
    assert store.users.get(alice.id) == store.users.by_name("alicia")


def test_an_update_cannot_take_the_name_of_another(store: Store) -> None:
    store.users.add(a_user("alice"))
    bob = store.users.add(a_user("bob"))

    with pytest.raises(NameTaken):
        store.users.update(bob.id, lambda user: user.model_copy(update={"username": "ALICE"}))

    assert store.users.get(bob.id).username == "bob"


def test_an_update_of_an_unknown_user_is_refused(store: Store) -> None:
    with pytest.raises(NotFound):
        store.users.update("nobody", lambda user: user)


def test_simultaneous_updates_do_not_lose_each_other(store: Store) -> None:
    alice = store.users.add(a_user("alice"))

    def sign_in(number: int) -> None:
        session = a_session(f"session-{number}")
        store.users.update(alice.id, lambda u: u.model_copy(update={"sessions": (*u.sessions, session)}))

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(sign_in, range(20)))

    assert len(store.users.get(alice.id).sessions) == 20


def test_a_failing_change_changes_nothing(store: Store) -> None:
    alice = store.users.add(a_user("alice"))

    def refuse(_: User) -> User:
        raise PermissionError

    with pytest.raises(PermissionError):
        store.users.update(alice.id, refuse)

    assert store.users.get(alice.id) == alice


def test_fields_of_a_later_version_are_kept(store: Store) -> None:
    alice = store.users.add(a_user("alice", nickname={"short": "Al"}))

    store.users.update(alice.id, lambda user: user.model_copy(update={"disabled": True}))

    assert store.users.get(alice.id).model_dump()["nickname"] == {"short": "Al"}


def test_the_last_use_of_a_session_is_noted(store: Store) -> None:
    alice = store.users.add(a_user("alice", sessions=(a_session("one"), a_session("two"))))

    store.users.touch_session(alice.id, "two", minutes_after_noon(5))

    assert [each.last_used_at for each in store.users.get(alice.id).sessions] == [NOON, minutes_after_noon(5)]


def test_the_last_use_survives_an_update(store: Store) -> None:
    alice = store.users.add(a_user("alice", sessions=(a_session("one"),)))
    store.users.touch_session(alice.id, "one", minutes_after_noon(5))

    store.users.update(alice.id, lambda user: user.model_copy(update={"disabled": True}))

    assert store.users.get(alice.id).sessions[0].last_used_at == minutes_after_noon(5)


def test_the_last_use_never_runs_backwards(store: Store) -> None:
    alice = store.users.add(a_user("alice", sessions=(a_session("one"),)))
    store.users.touch_session(alice.id, "one", minutes_after_noon(5))

    store.users.touch_session(alice.id, "one", minutes_after_noon(-5))

    assert store.users.get(alice.id).sessions[0].last_used_at == minutes_after_noon(5)


def test_the_use_of_an_unknown_session_is_passed_over(store: Store) -> None:
    alice = store.users.add(a_user("alice"))

    store.users.touch_session(alice.id, "unknown", NOON)
    store.users.touch_session("nobody", "unknown", NOON)

    assert store.users.get(alice.id) == alice


def test_deleting_a_user_deletes_their_chats_and_no_others(store: Store) -> None:
    alice, bob = store.users.add(a_user("alice")), store.users.add(a_user("bob"))
    mine, other = store.chats.add(a_chat(alice.id)), store.chats.add(a_chat(bob.id))

    store.users.delete(alice.id)

    assert store.users.by_name("alice") is None
    assert store.chats.list(alice.id) == []
    assert store.chats.get(bob.id, other.id) == other
    with pytest.raises(NotFound):
        store.chats.get(alice.id, mine.id)


def test_deleting_an_unknown_user_is_refused(store: Store) -> None:
    with pytest.raises(NotFound):
        store.users.delete("nobody")


def test_the_name_of_a_deleted_user_is_free_again(store: Store) -> None:
    store.users.delete(store.users.add(a_user("alice")).id)

    assert store.users.add(a_user("alice")).username == "alice"


def test_a_deleted_user_gets_no_new_chats(store: Store) -> None:
    alice = store.users.add(a_user("alice"))
    store.users.delete(alice.id)

    with pytest.raises(NotFound):
        store.chats.add(a_chat(alice.id))


def test_a_user_who_is_stored_again_gets_chats_again(store: Store) -> None:
    alice = store.users.add(a_user("alice"))
    store.users.delete(alice.id)
    store.users.add(alice)

    chat = store.chats.add(a_chat(alice.id))

    assert [each.id for each in store.chats.list(alice.id)] == [chat.id]
