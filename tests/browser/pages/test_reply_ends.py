"""What a person reads when an answer ends before its first word."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import register
from tests.browser.pages.conftest import new_name
from tests.browser.server import Server
from tests.fakes import scripts
from tests.fakes.ollama import FakeOllama

pytestmark = pytest.mark.browser


@pytest.fixture
def own_server(tmp_path_factory: pytest.TempPathFactory, fake: FakeOllama) -> Iterator[Server]:
    """A server that a test may stop."""
    server = Server(tmp_path_factory.mktemp("own") / "data", OLLAMA_URL=fake.url, ENGINE="never")
    server.start()
    yield server
    server.kill()


def ask(page: Page, server: Server, fake: FakeOllama) -> None:
    """Ask something of a model that stays silent."""
    fake.next("/api/chat", scripts.silence())
    register(page, server, new_name())
    page.goto(f"{server.url}/chat/new")
    page.fill("#content", "Is anybody there?")
    page.keyboard.press("Enter")
    expect(page.locator("article.reply[aria-busy=true]")).to_have_count(1)


def test_a_reply_stopped_before_its_first_word_promises_no_text(
    page: Page, server: Server, fake: FakeOllama
) -> None:
    ask(page, server, fake)
    page.get_by_role("button", name="Stop").click()
    end = page.locator("article.reply [data-slot=end]")
    expect(end).to_have_text("Stopped before a word was written.")
    page.reload()
    expect(end).to_have_text("Stopped before a word was written.")


def test_a_server_that_stops_before_the_first_word_promises_no_text(
    page: Page, own_server: Server, fake: FakeOllama
) -> None:
    ask(page, own_server, fake)
    own_server.stop()
    end = page.locator("article.reply [data-slot=end]")
    expect(end).to_have_text("The server stopped before a word was written.")
    own_server.start()
    page.reload()
    expect(end).to_have_text("The server stopped before a word was written.")
