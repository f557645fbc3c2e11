"""A real Chromium and a real server."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.browser.server import Server
from tests.cast import PASSWORD
from tests.fakes.ollama import FakeOllama

_PROGRAMS = ("google-chrome", "chromium", "chromium-browser")
_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_WAIT_MS = 15_000
expect.set_options(timeout=_WAIT_MS)


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    """Use the system's Chromium; a machine without one fails here, in words."""
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _PROGRAMS)), None)
    assert program, "no Chromium found: install the package chromium, or set CHROMIUM to its path"
    return {"executable_path": program, "args": _FLAGS}


@pytest.fixture
def context(context: BrowserContext) -> BrowserContext:
    context.set_default_timeout(_WAIT_MS)
    return context


@pytest.fixture(autouse=True)
def no_script_errors(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail every test whose pages logged an error or broke the content policy."""
    if "page" not in request.fixturenames:
        yield
        return
    page: Page = request.getfixturevalue("page")
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if _is_problem(message) else None)
    yield
    assert problems == []


def _is_problem(message: Any) -> bool:
    """A refused request (409, 503 …) is logged by the browser itself; our own pages must not add to that."""
    return message.type == "error" and not message.text.startswith("Failed to load resource")


@pytest.fixture
def fake() -> Iterator[FakeOllama]:
    """A scriptable Ollama for what needs exact timing."""
    ollama = FakeOllama()
    yield ollama
    ollama.close()


@pytest.fixture
def server(tmp_path: Path, fake: FakeOllama) -> Iterator[Server]:
    """A server in front of the scriptable Ollama."""
    server = Server(tmp_path / "data", OLLAMA_URL=fake.url, ENGINE="never", RATELIMIT_ENABLED="false")
    server.start()
    yield server
    server.kill()


def register(page: Page, server: Server, username: str, password: str = PASSWORD) -> None:
    """Make an account through the page."""
    page.goto(f"{server.url}/register")
    page.fill("[name=username]", username)
    page.fill("[name=password]", password)
    page.fill("[name=confirm]", password)
    page.click("main form button:not([type=button])")
    page.wait_for_url(lambda url: "/register" not in url)


def ask(page: Page, text: str = "Hello") -> Locator:
    """Send a message and return its reply, which need not be there yet."""
    earlier = page.locator("article.reply").count()
    page.fill("#content", text)
    page.keyboard.press("Enter")
    return page.locator("article.reply").nth(earlier)
