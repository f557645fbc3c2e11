"""Cookies: whatever a browser sends, the answer is a page; over https they are bound to this host."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from flask.sessions import SecureCookieSessionInterface
from werkzeug.test import TestResponse

from chatapp.routes.access import SESSION_KEY
from tests.cast import PASSWORD, Browser, add_user, services_of, short

JSON = {"Accept": "application/json"}


def cookie_of(person: Browser) -> str:
    cookie = person.client.get_cookie("chatapp")
    assert cookie is not None
    return cookie.value


def signed(app: Flask, **values: object) -> str:
    """Return a cookie that this server would have signed."""
    serializer = SecureCookieSessionInterface().get_signing_serializer(app)
    assert serializer is not None
    return str(serializer.dumps(values))


def with_cookie(app: Flask, header: str) -> TestResponse:
    client = app.test_client(use_cookies=False)
    return client.get("/dashboard", headers={**JSON, "Cookie": header})


@pytest.mark.parametrize(
    "header",
    [
        "chatapp=", "chatapp", "=", "=value", ";;;", "chatapp=x; chatapp=y", "chatapp=" + "a" * 8000,
        "chatapp=.eJyrVkosLVGyUlBQSlJQqgUAHW0D7w.aaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbb", "chatapp=e30.YQ.YQ",
        "chatapp=\xff\xfe", "__Host-chatapp=x", "; ".join(f"c{n}=1" for n in range(200)), 'chatapp="quoted;x"',
        "chatapp=%00%0d%0aSet-Cookie:x=1",
        "session=x; sid=y",
    ],
    ids=short,
)  # fmt: skip
def test_a_cookie_that_is_not_ours_is_nobodys(app: Flask, header: str) -> None:
    assert with_cookie(app, header).status_code == 401


def test_a_changed_or_shortened_cookie_is_nobodys(alice: Browser) -> None:
    good = cookie_of(alice)
    middle = len(good) // 2
    broken = [
        good[:-1],
        good[1:],
        good[:middle] + ("A" if good[middle] != "A" else "B") + good[middle + 1 :],
        good.replace(".", "", 1),
        good + "x",
    ]

    assert with_cookie(alice.app, f"chatapp={good}").status_code == 200
    assert {with_cookie(alice.app, f"chatapp={value}").status_code for value in broken} == {401}


@pytest.mark.parametrize(
    "session_id", [None, 5, [], {}, "", ".", "x", "x.y", "..", "a" * 50_000, "\0", {"$ne": ""}], ids=short
)
def test_a_signed_cookie_with_a_strange_session_is_nobodys(app: Flask, session_id: object) -> None:
    assert with_cookie(app, f"chatapp={signed(app, **{SESSION_KEY: session_id})}").status_code == 401


def test_a_guessed_secret_for_a_real_user_is_nobodys(alice: Browser) -> None:
    assert alice.user is not None
    forged = signed(alice.app, **{SESSION_KEY: f"{alice.user.id}.guess"})

    assert with_cookie(alice.app, f"chatapp={forged}").status_code == 401


def test_a_cookie_signed_with_an_older_key_is_nobodys(alice: Browser, open_app: Callable[..., Flask]) -> None:
    other = open_app(SECRET_KEY="another key of at least thirty-two bytes")
    add_user(other, "alice")

    assert with_cookie(other, f"chatapp={cookie_of(alice)}").status_code == 401


def test_the_session_of_somebody_deleted_is_taken_out_of_the_cookie(bob: Browser) -> None:
    assert bob.user is not None
    services_of(bob.app).store.users.delete(bob.user.id)

    bob.get("/login")

    with bob.client.session_transaction() as session:
        assert SESSION_KEY not in session


def test_without_cookies_a_log_in_says_that_they_are_needed_and_does_not_loop(alice: Browser) -> None:
    client = alice.app.test_client(use_cookies=False)
    form = {"username": "alice", "password": PASSWORD, "csrf_token": Browser(alice.app).token()}

    answer = client.post("/login", data=form, headers={"Accept": "text/html"})

    assert answer.status_code == 403
    assert "cookies must be allowed" in answer.get_data(as_text=True)


def test_the_cookie_lives_sixty_days_and_holds_no_name(alice: Browser, anonymous: Browser) -> None:
    answer = anonymous.submit("/login", username="alice", password=PASSWORD)

    cookie = anonymous.client.get_cookie("chatapp")
    assert cookie is not None
    assert cookie.max_age is None or cookie.max_age == 60 * 86400
    assert "Expires=" in answer.headers["Set-Cookie"]
    assert "alice" not in answer.headers["Set-Cookie"]


# -- https


@pytest.fixture
def proxied(open_app: Callable[..., Flask]) -> Flask:
    return open_app(TRUSTED_PROXIES="1", ALLOWED_HOSTS="chat.example.org")


HTTPS = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "chat.example.org", "X-Forwarded-For": "10.0.0.9"}


def test_over_https_the_cookie_is_secure_and_bound_to_its_host(proxied: Flask) -> None:
    cookie = proxied.test_client().get("/login", headers=HTTPS).headers["Set-Cookie"]

    assert cookie.startswith("__Host-chatapp=")
    assert "; Secure" in cookie
    assert "; HttpOnly" in cookie
    assert "; Path=/" in cookie
    assert "; SameSite=Lax" in cookie
    assert "Domain=" not in cookie


def test_behind_the_proxy_one_can_log_in_and_stays_so(proxied: Flask) -> None:
    add_user(proxied, "alice")
    client = proxied.test_client(use_cookies=False)
    page = client.get("/login", headers=HTTPS)
    cookie = page.headers["Set-Cookie"].partition(";")[0]
    token = page.get_data(as_text=True).partition('name="csrf-token" content="')[2].partition('"')[0]
    logged_in = client.post(
        "/login",
        json={"username": "alice", "password": PASSWORD},
        headers={
            **HTTPS,
            **JSON,
            "Cookie": cookie,
            "X-CSRFToken": token,
            "Origin": "https://chat.example.org",
        },
    )
    cookie = logged_in.headers["Set-Cookie"].partition(";")[0]

    assert logged_in.status_code == 200
    assert client.get("/dashboard", headers={**HTTPS, **JSON, "Cookie": cookie}).status_code == 200


def test_a_cookie_planted_over_http_is_not_read_over_https(proxied: Flask) -> None:
    alice = Browser(proxied)
    alice.user = add_user(proxied, "alice")
    _, session_id = services_of(proxied).accounts.open_session(alice.user, "")
    planted = signed(proxied, **{SESSION_KEY: session_id})

    answer = proxied.test_client(use_cookies=False).get(
        "/dashboard", headers={**HTTPS, **JSON, "Cookie": f"chatapp={planted}"}
    )

    assert answer.status_code == 401


def test_a_forged_scheme_changes_nothing_without_a_trusted_proxy(app: Flask) -> None:
    cookie = app.test_client().get("/login", headers={"X-Forwarded-Proto": "https"}).headers["Set-Cookie"]

    assert cookie.startswith("chatapp=")
    assert "Secure" not in cookie


@pytest.mark.parametrize("host", ["evil.example", "localhost", "chat.example.org.evil.example"])
def test_a_forwarded_host_must_be_one_of_ours(proxied: Flask, host: str) -> None:
    answer = proxied.test_client().get("/login", headers={**HTTPS, "X-Forwarded-Host": host})

    assert answer.status_code == 400


def test_a_forwarded_host_is_not_believed_without_a_trusted_proxy(app: Flask) -> None:
    assert app.test_client().get("/login", headers={"X-Forwarded-Host": "evil.example"}).status_code == 200
