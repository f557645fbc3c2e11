"""The models page in a real browser: downloads that move, that everybody sees, and that can be ended."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import register
from tests.browser.server import Server
from tests.fakes import scripts
from tests.fakes.ollama import FakeOllama

pytestmark = pytest.mark.browser


@pytest.fixture
def models(page: Page, server: Server) -> Page:
    """Root, in front of the models."""
    register(page, server, "ada")
    page.goto(f"{server.url}/dashboard")
    return page


def download(page: Page, name: str) -> Locator:
    """Ask for a model by its name and return its row among the downloads."""
    page.fill("#name", name)
    page.get_by_role("button", name="Download", exact=True).first.click()
    return page.locator(f"[data-pull='{name}']")


def test_a_download_shows_bytes_and_percent_and_ends_among_the_installed(
    models: Page, fake: FakeOllama
) -> None:
    fake.believable.pull_s = 3
    row = download(models, "qwen3:0.6b")
    expect(row.locator("[data-slot=amount]")).to_have_text(re.compile(r"^\d+ (bytes|kB|MB) of 98 MB$"))
    expect(row.locator("[data-slot=percent]")).to_have_text(re.compile(r"^[3-9]\d %$"))
    expect(models).to_have_title(re.compile(r"^\d+ % · Models"))
    expect(models.locator("#models-installed")).to_contain_text("qwen3:0.6b")
    expect(models.locator("#toasts")).to_contain_text("qwen3:0.6b is ready.")
    expect(models.locator("#models-library")).not_to_contain_text("qwen3:0.6b")
    expect(models).to_have_title("Models · chatapp")


def test_a_download_goes_on_without_the_page(models: Page, server: Server, fake: FakeOllama) -> None:
    fake.believable.pull_s = 2
    expect(download(models, "qwen3:0.6b")).to_be_visible()
    models.goto(f"{server.url}/settings")
    models.goto(f"{server.url}/dashboard")
    expect(models.locator("#models-installed")).to_contain_text("qwen3:0.6b")


def test_others_see_the_download_and_who_started_it(
    models: Page, browser: Browser, server: Server, fake: FakeOllama
) -> None:
    fake.believable.pull_s = 30
    other = browser.new_context().new_page()
    register(other, server, "bert")
    other.goto(f"{server.url}/dashboard")
    download(models, "qwen3:0.6b")
    row = other.locator("[data-pull='qwen3:0.6b']")
    expect(row).to_contain_text("started by ada", timeout=10_000)
    expect(row.locator("[data-slot=percent]")).to_have_text(re.compile(r"^[1-9]\d? %$"), timeout=10_000)
    expect(other.get_by_role("button", name=re.compile("Cancel|Download|Delete"))).to_have_count(0)


def test_a_download_can_be_cancelled(models: Page, fake: FakeOllama) -> None:
    fake.believable.pull_s = 30
    row = download(models, "qwen3:0.6b")
    row.get_by_role("button", name="Cancel").click()
    expect(row).to_have_count(0)
    expect(models.locator("#models-installed")).not_to_contain_text("qwen3:0.6b")


def test_a_name_that_is_none_is_refused_beside_the_field_and_kept(models: Page) -> None:
    download(models, "http://evil.example/model")
    expect(models.locator("#download-error")).not_to_be_empty()
    expect(models.locator("#name")).to_have_value("http://evil.example/model")


def test_a_download_that_fails_says_why_and_can_be_tried_again(models: Page) -> None:
    row = download(models, "nope:1b")
    expect(row.locator("[data-slot=error]")).not_to_be_empty()
    expect(row.get_by_role("button", name="Try again")).to_be_visible()


def test_deleting_names_the_space_that_becomes_free(models: Page) -> None:
    row = models.get_by_role("row", name=re.compile("llama3.2:1b"))
    row.locator("summary").click()
    expect(row.locator(".menu__panel")).to_contain_text("This frees 98 MB.")
    row.get_by_role("button", name="Delete and free 98 MB").click()
    expect(models.locator("#models-installed")).not_to_contain_text("llama3.2:1b")
    expect(models.locator(".flashes")).to_contain_text("Deleted llama3.2:1b.")


def test_escape_closes_the_question_whether_to_delete(models: Page) -> None:
    menu = models.locator("details.menu").first
    menu.locator("summary").click()
    models.keyboard.press("Escape")
    expect(menu.locator(".menu__panel")).to_be_hidden()
    expect(menu.locator("summary")).to_be_focused()


def test_an_open_question_is_not_taken_away_by_news(models: Page, fake: FakeOllama) -> None:
    menu = models.locator("details.menu").first
    menu.locator("summary").click()
    fake.believable.add("appeared:1b")
    models.wait_for_timeout(6_000)
    expect(menu.locator(".menu__panel")).to_be_visible()
    models.keyboard.press("Escape")
    models.locator("h1").click()
    expect(models.locator("#models-installed")).to_contain_text("appeared:1b", timeout=10_000)


def test_chat_begins_with_the_chosen_model(models: Page) -> None:
    models.get_by_role("link", name="Chat with llama3.2:1b").click()
    expect(models.locator("#model")).to_have_value("llama3.2:1b")


def test_without_ollama_the_page_opens_and_says_what_to_do(
    models: Page, server: Server, fake: FakeOllama
) -> None:
    fake.always("/api/tags", scripts.hang_up())
    fake.always("/api/version", scripts.hang_up())
    models.reload()
    expect(models.locator("#models-problem [role=alert]")).to_be_visible()
    expect(models.locator("#models-state")).to_contain_text("not connected")
    fake.always("/api/tags", None)
    fake.always("/api/version", None)
    expect(models.locator("#models-installed")).to_contain_text("smollm2:135m", timeout=10_000)
    expect(models.locator("#models-problem [role=alert]")).to_have_count(0)
