"""Registering: what is refused and how, who becomes root, and the setup code of a server that others can reach."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from chatapp import create_app
from chatapp.config import Config
from chatapp.errors import Invalid
from chatapp.storage.memory import MemoryStore
from tests.cast import PASSWORD, Browser, services_of, short

pytestmark = pytest.mark.usefixtures("quick_hashes")

FORM = "application/x-www-form-urlencoded"
START: dict[str, str] = {"username": "carol", "password": PASSWORD}


def raw(person: Browser, body: bytes, kind: str, accept: str = "application/json") -> TestResponse:
    return person.client.post(
        "/register",
        data=body,
        content_type=kind,
        headers={"X-CSRFToken": person.token(), "Accept": accept},
        buffered=True,
    )


def error_of(answer: TestResponse) -> dict[str, Any]:
    assert answer.json is not None
    return dict(answer.json["error"])


@pytest.mark.parametrize("body", [{}, {"username": ""}, {"username": "   "}, {"username": "\t\n"}])
def test_without_a_user_name_one_is_asked_for(anonymous: Browser, body: dict[str, Any]) -> None:
    answer = anonymous.send("/register", {"password": PASSWORD, **body})

    assert answer.status_code == 400
    assert error_of(answer)["message"] == "Choose a user name."
    assert error_of(answer)["field"] == "username"


@pytest.mark.parametrize("field", ["username", "password", "confirm", "setup_code"])
@pytest.mark.parametrize("value", [5, 1.5, True, [], ["carol"], {}, {"$ne": 1}])
def test_a_value_that_is_no_text_is_refused_by_name(anonymous: Browser, field: str, value: Any) -> None:
    answer = anonymous.send("/register", START | {field: value})

    assert answer.status_code == 400
    assert error_of(answer)["field"] == field
    assert error_of(answer)["message"] == f"{field} must be text."
    assert services_of(anonymous.app).accounts.is_empty


@pytest.mark.parametrize("field", ["username", "password", "setup_code"])
def test_null_is_no_text_either(anonymous: Browser, field: str) -> None:
    answer = anonymous.send("/register", START | {field: None})

    assert answer.status_code == 400
    assert error_of(answer)["field"] == field


@pytest.mark.parametrize(
    "username",
    [
        "a", "x" * 33, "x" * 1_000_000, "аlice", "ａｌｉｃｅ", "ali\u200dce", "\u202ealice", "josé", "爱丽丝", "👩‍👩‍👧",
        "a\u0000b", "../x", "a/b", "a\\b", "CON", "nul", "a\r\nSet-Cookie:x", "a\tb", "alice\n", " alice", "alice ",
        "al ice", "..", "-_", "<img src=x onerror=1>", "alice'--", "{{7*7}}", "a,b", "alice@home", "%00", "a;b",
        "$(id)",
    ],
    ids=short,
)  # fmt: skip
def test_a_user_name_is_letters_digits_dots_underscores_and_hyphens(
    anonymous: Browser, username: str
) -> None:
    answer = anonymous.send("/register", START | {"username": username})

    assert answer.status_code == 400
    assert error_of(answer)["field"] == "username"
    assert services_of(anonymous.app).accounts.is_empty


@pytest.mark.parametrize("username", ["al", "a.b", "A_b-9", "x" * 32, "007"])
def test_a_name_within_the_rules_is_taken_as_typed(anonymous: Browser, username: str) -> None:
    answer = anonymous.send("/register", START | {"username": username})

    assert answer.status_code == 201
    assert answer.json is not None
    assert answer.json["username"] == username


@pytest.mark.parametrize("username", ["alice", "Alice", "ALICE"])
def test_a_name_that_differs_only_in_case_is_taken_already(
    alice: Browser, anonymous: Browser, username: str
) -> None:
    answer = anonymous.send("/register", START | {"username": username})

    assert answer.status_code == 409
    assert error_of(answer) | {"message": ""} == {"code": "name_taken", "message": "", "field": "username"}


@pytest.mark.parametrize(
    "password",
    [
        "", "1234567", "x" * 1025, "é" * 513, "nul\0inside", "password", "12345678", "iloveyou", "PASSWORD",
        "chatapp123", "changeme", "x" * 1_000_000,
    ],
    ids=short,
)  # fmt: skip
def test_a_password_that_is_short_long_or_common_is_refused(anonymous: Browser, password: str) -> None:
    answer = anonymous.send("/register", START | {"password": password})

    assert answer.status_code == 400
    assert error_of(answer)["field"] == "password"
    assert services_of(anonymous.app).accounts.is_empty


@pytest.mark.parametrize(("username", "password"), [("carolina", "carolina"), ("Carolina", "cAROLINA")])
def test_the_user_name_is_no_password(anonymous: Browser, username: str, password: str) -> None:
    answer = anonymous.send("/register", {"username": username, "password": password})

    assert answer.status_code == 400
    assert error_of(answer)["field"] == "password"


@pytest.mark.parametrize(
    "password",
    [
        "8letters",
        "x" * 64,
        "x" * 1024,
        "é" * 512,
        " " * 12,
        "🔑" * 8,
        " padded with spaces ",
        "tab\tand\u2028more",
    ],
    ids=short,
)
def test_a_password_is_kept_to_the_byte(anonymous: Browser, password: str) -> None:
    assert anonymous.send("/register", START | {"password": password}).status_code == 201

    again = Browser(anonymous.app).send("/login", {"username": "carol", "password": password})
    trimmed = Browser(anonymous.app).send("/login", {"username": "carol", "password": password[:-1]})

    assert again.status_code == 200
    assert trimmed.status_code == 401


def test_composed_and_decomposed_letters_are_different_passwords(anonymous: Browser) -> None:
    anonymous.send("/register", START | {"password": "\u00e9clair au lait"})

    other = Browser(anonymous.app).send("/login", {"username": "carol", "password": "e\u0301clair au lait"})

    assert other.status_code == 401


def test_the_second_password_must_be_the_same(anonymous: Browser) -> None:
    answer = anonymous.send("/register", START | {"confirm": PASSWORD + "x"})

    assert answer.status_code == 400
    assert error_of(answer)["field"] == "confirm"


def test_what_a_client_says_about_itself_gives_no_rights(anonymous: Browser, alice: Browser) -> None:
    answer = anonymous.submit(
        "/register", **START, role="root", is_root="1", id="1", may_manage_models="1", disabled="1"
    )

    assert answer.status_code == 303
    carol = services_of(alice.app).store.users.by_name("carol")
    assert carol is not None
    assert (carol.role, carol.manages_models, carol.disabled) == ("user", False, False)
    assert carol.id != "1"


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"username=carol&username=bob&password=x", FORM, 400),
        (b'{"username":"carol","username":"bob"}', "application/json", 400),
        ("username=carol&password=pässwörter".encode("latin-1"), FORM, 400),
        (b"username=carol&password=%ff%fe%ff%fe%ff", FORM, 400),
        (b"username=carol&password=%ED%A0%80abcdefgh", FORM, 400),
        ("username=carol".encode("utf-16"), f"{FORM}; charset=utf-16", 415),
        ('{"username":"carol"}'.encode("utf-16"), "application/json; charset=utf-16", 415),
        ('{"username":"carol"}'.encode("utf-16"), "application/json", 400),
        (b'{"username":"carol"}', "text/plain", 415),
        (b"<username>carol</username>", "application/xml", 415),
        (b"\x80\x81", "", 415),
        (b"", "", 400),
        (b"username=carol&" + b"&".join(b"f%d=" % n for n in range(200)), FORM, 400),
        (b"username=" + b"a" * 10_000_000, FORM, 413),
        (b'{"password":"' + b"a" * 10_000_000 + b'"}', "application/json", 413),
        (b"x" * 10_000_000, "multipart/form-data; boundary=b", 413),
        (b"--b\r\n\r\n", "multipart/form-data", 400),
    ],
    ids=short,
)
@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_a_body_that_cannot_be_read_is_refused_with_a_sentence(
    anonymous: Browser, body: bytes, kind: str, status: int, accept: str
) -> None:
    answer = raw(anonymous, body, kind, accept)

    text = answer.get_data(as_text=True)
    assert answer.status_code == status
    assert "Traceback" not in text
    assert len(text) < 20_000
    assert answer.is_json or 'role="alert"' in text or "field__error" in text
    assert services_of(anonymous.app).accounts.is_empty


def test_a_refused_form_keeps_the_name_and_shows_the_sentence_beside_its_field(anonymous: Browser) -> None:
    answer = anonymous.submit("/register", username="<b>caröl", password=PASSWORD, confirm=PASSWORD)

    page = answer.get_data(as_text=True)
    assert answer.status_code == 400
    assert 'value="&lt;b&gt;caröl"' in page
    assert 'id="username-error"' in page
    assert "letters (a to z)" in page
    assert PASSWORD not in page


def test_an_expired_form_keeps_the_name_and_says_so(anonymous: Browser) -> None:
    answer = anonymous.client.post(
        "/register",
        data={**START, "csrf_token": "old"},
        headers={"Accept": "text/html"},
        buffered=True,
    )

    page = answer.get_data(as_text=True)
    assert answer.status_code == 403
    assert "This page has expired" in page
    assert "cookies must be allowed" in page
    assert 'value="carol"' in page


def test_who_registers_is_signed_in_and_goes_to_the_start(anonymous: Browser) -> None:
    answer = anonymous.submit("/register", **START)

    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert anonymous.get("/settings").status_code == 200


def test_who_is_signed_in_has_no_use_for_the_form(alice: Browser) -> None:
    answer = alice.get("/register")

    assert (answer.status_code, answer.headers["Location"]) == (302, "/")


def test_fifty_who_register_first_at_once_make_one_root(environment: dict[str, str]) -> None:
    """Through HTTP and the store that is used in earnest."""
    app = create_app(Config.from_env(environment, dotenv=None))
    people = [Browser(app) for _ in range(50)]
    tokens = [person.token() for person in people]

    def register(number: int) -> TestResponse:
        return people[number].client.post(
            "/register",
            json=START | {"username": f"user{number}"},
            headers={"X-CSRFToken": tokens[number], "Accept": "application/json"},
        )

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(register, range(50)))

    roles = [(answer.json or {}).get("role") for answer in answers]
    assert {answer.status_code for answer in answers} == {201}
    assert roles.count("root") == 1
    assert roles.count("user") == 49
    services_of(app).shutdown(grace_s=0)
    reopened = create_app(Config.from_env(environment, dotenv=None))
    stored = services_of(reopened).store.users.all()
    assert sorted(user.role for user in stored) == ["root"] + ["user"] * 49
    services_of(reopened).shutdown(grace_s=0)


def test_one_name_wanted_by_twenty_at_once_is_given_once(app: Flask, alice: Browser) -> None:
    people = [Browser(app) for _ in range(20)]
    names = ["dora", "Dora", "DORA", "dOrA"] * 5
    tokens = [person.token() for person in people]

    def register(number: int) -> int:
        return (
            people[number]
            .client.post(
                "/register",
                json=START | {"username": names[number]},
                headers={"X-CSRFToken": tokens[number], "Accept": "application/json"},
            )
            .status_code
        )

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(register, range(20)))

    assert sorted(answers) == [201] + [409] * 19


# -- the setup code


def code_of(app: Flask) -> str:
    path: Path = services_of(app).config.data_dir / "setup-code"
    return path.read_text(encoding="ascii").strip()


def register_first(app: Flask, setup_code: str | None = None, **headers: str) -> TestResponse:
    """Register the first account as somebody who sends these headers."""
    person = Browser(app)
    answer = person.client.get("/login", headers=headers)
    token = answer.get_data(as_text=True).partition('name="csrf-token" content="')[2].partition('"')[0]
    body = START | ({} if setup_code is None else {"setup_code": setup_code})
    return person.client.post(
        "/register", json=body, headers={"X-CSRFToken": token, "Accept": "application/json", **headers}
    )


@pytest.mark.parametrize("host", ["localhost", "localhost:5000", "127.0.0.1:5000", "[::1]:5000", "127.8.9.1"])
def test_on_this_very_machine_no_code_is_asked_for(app: Flask, host: str) -> None:
    answer = register_first(app, Host=host)

    assert answer.status_code == 201
    assert answer.json is not None
    assert answer.json["role"] == "root"


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "192.168.1.7"},
        {"Host": "10.0.0.1:5000"},
        {"Host": "chat.local"},
        {"Host": "localhost.local"},
        {"Host": "0.0.0.0"},
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Forwarded-For": ""},
        {"X-Forwarded-Host": "localhost"},
        {"X-Forwarded-Proto": "https"},
        {"X-Forwarded-Server": "proxy"},
        {"X-Forwarded-Port": "443"},
        {"X-Forwarded-Prefix": "/chat"},
        {"X-Original-Forwarded-For": "127.0.0.1"},
        {"Forwarded": "for=127.0.0.1"},
        {"X-Real-IP": "127.0.0.1"},
        {"X-Client-IP": "127.0.0.1"},
        {"True-Client-IP": "127.0.0.1"},
        {"CF-Connecting-IP": "127.0.0.1"},
        {"Via": "1.1 proxy"},
    ],
)
def test_whoever_may_come_from_elsewhere_needs_the_code(app: Flask, headers: dict[str, str]) -> None:
    refused = register_first(app, **headers)
    taken = register_first(app, code_of(app), **headers)

    assert refused.status_code == 400
    assert error_of(refused)["field"] == "setup_code"
    assert taken.status_code == 201
    assert taken.json is not None
    assert taken.json["role"] == "root"


@pytest.mark.parametrize(
    "settings", [{"HOST": "0.0.0.0"}, {"HOST": "::"}, {"HOST": "192.168.1.7"}, {"TRUSTED_PROXIES": "1"}]
)
def test_a_server_that_others_reach_asks_everybody_for_the_code(
    open_app: Callable[..., Flask], settings: dict[str, str]
) -> None:
    app = open_app(**settings)

    refused = register_first(app)
    page = Browser(app).get("/register").get_data(as_text=True)
    taken = register_first(app, f" {code_of(app).upper()} ")

    assert refused.status_code == 400
    assert 'name="setup_code"' in page
    assert taken.status_code == 201


@pytest.mark.parametrize(
    "code", ["", " ", "0000-0000-0000-0000", "x" * 10_000, "ключ", "\0", "../setup-code"], ids=short
)
def test_a_wrong_code_makes_no_account(open_app: Callable[..., Flask], code: str) -> None:
    app = open_app(HOST="0.0.0.0")

    answer = register_first(app, code)

    assert answer.status_code == 400
    assert error_of(answer)["field"] == "setup_code"
    assert services_of(app).accounts.is_empty


def test_the_code_is_gone_once_root_exists(open_app: Callable[..., Flask]) -> None:
    app = open_app(HOST="0.0.0.0")
    code = code_of(app)
    register_first(app, code)

    second = Browser(app).send("/register", START | {"username": "dave"})

    assert not (services_of(app).config.data_dir / "setup-code").exists()
    assert second.status_code == 201
    assert second.json is not None
    assert second.json["role"] == "user"


def test_only_its_owner_may_read_the_code(open_app: Callable[..., Flask]) -> None:
    path = services_of(open_app(HOST="0.0.0.0")).config.data_dir / "setup-code"

    assert path.stat().st_mode & 0o777 == 0o600


def test_after_nine_wrong_codes_the_next_has_to_wait(open_app: Callable[..., Flask]) -> None:
    app = open_app(HOST="0.0.0.0", RATELIMIT_ENABLED="true")

    answers = [register_first(app, f"wrong-{number}") for number in range(10)]

    assert [answer.status_code for answer in answers] == [400] * 9 + [429]
    assert int(answers[-1].headers["Retry-After"]) > 0
    assert register_first(app, code_of(app)).status_code == 429


# -- root by configuration


def test_root_of_the_configuration_can_log_in_and_nobody_else_becomes_root(
    open_app: Callable[..., Flask],
) -> None:
    app = open_app(HOST="0.0.0.0", ROOT_USERNAME="boss", ROOT_PASSWORD=PASSWORD)

    logged_in = Browser(app).send("/login", {"username": "boss", "password": PASSWORD})
    second = Browser(app).send("/register", START)

    assert logged_in.json is not None
    assert logged_in.json["role"] == "root"
    assert second.json is not None
    assert second.json["role"] == "user"
    assert not (services_of(app).config.data_dir / "setup-code").exists()


def test_root_of_the_configuration_is_made_once_and_keeps_a_password_changed_since(
    environment: dict[str, str],
) -> None:
    store = MemoryStore()
    given = environment | {"ROOT_USERNAME": "boss", "ROOT_PASSWORD": PASSWORD}
    first = create_app(Config.from_env(given, dotenv=None), store=store)
    services_of(first).accounts.reset_password("boss", "another password")

    again = create_app(Config.from_env(given, dotenv=None), store=store)

    assert len(store.users.all()) == 1
    assert Browser(again).send("/login", {"username": "boss", "password": PASSWORD}).status_code == 401


@pytest.mark.parametrize("password", ["password", "bossboss"])
def test_a_root_password_that_anybody_tries_stops_the_start(
    open_app: Callable[..., Flask], password: str
) -> None:
    with pytest.raises(Invalid):
        open_app(ROOT_USERNAME="bossboss", ROOT_PASSWORD=password)
