"""The whole flow with scripts switched off: forms, redirects, and pages that look again by themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import register
from tests.browser.server import Server
from tests.fakes.ollama import FakeOllama

pytestmark = pytest.mark.browser


@pytest.fixture
def plain(browser: Browser, server: Server) -> Iterator[Page]:
    """Ada, with scripts switched off."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    register(page, server, "ada")
    yield page
    context.close()


def test_ask_read_rename_and_delete(plain: Page, server: Server) -> None:
    plain.goto(f"{server.url}/chat/new")
    plain.fill("#content", "What is the capital of France?")
    plain.get_by_role("button", name="Send").click()
    plain.wait_for_url(re.compile(r"/chat/[0-9a-z]{26}"))
    expect(plain.locator("article.reply")).to_have_attribute("data-status", "complete", timeout=10_000)
    expect(plain.locator("article.reply strong")).to_have_text("capital")
    plain.locator("#chat-menu summary").click()
    plain.fill("#rename", "France")
    plain.get_by_role("button", name="Rename", exact=True).click()
    expect(plain.locator("#title")).to_have_text("France")
    plain.locator("#chat-menu summary").click()
    plain.get_by_role("button", name="Delete this chat").click()
    plain.get_by_role("button", name="Undo").click()
    expect(plain.locator("#title")).to_have_text("France")


def test_a_running_reply_is_shown_as_far_as_it_is_and_can_be_stopped(
    plain: Page, server: Server, fake: FakeOllama
) -> None:
    fake.believable.tokens_per_s = 10
    fake.believable.reply = "word " * 300
    plain.goto(f"{server.url}/chat/new")
    plain.fill("#content", "Go on")
    plain.get_by_role("button", name="Send").click()
    expect(plain.locator("article.reply")).to_contain_text("word word word word", timeout=10_000)
    plain.get_by_role("button", name="Stop").click()
    expect(plain.locator("article.reply")).to_have_attribute("data-status", "stopped", timeout=10_000)
    expect(plain.locator("article.reply")).to_contain_text("word word word word")


def test_a_download_is_started_watched_and_ends(plain: Page, server: Server, fake: FakeOllama) -> None:
    fake.believable.pull_s = 4
    plain.goto(f"{server.url}/dashboard")
    plain.fill("#name", "qwen3:0.6b")
    plain.locator("#download").get_by_role("button").click()
    expect(plain.locator("#models-pulls")).to_contain_text("qwen3:0.6b")
    expect(plain.locator("#models-installed")).to_contain_text("qwen3:0.6b", timeout=15_000)


def test_a_refused_message_keeps_the_text(plain: Page, server: Server, fake: FakeOllama) -> None:
    fake.believable.tokens_per_s = 1
    plain.goto(f"{server.url}/chat/new")
    other = plain.context.new_page()
    plain.fill("#content", "First")
    plain.get_by_role("button", name="Send").click()
    plain.wait_for_url(re.compile(r"/chat/[0-9a-z]{26}"))
    other.goto(f"{server.url}/chat/new")
    other.fill("#content", "x" * 100_001)
    other.get_by_role("button", name="Send").click()
    expect(other.locator("#composer-error")).to_contain_text("100,001 characters")
    expect(other.locator("#content")).to_have_value("x" * 100_001)


def test_the_list_of_chats_opens_on_a_small_screen(browser: Browser, server: Server) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 800})
    page = context.new_page()
    register(page, server, "ada")
    expect(page.get_by_role("link", name="Settings")).to_be_hidden()
    page.get_by_role("button", name="Chats and pages").click()
    page.get_by_role("link", name="Settings").click()
    expect(page.get_by_role("heading", name="Settings")).to_be_visible()
    context.close()
