"""What the first look at a chat costs somebody whose browser has never been here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import register
from tests.browser.pages.conftest import new_name
from tests.browser.server import Server

pytestmark = pytest.mark.browser

QUESTIONS = ("What is the capital of France?", "Say it in Python.", "And once more, please.")


@dataclass
class Traffic:
    """What went over the wire, headers included, by request."""

    addresses: dict[str, str] = field(default_factory=dict)
    finished_bytes: dict[str, int] = field(default_factory=dict)

    def began(self, event: dict[str, Any]) -> None:
        self.addresses[event["requestId"]] = event["request"]["url"]

    def finished(self, event: dict[str, Any]) -> None:
        self.finished_bytes[event["requestId"]] = int(event["encodedDataLength"])


@pytest.fixture
def chat_url(page: Page, server: Server) -> str:
    """The address of a chat of three questions, whose answers hold code."""
    register(page, server, new_name())
    page.goto(f"{server.url}/chat/new")
    for number, question in enumerate(QUESTIONS, start=1):
        page.fill("#content", question)
        page.keyboard.press("Enter")
        expect(page.locator("article.reply[data-status=complete]")).to_have_count(number)
    return page.url


@pytest.fixture
def newcomer(page: Page, chat_url: str, browser: Browser) -> Iterator[Page]:
    """The same person in a browser with an empty cache."""
    with browser.new_context(storage_state=page.context.storage_state()) as context:
        yield context.new_page()


def test_the_first_view_of_a_chat_takes_under_60_kb_and_at_most_ten_requests(
    newcomer: Page, chat_url: str
) -> None:
    traffic = Traffic()
    wire = newcomer.context.new_cdp_session(newcomer)
    wire.on("Network.requestWillBeSent", traffic.began)
    wire.on("Network.loadingFinished", traffic.finished)
    wire.send("Network.enable")

    newcomer.goto(chat_url, wait_until="networkidle")

    expect(newcomer.locator("article.reply pre")).to_have_count(len(QUESTIONS))
    assert sorted(traffic.finished_bytes) == sorted(traffic.addresses)
    assert {address.rpartition(".")[2] for address in traffic.addresses.values()} >= {"css", "js"}
    assert sum(traffic.finished_bytes.values()) < 60_000
    assert len(traffic.addresses) <= 10
