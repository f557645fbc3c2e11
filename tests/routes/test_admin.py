"""Root's page: strange ids and values, and that root sees no more than it should."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.cast import Browser, services_of, short
from tests.routes.test_replies import ask, new_chat


def may_manage(person: Browser) -> bool:
    assert person.user is not None
    return services_of(person.app).store.users.get(person.user.id).manages_models


def change(root: Browser, person: Browser, value: Any) -> Any:
    assert person.user is not None
    return root.send(f"/admin/users/{person.user.id}", {"may_manage_models": value})


@pytest.mark.parametrize(
    ("value", "allowed"),
    [
        (True, True),
        ("1", True),
        ("on", True),
        ("true", True),
        (False, False),
        ("", False),
        ("0", False),
        ("false", False),
    ],
)
def test_a_yes_is_a_yes_in_json_and_in_forms(alice: Browser, bob: Browser, value: Any, allowed: bool) -> None:
    change(alice, bob, not allowed)

    answer = change(alice, bob, value)

    assert answer.status_code == 200
    assert may_manage(bob) is allowed


@pytest.mark.parametrize("value", [None, 5, 1, 0, [], {}, ["1"], "maybe", "TRUE ", "ja", "\0"])
def test_what_is_neither_yes_nor_no_is_refused(alice: Browser, bob: Browser, value: Any) -> None:
    change(alice, bob, True)

    answer = change(alice, bob, value)

    assert answer.status_code == 400
    assert answer.json["error"]["field"] == "may_manage_models"
    assert answer.json["error"]["message"] == "may_manage_models must be true or false."
    assert may_manage(bob)


@pytest.mark.parametrize("user_id", ["0", "x" * 5000, "__proto__", "..", "\0", "🦙", "alice"], ids=short)
def test_a_strange_id_is_nobody(alice: Browser, user_id: str) -> None:
    answer = alice.send(f"/admin/users/{quote(user_id, safe='')}", {"may_manage_models": True})

    assert answer.status_code in (404, 405)


def test_nobody_but_root_changes_rights_not_even_their_own(bob: Browser, charlie: Browser) -> None:
    for target in (bob, charlie):
        assert change(bob, target, True).status_code == 403
        assert not may_manage(target)


def test_root_sees_names_but_no_chats_and_no_secrets(alice: Browser, bob: Browser) -> None:
    ask(bob, new_chat(bob), "Bob's private question")
    assert bob.user is not None

    page = alice.get("/admin/users").get_data(as_text=True)

    assert "bob" in page
    assert "private question" not in page
    assert bob.user.password_hash not in page
    assert "scrypt" not in page


def test_root_cannot_open_the_chat_of_another(alice: Browser, bob: Browser) -> None:
    chat_id = new_chat(bob)

    assert alice.get(f"/chat/{chat_id}").status_code == 404
    assert alice.send(f"/chat/{chat_id}/delete").status_code == 404
