"""Logging in and out: one answer for every wrong try, sessions that end when they should, and how often one may try."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from werkzeug.security import generate_password_hash
from werkzeug.test import TestResponse

from chatapp.models import User
from chatapp.routes.access import SESSION_KEY
from chatapp.services import passwords
from tests.cast import PASSWORD, Browser, add_user, services_of, short

pytestmark = pytest.mark.usefixtures("quick_hashes")

WRONG = {"code": "bad_login", "message": "The user name or the password is wrong.", "field": None}


def log_in(person: Browser, username: Any = "alice", password: Any = PASSWORD, **more: Any) -> TestResponse:
    return person.send("/login", {"username": username, "password": password, **more})


def error_of(answer: TestResponse) -> dict[str, Any]:
    assert answer.json is not None
    return dict(answer.json["error"])


def session_id_of(person: Browser) -> str | None:
    with person.client.session_transaction() as session:
        found: str | None = session.get(SESSION_KEY)
        return found


def change_user(person: Browser, **changes: Any) -> None:
    assert person.user is not None
    services_of(person.app).store.users.update(person.user.id, lambda user: user.model_copy(update=changes))


# -- wrong tries


@pytest.mark.parametrize(
    ("username", "password"),
    [
        ("alice", "wrong password"), ("nobody", PASSWORD), ("nobody", "wrong password"), ("", PASSWORD), ("alice", ""),
        ("", ""), ("alice\0", PASSWORD), (" alice", PASSWORD), ("а" + "lice", PASSWORD), ("x" * 100_000, PASSWORD),
        ("alice", "x" * 100_000), ("alice", "é" * 600), ("alice", PASSWORD + "\0"), ("alice", PASSWORD.upper()),
        ("alice", f"{PASSWORD} "), ("../alice", PASSWORD), ("<script>", PASSWORD), ("alice' or '1'='1", PASSWORD),
    ],
    ids=short,
)  # fmt: skip
def test_every_wrong_try_gets_the_same_answer(
    alice: Browser, anonymous: Browser, username: str, password: str
) -> None:
    answer = log_in(anonymous, username, password)

    assert answer.status_code == 401
    assert error_of(answer) == WRONG
    assert session_id_of(anonymous) is None


def test_an_unknown_name_and_a_wrong_password_give_the_same_page(alice: Browser, anonymous: Browser) -> None:
    def page(username: str) -> tuple[int, list[str], str]:
        answer = Browser(alice.app).submit("/login", username=username, password="wrong password")
        text = re.sub(r'(content|value)="[^"]{60,}"', "", answer.get_data(as_text=True))
        return answer.status_code, [name for name, _ in answer.headers], text.replace(username, "")

    unknown, wrong = page("nobody"), page("alice")

    assert unknown == wrong
    assert unknown[0] == 401
    assert "The user name or the password is wrong." in unknown[2]


@pytest.mark.parametrize("value", [None, [], {"$ne": 1}, True, 5, {"$gt": ""}])
@pytest.mark.parametrize("field", ["username", "password"])
def test_a_value_that_is_no_text_is_refused(
    alice: Browser, anonymous: Browser, field: str, value: Any
) -> None:
    answer = anonymous.send("/login", {"username": "alice", "password": PASSWORD, field: value})

    assert answer.status_code == 400
    assert error_of(answer)["field"] == field


def test_a_refused_page_keeps_the_name_but_never_the_password(alice: Browser, anonymous: Browser) -> None:
    page = anonymous.submit(
        "/login", username='"><b>x', password="secret words here", next="/settings"
    ).get_data(as_text=True)

    assert 'value="&#34;&gt;&lt;b&gt;x"' in page
    assert 'name="next" value="/settings"' in page
    assert "secret words here" not in page


def test_the_name_may_be_typed_in_any_case(alice: Browser, anonymous: Browser) -> None:
    assert log_in(anonymous, "ALICE").status_code == 200


# -- what a session is


def test_a_session_that_somebody_else_planted_is_not_used(alice: Browser, anonymous: Browser) -> None:
    planted = session_id_of(alice)
    with anonymous.client.session_transaction() as session:
        session[SESSION_KEY] = planted
        session["more"] = "planted"
    anonymous.user = alice.user
    victim = Browser(alice.app, add_user(alice.app, "victim"))
    anonymous.send("/login", {"username": "victim", "password": PASSWORD})

    with anonymous.client.session_transaction() as session:
        kept = dict(session)
    assert kept[SESSION_KEY] != planted
    assert kept[SESSION_KEY].startswith(victim.user.id)  # type: ignore[union-attr]
    assert "more" not in kept


def test_every_log_in_is_a_session_of_its_own(alice: Browser) -> None:
    first, second = Browser(alice.app), Browser(alice.app)
    log_in(first)
    log_in(second)

    assert session_id_of(first) != session_id_of(second)


def test_the_store_holds_only_a_hash_of_the_session(alice: Browser) -> None:
    secret = (session_id_of(alice) or "").partition(".")[2]
    stored = services_of(alice.app).store.users.all()[0].model_dump_json()

    assert len(secret) >= 40
    assert secret not in stored


def test_the_cookie_of_before_the_log_out_is_worth_nothing_afterwards(alice: Browser) -> None:
    copied = alice.another_tab()
    assert copied.get("/dashboard").status_code == 200

    answer = alice.send("/logout")

    assert answer.json == {"status": "signed_out"}
    assert copied.client.get("/dashboard", headers={"Accept": "application/json"}).status_code == 401


def test_logging_out_ends_only_this_browser(alice: Browser) -> None:
    other = Browser(alice.app)
    log_in(other)
    other.user = alice.user

    alice.send("/logout")

    assert other.get("/dashboard").status_code == 200


def test_logging_out_by_a_link_does_not_work(alice: Browser) -> None:
    assert alice.get("/logout").status_code == 405
    assert alice.get("/dashboard").status_code == 200


def test_changing_the_password_ends_all_other_sessions(alice: Browser) -> None:
    other = Browser(alice.app)
    log_in(other)

    answer = alice.send(
        "/settings", {"section": "password", "current": PASSWORD, "password": "another long password"}
    )

    assert answer.status_code == 200
    assert alice.get("/dashboard").status_code == 200
    assert other.get("/dashboard").headers["Location"].startswith("/login")
    assert log_in(Browser(alice.app)).status_code == 401
    assert log_in(Browser(alice.app), password="another long password").status_code == 200


def test_somebody_who_is_disabled_is_out_at_the_next_request_and_cannot_come_back(bob: Browser) -> None:
    change_user(bob, disabled=True)

    page = bob.client.get("/dashboard", headers={"Accept": "application/json"})

    assert page.status_code == 401
    assert error_of(log_in(Browser(bob.app), "bob")) == WRONG


def test_somebody_who_was_deleted_is_out_at_the_next_request(bob: Browser) -> None:
    assert bob.user is not None
    services_of(bob.app).store.users.delete(bob.user.id)

    assert bob.client.get("/dashboard", headers={"Accept": "application/json"}).status_code == 401
    assert error_of(log_in(Browser(bob.app), "bob")) == WRONG


# -- older and broken hashes


@pytest.mark.parametrize("method", ["pbkdf2:sha256:1000", "pbkdf2:sha256:600000", "scrypt:32768:8:1"])
def test_an_older_hash_is_accepted_and_upgraded(alice: Browser, method: str) -> None:
    change_user(alice, password_hash=generate_password_hash(PASSWORD, method))

    assert log_in(Browser(alice.app)).status_code == 200

    stored = services_of(alice.app).store.users.all()[0].password_hash
    assert stored.startswith(passwords.METHOD + "$")
    assert log_in(Browser(alice.app)).status_code == 200


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "x",
        "$",
        "$$",
        "scrypt:x",
        "scrypt:x$salt$hash",
        "scrypt:3:8:1$salt$00",
        "pbkdf2:nothing:1$salt$00",
        "plain$$secret",
    ],
)
def test_a_hash_that_was_broken_by_hand_lets_nobody_in(alice: Browser, stored: str) -> None:
    change_user(alice, password_hash=stored)

    assert error_of(log_in(Browser(alice.app))) == WRONG
    assert error_of(log_in(Browser(alice.app), password="secret")) == WRONG


# -- where one goes


def test_who_is_signed_in_is_sent_on(alice: Browser) -> None:
    assert alice.get("/login").headers["Location"] == "/"
    assert alice.get("/login?next=/settings").headers["Location"] == "/settings"
    assert alice.get("/login?next=//evil.example").headers["Location"] == "/"


@pytest.mark.parametrize(
    ("target", "place"), [("/settings", "/settings"), ("//evil.example", "/"), ("", "/")]
)
def test_after_the_log_in_one_goes_on_within_this_site(
    alice: Browser, anonymous: Browser, target: str, place: str
) -> None:
    answer = anonymous.submit("/login", username="alice", password=PASSWORD, next=target)

    assert (answer.status_code, answer.headers["Location"]) == (303, place)


def test_a_page_for_which_one_must_sign_in_is_shown_afterwards(alice: Browser, anonymous: Browser) -> None:
    answer = anonymous.get("/settings?a=1")

    assert (answer.status_code, answer.headers["Location"]) == (303, "/login?next=/settings?a%3D1")


@pytest.mark.parametrize(
    "authorization",
    [
        "Basic YWxpY2U6Y29ycmVjdA==",
        "Bearer",
        "bearer ",
        "Bearer x",
        "Bearer " + "x" * 60_000,
        "Bearer \xff\xfe",
        "Nonsense",
        "",
    ],
    ids=short,
)
def test_an_authorization_header_signs_nobody_in(
    alice: Browser, anonymous: Browser, authorization: str
) -> None:
    headers = {"Authorization": authorization, "Accept": "application/json"}

    assert anonymous.client.get("/dashboard", headers=headers).status_code == 401
    assert alice.client.get("/models/list", headers=headers).status_code == 200


def test_many_who_log_in_at_once_all_get_in(alice: Browser) -> None:
    people = [Browser(alice.app) for _ in range(12)]

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda person: log_in(person).status_code, people))

    assert answers == [200] * 12


# -- how often one may try


@pytest.fixture
def limited(open_app: Callable[..., Flask]) -> Flask:
    return open_app(RATELIMIT_ENABLED="true")


def from_address(app: Flask, address: str, username: str, password: str = "wrong password") -> TestResponse:
    person = Browser(app)
    return person.client.post(
        "/login",
        json={"username": username, "password": password},
        headers={"X-CSRFToken": person.token(), "Accept": "application/json"},
        environ_base={"REMOTE_ADDR": address},
    )


def test_after_ten_wrong_passwords_an_account_waits_but_only_from_that_address(limited: Flask) -> None:
    user: User = add_user(limited, "alice")
    answers = [from_address(limited, "10.0.0.1", "Alice" if n % 2 else "alice") for n in range(11)]

    blocked = from_address(limited, "10.0.0.1", "alice", PASSWORD)
    elsewhere = from_address(limited, "10.0.0.2", "alice", PASSWORD)

    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
    assert error_of(answers[-1])["code"] == "too_many"
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 301
    assert blocked.status_code == 429
    assert elsewhere.status_code == 200
    assert elsewhere.json is not None
    assert elsewhere.json["id"] == user.id


def test_one_password_tried_on_many_accounts_is_stopped_by_address(limited: Flask) -> None:
    answers = [from_address(limited, "10.0.0.1", f"user{n}").status_code for n in range(31)]

    assert answers == [401] * 30 + [429]


def test_right_passwords_are_not_counted(limited: Flask) -> None:
    add_user(limited, "alice")

    answers = [from_address(limited, "10.0.0.1", "alice", PASSWORD).status_code for _ in range(12)]

    assert answers == [200] * 12


def test_who_must_wait_sees_a_page_that_says_so_and_keeps_the_name(limited: Flask) -> None:
    person = Browser(limited)
    for n in range(11):
        answer = person.submit("/login", username="alice", password=f"wrong password {n}")

    page = answer.get_data(as_text=True)
    assert answer.status_code == 429
    assert "Wait a moment" in page
    assert 'value="alice"' in page


def test_a_forged_forwarding_header_does_not_buy_more_tries(limited: Flask) -> None:
    person = Browser(limited)
    answers = [
        log_in(person, f"user{n}", "wrong password").status_code
        if n < 30
        else person.send(
            "/login", {"username": "u", "password": "x"}, **{"X-Forwarded-For": f"10.1.1.{n}"}
        ).status_code
        for n in range(33)
    ]

    assert answers == [401] * 30 + [429] * 3


def test_behind_a_trusted_proxy_everybody_is_counted_by_their_own_address(
    open_app: Callable[..., Flask],
) -> None:
    app = open_app(RATELIMIT_ENABLED="true", TRUSTED_PROXIES="1")

    def try_as(forwarded_for: str, number: int) -> int:
        person = Browser(app)
        return person.send(
            "/login", {"username": f"u{number}", "password": "x" * 8}, **{"X-Forwarded-For": forwarded_for}
        ).status_code

    one = [try_as(f"6.6.6.{n}, 10.0.0.1", n) for n in range(31)]
    another = try_as("10.0.0.2", 99)

    assert one == [401] * 30 + [429]
    assert another == 401
