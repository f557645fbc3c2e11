"""Settings: one's own only, section by section, refused with the sentence beside its field."""

from __future__ import annotations

from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.cast import PASSWORD, Browser, services_of, short

pytestmark = pytest.mark.usefixtures("quick_hashes")


def error_of(answer: TestResponse) -> dict[str, Any]:
    assert answer.json is not None
    return dict(answer.json["error"])


def user_of(person: Browser) -> Any:
    assert person.user is not None
    return services_of(person.app).store.users.get(person.user.id)


@pytest.mark.parametrize("theme", ["auto", "light", "dark"])
def test_the_appearance_is_kept_and_used_on_the_next_page(alice: Browser, theme: str) -> None:
    answer = alice.submit("/settings", section="appearance", theme=theme)

    assert (answer.status_code, answer.headers["Location"]) == (303, "/settings#appearance")
    assert f'data-theme="{theme}"' in alice.get("/settings").get_data(as_text=True)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"section": "nothing"}, "section"),
        ({"section": "__init__"}, "section"),
        ({"section": ["appearance"]}, "section"),
        ({"section": None}, "section"),
        ({"theme": "pink"}, "theme"),
        ({"theme": "<script>"}, "theme"),
        ({"theme": 5}, "theme"),
        ({"default_model": "http://evil.example/x"}, "model"),
        ({"default_model": "../../x"}, "model"),
        ({"default_model": "x" * 5000}, "model"),
        ({"default_model": {"$ne": 1}}, "default_model"),
    ],
    ids=short,
)
def test_what_is_no_setting_is_refused_and_nothing_changes(
    alice: Browser, body: dict[str, Any], field: str
) -> None:
    before = user_of(alice)

    answer = alice.send("/settings", body)

    assert answer.status_code == 400
    assert error_of(answer)["field"] == field
    assert user_of(alice) == before


def test_a_refused_model_is_told_on_the_page(alice: Browser) -> None:
    page = alice.submit("/settings", section="appearance", default_model="http://evil.example/x")

    assert page.status_code == 400
    assert "A model name looks like name:tag" in page.get_data(as_text=True)


def test_a_model_that_is_not_there_any_more_stays_chosen_and_visible(alice: Browser) -> None:
    alice.send("/settings", {"default_model": "gone:1b"})

    assert "gone:1b" in alice.get("/settings").get_data(as_text=True)
    assert alice.get("/chat/new").status_code == 200


def test_nobody_gives_themselves_rights(bob: Browser) -> None:
    bob.submit("/settings", section="appearance", theme="dark", role="root", may_manage_models="1", id="x")

    assert user_of(bob).role == "user"
    assert not user_of(bob).manages_models


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"current": "wrong password"}, "current"),
        ({"current": ""}, "current"),
        ({"current": PASSWORD + "\0"}, "current"),
        ({"current": "x" * 100_000}, "current"),
        ({"password": "short"}, "password"),
        ({"password": "x" * 1025}, "password"),
        ({"password": "password"}, "password"),
        ({"password": ""}, "password"),
        ({"confirm": "something else"}, "confirm"),
        ({"password": None}, "password"),
        ({"current": ["x"]}, "current"),
    ],
    ids=short,
)
def test_a_password_is_changed_only_with_the_right_one_and_to_a_good_one(
    alice: Browser, changes: dict[str, Any], field: str
) -> None:
    before = user_of(alice)
    body = {"section": "password", "current": PASSWORD, "password": "another long password", **changes}

    answer = alice.send("/settings", body)

    assert answer.status_code == 400
    assert error_of(answer)["field"] == field
    assert user_of(alice) == before


def test_a_refused_password_is_shown_beside_its_field_and_never_sent_back(alice: Browser) -> None:
    page = alice.submit(
        "/settings",
        section="password",
        current="my secret guess",
        password="another long password",
        confirm="",
    ).get_data(as_text=True)

    assert "my secret guess" not in page
    assert "another long password" not in page
    assert "The two passwords are not the same." in page


def test_guessing_the_current_password_is_stopped(open_app: Any) -> None:
    app = open_app(RATELIMIT_ENABLED="true")
    user = services_of(app).accounts.register("alice", PASSWORD, setup_code=None, local=True)
    alice = Browser(app, user)
    body = {"section": "password", "current": "wrong password", "password": "another long password"}

    answers = [alice.send("/settings", body).status_code for _ in range(21)]

    assert answers == [400] * 20 + [429]


# -- sessions


def test_one_session_can_be_ended_from_another(alice: Browser) -> None:
    other = Browser(alice.app, alice.user)
    listed = [session.secret_sha256 for session in user_of(alice).sessions]

    alice.send("/settings/sessions/end", {"session": listed[1]})

    assert other.get("/dashboard").status_code == 303
    assert alice.get("/dashboard").status_code == 200


@pytest.mark.parametrize("session", ["", "x", "0" * 64, "../x", "\0"], ids=short)
def test_ending_a_session_that_is_not_there_changes_nothing(alice: Browser, session: str) -> None:
    answer = alice.send("/settings/sessions/end", {"session": session})

    assert answer.status_code == 200
    assert alice.get("/dashboard").status_code == 200


def test_nobody_ends_the_session_of_another(alice: Browser, bob: Browser) -> None:
    bob.send("/settings/sessions/end", {"session": user_of(alice).sessions[0].secret_sha256})

    assert alice.get("/dashboard").status_code == 200


def test_a_strange_browser_is_listed_as_text(alice: Browser) -> None:
    other = Browser(alice.app)
    other.send(
        "/login",
        {"username": "alice", "password": PASSWORD},
        **{"User-Agent": "<script>alert(1)</script>\x1b[31m" + "x" * 9000},
    )

    page = alice.get("/settings").get_data(as_text=True)

    assert "<script>alert" not in page
    assert len(page) < 60_000
    assert other.get("/dashboard").status_code in (200, 303)


def test_somebody_who_logs_in_on_many_devices_loses_the_oldest(alice: Browser) -> None:
    for _ in range(25):
        Browser(alice.app, alice.user)

    assert len(user_of(alice).sessions) == 20
