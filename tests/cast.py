"""The people of the tests: Alice is root, Bob an ordinary user, Charlie a stranger to both of them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from chatapp.ids import new_id, now_utc
from chatapp.models import User
from chatapp.routes.access import SESSION_KEY
from chatapp.services import passwords
from chatapp.services.bundle import Services

PASSWORD = "correct horse battery"


def password_hash() -> str:
    """Return a real hash of PASSWORD, made once: hashing is slow on purpose."""
    return _password_hash(passwords.METHOD)


@lru_cache
def _password_hash(_method: str) -> str:
    return passwords.hash_password(PASSWORD)


def short(value: object) -> str:
    """Return a name for a parametrised case that stays readable when the value is huge."""
    return ascii(value)[:40]


def services_of(app: Flask) -> Services:
    services: Services = app.extensions["chatapp"]
    return services


def add_user(app: Flask, username: str) -> User:
    """Store an account; the first one becomes root."""
    user = User(id=new_id(), username=username, password_hash=password_hash(), created_at=now_utc())
    return services_of(app).store.users.add(user)


class Browser:
    """A browser without scripts: keeps cookies, sends the token that its page holds."""

    def __init__(self, app: Flask, user: User | None = None) -> None:
        self.app = app
        self.user = user
        self.client = app.test_client()
        if user is not None:
            _, session_id = services_of(app).accounts.open_session(user, "test browser")
            with self.client.session_transaction() as session:
                session[SESSION_KEY] = session_id

    def token(self) -> str:
        """Return the CSRF token of a page that anybody in this browser's place sees."""
        page = self.client.get("/no-such-page" if self.user else "/login").get_data(as_text=True)
        found = re.search(r'<meta name="csrf-token" content="([^"]+)"', page)
        assert found is not None, "every page carries the token"
        return found[1]

    def get(self, path: str, **more: Any) -> TestResponse:
        """Get a page; the answer is read whole and closed, as a server does."""
        return self.client.get(path, **{"buffered": True, **more})

    def another_tab(self) -> Browser:
        """Return a client with the same cookie, for use in another thread."""
        tab = Browser(self.app)
        tab.user = self.user
        with self.client.session_transaction() as mine, tab.client.session_transaction() as other:
            other.update(mine)
        return tab

    def submit(self, path: str, **fields: str) -> TestResponse:
        """Send a form as a browser does."""
        form = {"csrf_token": self.token(), **fields}
        return self.client.post(path, data=form, headers={"Accept": "text/html"}, buffered=True)

    def send(self, path: str, body: Any = None, *, method: str = "POST", **headers: str) -> TestResponse:
        """Send JSON as the page's own script does."""
        return self.client.open(
            path,
            method=method,
            json=body if body is not None else {},
            buffered=True,
            headers={"Accept": "application/json", "X-CSRFToken": self.token(), **headers},
        )
