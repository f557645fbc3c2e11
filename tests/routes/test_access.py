"""Who may do what: every route declares its policy, and every change must come from our own pages."""

from __future__ import annotations

import gzip

import pytest
from flask import Flask
from werkzeug.routing import Rule

from chatapp.routes.access import is_allowed_host, policy_of
from chatapp.routes.next_url import safe_next
from tests.cast import Browser, services_of

CHANGING = {"POST", "PUT", "PATCH", "DELETE"}


def rules(app: Flask) -> list[Rule]:
    return list(app.url_map.iter_rules())


def address_of(rule: Rule) -> str:
    return (
        str(rule.rule)
        .replace("<chat_id>", "c" * 26)
        .replace("<path:name>", "m:1b")
        .replace("<user_id>", "u" * 26)
        .replace("<path:filename>", "css/index.css")
    )


def test_every_route_declares_who_may_use_it(app: Flask) -> None:
    undeclared = [rule.endpoint for rule in rules(app) if policy_of(app, rule.endpoint) is None]

    assert undeclared == []


def test_only_these_routes_are_open_to_everybody(app: Flask) -> None:
    open_to_all = {rule.endpoint for rule in rules(app) if policy_of(app, rule.endpoint) == "public"}

    assert open_to_all == {
        "static",
        "auth.login",
        "auth.login_form",
        "auth.register",
        "auth.register_form",
        "health.health",
        "health.ready",
    }


def test_anonymous_gets_nothing_but_the_open_routes(app: Flask, anonymous: Browser) -> None:
    token = anonymous.token()
    answers = {
        (method, rule.rule): anonymous.client.open(
            address_of(rule),
            method=method,
            headers={"Accept": "application/json", "X-CSRFToken": token},
        ).status_code
        for rule in rules(app)
        for method in (rule.methods or set()) - {"OPTIONS", "HEAD"}
        if policy_of(app, rule.endpoint) != "public"
    }

    assert len(answers) > 20
    assert set(answers.values()) == {401}


def test_an_ordinary_user_is_refused_what_is_roots(app: Flask, bob: Browser) -> None:
    answers = {
        rule.rule: bob.send(address_of(rule), method=method).status_code
        for rule in rules(app)
        for method in (rule.methods or set()) - {"OPTIONS", "HEAD"}
        if policy_of(app, rule.endpoint) == "root"
    }

    assert answers
    assert set(answers.values()) == {403}


def test_every_change_without_a_token_is_refused(app: Flask, alice: Browser) -> None:
    before = services_of(app).chats.list(alice.user)  # type: ignore[arg-type]
    answers = {
        (method, rule.rule): alice.client.open(
            address_of(rule), method=method, json={}, headers={"Accept": "application/json"}
        ).status_code
        for rule in rules(app)
        for method in (rule.methods or set()) & CHANGING
    }

    assert len(answers) > 12
    assert set(answers.values()) == {403}
    assert services_of(app).chats.list(alice.user) == before  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Origin": "http://localhost.evil.example"},
        {"Origin": "http://[::"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_change_from_another_site_is_refused_even_with_a_token(
    alice: Browser, headers: dict[str, str]
) -> None:
    answer = alice.send("/chat", {"title": "x"}, **headers)

    assert answer.status_code == 403
    assert answer.json is not None
    assert answer.json["error"]["code"] == "cross_site"


def test_a_change_from_our_own_page_is_taken(alice: Browser) -> None:
    own = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}

    assert alice.send("/chat", {"title": "x"}, **own).status_code == 201


@pytest.mark.parametrize("token", ["", "x", "IjEi.aaaa.bbbb", "ü" * 10, "a" * 8000])
def test_a_wrong_token_is_refused_with_a_sentence(alice: Browser, token: str) -> None:
    answer = alice.client.post("/chat", data={"csrf_token": token}, headers={"Accept": "text/html"})

    assert answer.status_code == 403
    assert "expired" in answer.get_data(as_text=True)


def test_no_get_changes_the_store(app: Flask, alice: Browser, bob: Browser) -> None:
    chat_id = alice.send("/chat", {"title": "kept"}).json["id"]  # type: ignore[index]
    before = services_of(app).store.chats.list(alice.user.id)  # type: ignore[union-attr]
    for person in (alice, bob):
        for rule in rules(app):
            for method in {"GET", "HEAD", "OPTIONS"} & (rule.methods or set()):
                person.client.open(address_of(rule).replace("c" * 26, chat_id), method=method, buffered=True)

    assert services_of(app).store.chats.list(alice.user.id) == before  # type: ignore[union-attr]
    assert services_of(app).jobs.of_kind("pull") == []
    assert services_of(app).jobs.of_kind("reply") == []


@pytest.mark.parametrize(
    "host", ["evil.com", "localhost:99999", "evil.com:5000", "127.0.0.1.evil.com", "a b", ""]
)
def test_a_foreign_host_name_is_refused(anonymous: Browser, host: str) -> None:
    assert anonymous.get("/login", headers={"Host": host}).status_code == 400


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "192.168.1.7", "[::1]", "chat.local", "a.internal", "x.localhost"]
)
def test_local_names_and_addresses_are_answered(anonymous: Browser, host: str) -> None:
    assert anonymous.get("/login", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    ("host", "allowed", "answer"),
    [
        ("chat.example.org", ("chat.example.org",), True),
        ("CHAT.example.org", ("chat.example.org",), True),
        ("chat.example.org.", ("chat.example.org",), True),
        ("evil.example.org", ("chat.example.org",), False),
        ("a.example.org", (".example.org",), True),
        ("example.org", (".example.org",), True),
        ("evilexample.org", (".example.org",), False),
        ("127.0.0.1", ("chat.example.org",), False),
        ("anything", ("*",), True),
    ],
)
def test_a_list_of_hosts_replaces_the_default(host: str, allowed: tuple[str, ...], answer: bool) -> None:
    assert is_allowed_host(host, allowed) is answer


@pytest.mark.parametrize(
    "target",
    [
        "//evil.com", "///evil.com", "/\\evil.com", "\\\\evil.com", "https://evil.com", "http:evil.com",
        "javascript:alert(1)", "/\tevil", "/\n/evil.com", " /chat", "evil.com", "/a//evil.com", "", None,
        "/%0d%0aSet-Cookie:x" + "a" * 3000, "//[::1", "/ /evil.com",
    ],
)  # fmt: skip
def test_next_never_leaves_the_site(target: str | None) -> None:
    assert safe_next(target) == "/"


@pytest.mark.parametrize("target", ["/chat/abc", "/dashboard?x=1", "/settings#password"])
def test_next_keeps_a_path_of_ours(target: str) -> None:
    assert safe_next(target) == target


def test_every_answer_carries_the_safety_headers(app: Flask, alice: Browser) -> None:
    for path in ("/login", "/dashboard", "/nothing-here", "/health", "/models/list", "/chat/new"):
        answer = alice.get(path)
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_the_cookie_cannot_be_read_by_scripts_or_sent_by_other_sites(anonymous: Browser) -> None:
    cookie = anonymous.get("/login").headers["Set-Cookie"]

    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Path=/" in cookie


def test_an_unknown_method_is_refused_with_what_is_allowed(alice: Browser) -> None:
    answer = alice.client.open("/dashboard", method="TRACE")

    assert answer.status_code == 405
    assert "GET" in answer.headers["Allow"]


def test_static_files_are_compressed_and_kept_for_ever(app: Flask, anonymous: Browser) -> None:
    address = f"{app.static_url_path}/css/index.css"

    plain = anonymous.get(address)
    small = anonymous.get(address, headers={"Accept-Encoding": "gzip"})

    assert gzip.decompress(small.data) == plain.data
    assert small.headers["Content-Length"] == str(len(small.data))
    assert small.headers["Vary"] == "Accept-Encoding"
    assert "immutable" in plain.headers["Cache-Control"]


def test_pages_are_never_compressed_beside_their_token(alice: Browser) -> None:
    assert "Content-Encoding" not in alice.get("/dashboard", headers={"Accept-Encoding": "gzip"}).headers


@pytest.mark.parametrize("path", ["../wsgi.py", "..%2fwsgi.py", "%00", "css/..;/index.css", "css", ""])
def test_nothing_but_static_files_is_below_static(app: Flask, anonymous: Browser, path: str) -> None:
    assert anonymous.get(f"{app.static_url_path}/{path}").status_code in (400, 404)


def test_static_files_are_the_same_for_everybody(app: Flask, alice: Browser) -> None:
    answer = alice.get(f"{app.static_url_path}/css/index.css")

    assert "Cookie" not in answer.headers.get("Vary", "")
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_whoever_watches_the_server_may_know_it_by_any_name(anonymous: Browser, path: str) -> None:
    assert anonymous.get(path, headers={"Host": "chatapp-1.cluster.example"}).status_code == 200


def test_the_first_visitor_of_an_empty_server_is_led_to_register(anonymous: Browser) -> None:
    assert anonymous.get("/").location == "/register"


def test_a_later_visitor_is_led_to_log_in(alice: Browser, anonymous: Browser) -> None:
    assert anonymous.get("/").location == "/login"
    assert anonymous.get("/dashboard").location == "/login?next=/dashboard"


@pytest.mark.parametrize(
    "path", ["/models/list", "/model/show/m:1b", "/chat/c/events", "/chat/c/export.json"]
)
def test_routes_that_answer_data_refuse_in_data(anonymous: Browser, path: str) -> None:
    answer = anonymous.get(path, headers={"Accept": "*/*"})

    assert answer.status_code == 401
    assert answer.json is not None
    assert answer.json["error"]["code"] == "not_authenticated"
