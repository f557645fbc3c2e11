"""Every page in both themes and at two widths: nothing for axe to find, nothing wider than the screen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import register
from tests.browser.pages.conftest import new_name
from tests.browser.server import Server
from tests.fakes import scripts
from tests.fakes.ollama import FakeOllama

pytestmark = pytest.mark.browser

Scheme = Literal["light", "dark"]

RICH = (
    "Some *words*, `code` and a [link](https://example.org).\n\n# A heading\n\n1. one\n2. two\n   - three\n\n"
    "| a | b |\n|---|--:|\n| 1 | 2 |\n\n> quoted\n\n- [x] done\n\n```python\nfor n in range(3):\n    print(n)\n```\n\n"
    "$$\\frac{a}{b}$$\n\n" + "w" * 300 + "\n"
)


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> Scheme:
    return "dark" if request.param == "dark" else "light"


@pytest.fixture(params=[1280, 390])
def screen(request: pytest.FixtureRequest, browser: Browser, scheme: Scheme) -> Iterator[BrowserContext]:
    """A browser with this theme and width."""
    context = browser.new_context(
        viewport={"width": request.param, "height": 800}, color_scheme=scheme, has_touch=request.param < 500
    )
    yield context
    context.close()


def assert_sound(page: Page) -> None:
    """Fail with what axe found, and for a page that scrolls sideways."""
    found = Axe().run(page).response["violations"]
    assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"


def test_log_in_and_register(screen: BrowserContext, server: Server, root: str) -> None:
    page = screen.new_page()
    for path in ("/register", "/login"):
        page.goto(server.url + path)
        assert_sound(page)
    page.fill("[name=username]", root)
    page.fill("[name=password]", "wrong password")
    page.locator("main form button").click()
    expect(page.get_by_role("alert")).to_be_visible()
    assert_sound(page)


@pytest.fixture(scope="module")
def root(browser: Browser, server: Server) -> str:
    """The name of the first account."""
    name = new_name()
    register(browser.new_context().new_page(), server, name)
    return name


def log_in(page: Page, server: Server, name: str) -> None:
    page.goto(f"{server.url}/login")
    page.fill("[name=username]", name)
    page.fill("[name=password]", "correct horse battery")
    page.locator("main form button").click()
    page.wait_for_url(lambda url: "/login" not in url)


def test_models_settings_people_and_errors(
    screen: BrowserContext, server: Server, fake: FakeOllama, root: str
) -> None:
    page = screen.new_page()
    log_in(page, server, root)
    fake.believable.pull_s = 60
    fake.believable.add("some.host/organisation/a-very-long-model-name-that-goes-on-and-on-instruct:q4_k_m")
    page.goto(f"{server.url}/dashboard")
    page.fill("#name", "qwen3:0.6b")
    page.locator("#download").get_by_role("button").click()
    expect(page.locator("[data-pull]")).to_be_visible()
    page.locator("#models-installed summary").first.click()
    assert_sound(page)
    for path in ("/settings", "/admin/users", "/chat/none"):
        page.goto(server.url + path)
        assert_sound(page)


def test_a_conversation(screen: BrowserContext, server: Server, fake: FakeOllama, root: str) -> None:
    page = screen.new_page()
    register(page, server, new_name())
    page.goto(f"{server.url}/chat/new")
    assert_sound(page)
    fake.believable.reply = RICH
    page.fill("#content", "W" * 400)
    page.get_by_role("button", name="Send").click()
    expect(page.locator("article.reply")).to_have_attribute("data-status", "complete")
    assert_sound(page)
    fake.next("/api/chat", scripts.error(500, "llama runner process has terminated"))
    page.fill("#content", "Again")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("article.reply").last).to_have_attribute("data-status", "failed")
    page.locator("#chat-menu summary").click()
    assert_sound(page)


def test_a_conversation_while_it_is_answered(
    screen: BrowserContext, server: Server, fake: FakeOllama
) -> None:
    page = screen.new_page()
    register(page, server, new_name())
    fake.believable.tokens_per_s = 10
    fake.believable.reply = "word " * 500
    page.goto(f"{server.url}/chat/new")
    page.fill("#content", "Go on")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("article.reply")).to_contain_text("word word")
    assert_sound(page)


def test_the_chosen_theme_wins_over_the_system(
    screen: BrowserContext, server: Server, scheme: Scheme
) -> None:
    page = screen.new_page()
    register(page, server, new_name())
    page.goto(f"{server.url}/settings")
    other = "dark" if scheme == "light" else "light"
    page.get_by_label(other.capitalize(), exact=True).check()
    page.get_by_role("button", name="Save").click()
    expect(page.locator("html")).to_have_css("color-scheme", other)
    assert_sound(page)


def test_all_is_reached_by_keyboard(browser: Browser, server: Server, root: str) -> None:
    page = browser.new_context().new_page()
    log_in(page, server, root)
    page.goto(f"{server.url}/dashboard")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator("#name")).to_be_focused()
