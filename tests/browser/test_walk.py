"""The whole product as one walk: a bare folder, a real model, a real browser, a restart, a second person."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import register
from tests.browser.server import Server

pytestmark = pytest.mark.browser

MODEL = "smollm2:135m"
PULL_MS = 180_000
REPLY_MS = 60_000


@pytest.fixture
def bare_server(tmp_path: Path) -> Iterator[Server]:
    """A server on an empty folder with nothing but the embedded engine."""
    server = Server(tmp_path / "data", ENGINE="always")
    server.start()
    yield server
    server.kill()


@pytest.mark.timeout(400)
def test_from_an_empty_folder_to_every_chat_found_again(
    bare_server: Server, page: Page, browser: Browser
) -> None:
    server = bare_server
    register(page, server, "ada")
    users = json.loads((server.data_dir / "users.json").read_text())["users"]
    journal = "".join(path.read_text() for path in (server.data_dir / "journal").glob("*.jsonl"))
    assert '"role":"root"' in json.dumps(users, separators=(",", ":")) + journal.replace(" ", "")

    _download_the_model(page, server)
    chat_url = _ask_and_read(page, server)
    stopped_url = _ask_and_stop(page, server)

    assert server.stop() == 0
    saved = json.loads((server.data_dir / "chats.json").read_text())
    assert len(saved["chats"]) == 2
    server.start()

    page.goto(chat_url)
    expect(page.locator("article.said")).to_contain_text("capital of France")
    expect(page.locator("article.reply")).to_have_attribute("data-status", "complete")
    page.goto(stopped_url)
    expect(page.locator("article.reply")).to_have_attribute("data-status", "stopped")
    expect(page.locator("#chats a")).to_have_count(2)

    _second_person_sees_none_of_it(browser, server, chat_url)


# Keeps everything the bar ever said, since a quick line shows each number for moments only.
_WATCH_BAR = """() => {
    window.amounts = [];
    const note = () => {
        const amount = document.querySelector("[data-pull] [data-slot=amount]");
        if (amount && window.amounts.at(-1) !== amount.textContent) window.amounts.push(amount.textContent);
    };
    new MutationObserver(note).observe(document.body, {subtree: true, childList: true, characterData: true});
}"""


def _download_the_model(page: Page, server: Server) -> None:
    """Press Download, see real bytes come in, see the model installed."""
    page.goto(f"{server.url}/dashboard")
    page.evaluate(_WATCH_BAR)
    page.locator("#models-library li", has_text=MODEL).get_by_role("button", name="Download").click()
    expect(page.locator("#models-installed")).to_contain_text(MODEL, timeout=PULL_MS)
    expect(page.locator("#models-library")).not_to_contain_text(MODEL)
    seen = [re.fullmatch(r"([\d.]+) (kB|MB) of 9\d MB", amount) for amount in page.evaluate("window.amounts")]
    megabytes = [float(m[1]) / (1000 if m[2] == "kB" else 1) for m in seen if m]
    assert len(set(megabytes)) >= 2, page.evaluate("window.amounts")
    assert megabytes == sorted(megabytes)


def _ask_and_read(page: Page, server: Server) -> str:
    page.goto(f"{server.url}/chat/new")
    page.fill("#content", "What is the capital of France? Answer in one sentence.")
    page.keyboard.press("Enter")
    reply = page.locator("article.reply")
    expect(reply).to_have_attribute("data-status", "complete", timeout=REPLY_MS)
    expect(reply.locator("[data-slot=blocks] p").first).to_be_visible()
    expect(reply.locator("[data-slot=stats]")).to_have_text(
        re.compile(r"\d+ tokens? · .* tok/s · first token")
    )
    assert "/chat/new" not in page.url
    return page.url


def _ask_and_stop(page: Page, server: Server) -> str:
    page.goto(f"{server.url}/chat/new")
    page.fill("#content", "Write a very long story about a sailor and the sea, with many chapters.")
    page.keyboard.press("Enter")
    reply = page.locator("article.reply")
    expect(reply.locator(".prose").last).to_have_text(re.compile(r"\w+ \w+"), timeout=REPLY_MS)
    page.get_by_role("button", name="Stop").click()
    expect(reply).to_have_attribute("data-status", "stopped", timeout=REPLY_MS)
    return page.url


def _second_person_sees_none_of_it(browser: Browser, server: Server, chat_url: str) -> None:
    page = browser.new_context().new_page()
    register(page, server, "bert")
    expect(page.locator("#chats a")).to_have_count(0)
    answer = page.goto(chat_url)
    assert answer is not None
    assert answer.status == 404
    assert "France" not in page.content()
