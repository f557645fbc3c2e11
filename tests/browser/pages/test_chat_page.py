"""The page of a conversation in a real browser: what a person sees while they ask, wait, read and stop."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import ask, register
from tests.browser.pages.conftest import new_name
from tests.browser.server import Server
from tests.fakes import scripts
from tests.fakes.ollama import FakeOllama

pytestmark = pytest.mark.browser

LONG_REPLY = "One more line of the story, with **bold** words.\n\n" * 120


@pytest.fixture
def username() -> str:
    return new_name()


@pytest.fixture
def asked(page: Page, server: Server, username: str) -> Page:
    """Somebody new, in front of an empty chat."""
    register(page, server, username)
    page.goto(f"{server.url}/chat/new")
    return page


def slow(fake: FakeOllama, tokens_per_s: float = 15, reply: str = LONG_REPLY) -> None:
    fake.believable.tokens_per_s = tokens_per_s
    fake.believable.reply = reply


def wait_until(page: Page, condition: str) -> None:
    """Wait until a condition holds in the page. Playwright's own way needs eval, which our policy forbids."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never came true: {condition}")


LEFT_PX = "document.documentElement.scrollHeight - innerHeight - scrollY"


def test_a_new_chat_gets_its_address_title_and_place_in_the_list_without_a_reload(asked: Page) -> None:
    asked.evaluate("window.still_here = true")
    reply = ask(asked, "What is the capital of France?")
    expect(reply).to_have_attribute("data-status", "complete")
    expect(asked).to_have_url(re.compile(r"/chat/[0-9a-z]{26}$"))
    expect(asked.locator("#title")).to_have_text("What is the capital of France?")
    expect(asked.locator("#chats a[aria-current=page]")).to_contain_text("What is the capital of France?")
    assert asked.evaluate("window.still_here") is True


def test_the_finished_reply_is_formatted_and_says_what_it_cost(asked: Page) -> None:
    reply = ask(asked, "Hello")
    expect(reply.locator("strong")).to_have_text("capital")
    expect(reply.locator("li")).to_have_count(2)
    expect(reply.locator("figure.code code")).to_have_text("print('Bonjour')\n")
    expect(reply.locator("[data-slot=stats]")).to_have_text(
        re.compile(r"^\d+ tokens · \d+ tok/s · first token \d\.\d\d s$")
    )
    expect(reply.locator("[data-slot=tail]")).to_be_empty()


def test_live_text_and_the_reloaded_page_are_the_same(asked: Page) -> None:
    reply = ask(asked, "Hello")
    expect(reply).to_have_attribute("data-status", "complete")
    live = reply.locator("[data-slot=blocks]").inner_text()
    asked.reload()
    expect(asked.locator("article.reply [data-slot=blocks]")).to_have_text(live, use_inner_text=True)


def test_a_reload_in_the_middle_goes_on_at_the_exact_place(asked: Page, fake: FakeOllama) -> None:
    words = " ".join(f"word{number}" for number in range(120))
    slow(fake, 40, words)
    reply = ask(asked, "Count")
    expect(reply).to_contain_text("word20")
    asked.reload()
    reply = asked.locator("article.reply")
    expect(reply).to_have_attribute("data-status", "complete")
    expect(reply.locator("[data-slot=blocks]")).to_have_text(words)


def test_a_reload_inside_a_code_block_goes_on_inside_it(asked: Page, fake: FakeOllama) -> None:
    code = "\n".join(f"line{number} = {number}" for number in range(60))
    slow(fake, 60, f"Look:\n\n```python\n{code}\n```\n")
    reply = ask(asked, "Code")
    expect(reply.locator("code")).to_contain_text("line10")
    asked.reload()
    expect(asked.locator("article.reply code")).to_contain_text("line40")
    expect(asked.locator("article.reply [data-slot=tail] p")).to_have_count(0)
    expect(asked.locator("article.reply")).to_have_attribute("data-status", "complete")
    expect(asked.locator("article.reply code")).to_have_text(f"{code}\n")


def test_leaving_the_page_does_not_stop_the_reply(asked: Page, server: Server, fake: FakeOllama) -> None:
    slow(fake, 100, "The end comes later. " * 20)
    ask(asked, "Go on")
    expect(asked).to_have_url(re.compile(r"/chat/[0-9a-z]{26}$"))
    address = asked.url
    asked.goto(f"{server.url}/settings")
    asked.goto(address)
    expect(asked.locator("article.reply")).to_have_attribute("data-status", "complete")
    expect(asked.locator("article.reply")).to_contain_text("The end comes later. The end comes later.")


def test_a_second_tab_shows_the_same_reply_growing(
    asked: Page, context: BrowserContext, fake: FakeOllama
) -> None:
    slow(fake, 30, " ".join(f"word{number}" for number in range(100)))
    ask(asked, "Count")
    expect(asked.locator("article.reply")).to_contain_text("word3")
    other = context.new_page()
    other.goto(asked.url)
    expect(other.locator("article.reply")).to_contain_text("word40")
    expect(asked.locator("article.reply")).to_contain_text("word40")


def test_an_idle_tab_shows_what_was_asked_in_another_one(asked: Page, context: BrowserContext) -> None:
    expect(ask(asked, "First")).to_have_attribute("data-status", "complete")
    other = context.new_page()
    other.goto(asked.url)
    ask(asked, "Second")
    expect(other.locator("article.said")).to_have_count(2)
    expect(other.locator("article.said").last).to_contain_text("Second")
    expect(other.locator("article.reply").last).to_have_attribute("data-status", "complete")


def test_a_question_goes_below_what_another_device_asked_meanwhile(
    asked: Page, browser: Browser, context: BrowserContext
) -> None:
    expect(ask(asked, "First")).to_have_attribute("data-status", "complete")
    with browser.new_context(storage_state=context.storage_state()) as device:
        elsewhere = device.new_page()
        elsewhere.goto(asked.url)
        expect(ask(elsewhere, "Second")).to_have_attribute("data-status", "complete")
    expect(ask(asked, "Third")).to_have_attribute("data-status", "complete")
    asked.reload()
    expect(asked.locator("article.said")).to_have_count(3)


def test_stop_keeps_the_text_and_says_so(asked: Page, fake: FakeOllama) -> None:
    slow(fake)
    reply = ask(asked, "A story")
    expect(reply).to_contain_text("One more line")
    asked.get_by_role("button", name="Stop").click()
    expect(reply).to_have_attribute("data-status", "stopped")
    expect(reply.locator("[data-slot=end]")).to_have_text("Stopped. What was written until then is kept.")
    expect(reply).to_contain_text("One more line")
    expect(asked.get_by_role("button", name="Send")).to_be_visible()


def test_escape_stops_the_reply(asked: Page, fake: FakeOllama) -> None:
    slow(fake)
    reply = ask(asked, "A story")
    expect(reply).to_contain_text("One more line")
    asked.keyboard.press("Escape")
    expect(reply).to_have_attribute("data-status", "stopped")


def test_waiting_has_a_name_and_a_clock(asked: Page, fake: FakeOllama) -> None:
    fake.believable.first_token_s = 30
    reply = ask(asked, "Hello")
    expect(reply.locator("[data-slot=phase]")).to_have_text(re.compile(r"^(Waiting|Loading .*) · \d+ s$"))


def test_thinking_is_folded_and_timed(asked: Page, server: Server, fake: FakeOllama) -> None:
    fake.believable.add("thinker:1b")
    fake.believable.models["thinker:1b"]["capabilities"] = ["completion", "thinking"]
    asked.goto(f"{server.url}/chat/new?model=thinker:1b")
    reply = ask(asked, "Why?")
    expect(reply).to_have_attribute("data-status", "complete")
    expect(reply.locator("summary").first).to_have_text(re.compile(r"^Thought for \d+\.\d s$"))
    expect(reply.locator("[data-slot=thoughts]")).to_be_hidden()
    reply.locator("summary").first.click()
    expect(reply.locator("[data-slot=thoughts]")).to_have_text("The question is about France.")


def test_a_failure_stands_in_place_of_the_reply_with_a_way_to_try_again(
    asked: Page, fake: FakeOllama
) -> None:
    fake.next("/api/chat", scripts.error(500, "llama runner process has terminated"))
    reply = ask(asked, "Hello")
    expect(reply).to_have_attribute("data-status", "failed")
    expect(reply.locator("[data-slot=sentence]")).not_to_be_empty()
    reply.get_by_role("button", name="Try again").click()
    expect(asked.locator("article.reply")).to_have_attribute("data-status", "complete")
    expect(asked.locator("article.said")).to_have_count(1)
    expect(asked.locator("article.reply .versions")).to_have_text(re.compile(r"2 / 2"))


def test_versions_of_a_reply_can_be_switched(asked: Page, fake: FakeOllama) -> None:
    fake.believable.reply = "First answer."
    reply = ask(asked, "Hello")
    expect(reply).to_have_attribute("data-status", "complete")
    fake.believable.reply = "Second answer."
    reply.get_by_role("button", name="Try again").click()
    expect(asked.locator("article.reply")).to_contain_text("Second answer.")
    asked.get_by_role("link", name="Version 1").click()
    expect(asked.locator("article.reply")).to_contain_text("First answer.")
    expect(asked.locator("article.reply")).not_to_contain_text("Second answer.")


def test_what_could_not_be_sent_is_given_back_and_sent_once_more_only_once(
    asked: Page, context: BrowserContext
) -> None:
    context.set_offline(True)
    asked.fill("#content", "Do not lose this")
    asked.keyboard.press("Enter")
    expect(asked.locator("#composer-error")).to_contain_text("The server cannot be reached")
    expect(asked.locator("#content")).to_have_value("Do not lose this")
    expect(asked.locator("article.said")).to_have_count(0)
    context.set_offline(False)
    asked.locator("#content").press("Enter")
    expect(asked.locator("article.reply")).to_have_attribute("data-status", "complete")
    asked.reload()
    expect(asked.locator("article.said")).to_have_count(1)
    expect(asked.locator("#content")).to_have_value("")


def test_a_message_stored_although_its_answer_was_lost_is_not_stored_twice(asked: Page) -> None:
    expect(ask(asked, "First")).to_have_attribute("data-status", "complete")
    asked.route("**/message", lambda route: (route.fetch(), route.abort()), times=1)
    ask(asked, "Second")
    expect(asked.locator("#content")).to_have_value("Second")
    asked.locator("#content").press("Enter")
    expect(asked.locator("article.said")).to_have_count(2)
    expect(asked.locator("article.reply").last).to_have_attribute("data-status", "complete")
    asked.reload()
    expect(asked.locator(".said__text")).to_have_text(["First", "Second"])


def test_a_chat_that_is_answered_elsewhere_keeps_the_text_and_shows_that_reply(
    asked: Page, context: BrowserContext, fake: FakeOllama
) -> None:
    expect(ask(asked, "First")).to_have_attribute("data-status", "complete")
    other = context.new_page()
    other.goto(asked.url)
    slow(fake, 10)
    ask(asked, "Second")
    expect(asked.locator("article.reply").last).to_contain_text("One more")
    other.fill("#content", "Third")
    other.locator("#content").press("Enter")
    expect(other.locator("#composer-error")).to_be_visible()
    expect(other.locator("#content")).to_have_value("Third")
    expect(other.locator("article.said").last).to_contain_text("Second")
    expect(other.get_by_role("button", name="Stop")).to_be_visible()


def test_a_lost_sign_in_keeps_the_text_and_shows_the_way_back(
    asked: Page, context: BrowserContext, username: str
) -> None:
    expect(ask(asked, "First")).to_have_attribute("data-status", "complete")
    context.clear_cookies()
    ask(asked, "Not lost")
    expect(asked.locator("#composer-error")).to_contain_text("You are logged out")
    expect(asked.locator("#content")).to_have_value("Not lost")
    asked.get_by_role("link", name="Log in again").click()
    asked.fill("[name=username]", username)
    asked.fill("[name=password]", "correct horse battery")
    asked.locator("main form button").click()
    expect(asked.locator("#content")).to_have_value("Not lost")


def test_a_draft_survives_a_reload_and_belongs_to_its_chat(asked: Page, server: Server) -> None:
    expect(ask(asked, "First")).to_have_attribute("data-status", "complete")
    asked.fill("#content", "half a thought")
    asked.reload()
    expect(asked.locator("#content")).to_have_value("half a thought")
    asked.goto(f"{server.url}/chat/new")
    expect(asked.locator("#content")).to_have_value("")


def test_logging_out_takes_the_drafts_along(asked: Page) -> None:
    asked.fill("#content", "private")
    asked.reload()
    expect(asked.locator("#content")).to_have_value("private")
    asked.get_by_role("button", name="Log out").click()
    asked.wait_for_url("**/login*")
    assert asked.evaluate("Object.keys(localStorage)") == []


def test_shift_enter_breaks_the_line_and_blank_text_is_not_sent(asked: Page) -> None:
    asked.locator("#content").press("Enter")
    asked.fill("#content", "   ")
    asked.locator("#content").press("Enter")
    asked.fill("#content", "one")
    asked.locator("#content").press("Shift+Enter")
    expect(asked.locator("#content")).to_have_value("one\n")
    expect(asked.locator("article.said")).to_have_count(0)


def test_enter_that_ends_a_composition_does_not_send(asked: Page) -> None:
    asked.fill("#content", "にほん")
    asked.evaluate(
        """() => {
          const area = document.querySelector("#content");
          const enter = (more) => area.dispatchEvent(
            new KeyboardEvent("keydown", {key: "Enter", bubbles: true, cancelable: true, ...more}));
          enter({isComposing: true});
          enter({keyCode: 229});
          area.dispatchEvent(new CompositionEvent("compositionend"));
          enter({});
        }"""
    )
    expect(asked.locator("#content")).to_have_value("にほん")
    expect(asked.locator("article.said")).to_have_count(0)


def test_the_page_follows_at_the_end_and_lets_go_of_a_reader_who_scrolls_up(
    asked: Page, fake: FakeOllama
) -> None:
    slow(fake, 200)
    reply = ask(asked, "A long story")
    expect(reply.locator(".block").nth(40)).to_be_attached()
    wait_until(asked, f"{LEFT_PX} < 5")
    asked.mouse.move(640, 300)
    asked.mouse.wheel(0, -400)
    wait_until(asked, f"{LEFT_PX} > 200")
    stays_at = asked.evaluate("scrollY")
    expect(reply).to_have_attribute("data-status", "complete")
    assert asked.evaluate("scrollY") == stays_at
    asked.get_by_role("button", name="New text below").click()
    wait_until(asked, f"{LEFT_PX} < 5")
    expect(asked.locator("#latest")).to_be_hidden()


def test_the_question_stands_near_the_top_and_nothing_moves_at_the_end(asked: Page, fake: FakeOllama) -> None:
    expect(ask(asked, "First\n" * 30)).to_have_attribute("data-status", "complete")
    slow(fake, 20, "A short answer in one paragraph.")
    ask(asked, "Second")
    said = asked.locator("article.said").last
    expect(asked.locator("article.reply").last).to_contain_text("A short")
    before = said.bounding_box()
    assert before is not None
    assert before["y"] < 200
    expect(asked.locator("article.reply").last).to_have_attribute("data-status", "complete")
    assert said.bounding_box() == before


def test_finished_sentences_are_announced_whole(asked: Page, fake: FakeOllama) -> None:
    slow(fake, 30, "The first sentence is here. The second one follows it. And a third ends.")
    asked.evaluate(
        """() => {
          window.heard = [];
          new MutationObserver((changes) => changes.forEach((change) =>
            change.addedNodes.forEach((node) => window.heard.push(node.textContent))
          )).observe(document.querySelector("#announcer"), {childList: true});
        }"""
    )
    expect(ask(asked, "Speak")).to_have_attribute("data-status", "complete")
    wait_until(asked, "window.heard.includes('Answer complete.')")
    heard = asked.evaluate(
        "window.heard.filter((text) => text.includes('sentence') || text.includes('third'))"
    )
    assert " ".join(heard) == fake.believable.reply
    assert all(text.endswith(".") for text in heard)


def test_code_can_be_copied_on_plain_http(asked: Page) -> None:
    reply = ask(asked, "Code, please")
    expect(reply).to_have_attribute("data-status", "complete")
    asked.evaluate("Object.defineProperty(window, 'isSecureContext', {value: false})")
    reply.get_by_role("button", name="Copy this code").click()
    expect(reply.get_by_role("button", name="Copy this code")).to_have_text("Copied")
    asked.locator("#content").press("Control+v")
    expect(asked.locator("#content")).to_have_value("print('Bonjour')")


def test_the_copy_of_a_reply_is_its_source(asked: Page, fake: FakeOllama) -> None:
    reply = ask(asked, "Hello")
    expect(reply).to_have_attribute("data-status", "complete")
    reply.locator("[data-act=copy]").click()
    expect(reply.locator("[data-act=copy]")).to_have_text("Copied")
    asked.locator("#content").press("Control+v")
    expect(asked.locator("#content")).to_have_value(fake.believable.reply)


def test_markup_in_messages_shows_as_text(asked: Page, fake: FakeOllama) -> None:
    evil = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    fake.believable.reply = f"Look: {evil}"
    reply = ask(asked, evil)
    expect(reply).to_have_attribute("data-status", "complete")
    expect(asked.locator("article.said .said__text")).to_have_text(evil)
    expect(reply.locator("[data-slot=blocks]")).to_have_text(f"Look: {evil}")
    assert asked.locator("#thread img, #thread script").count() == 0
    expect(asked.locator("#title")).to_contain_text("<img")


def test_a_server_that_ends_leaves_an_honest_reply(asked: Page, server: Server, fake: FakeOllama) -> None:
    slow(fake, 15)
    reply = ask(asked, "A story")
    expect(reply).to_contain_text("One more line")
    server.stop()
    server.start()
    expect(reply).to_have_attribute("data-status", "interrupted")
    expect(reply).to_contain_text("One more line")
    expect(asked.locator("#connection")).to_be_hidden()
    expect(asked.get_by_role("button", name="Send")).to_be_visible()


def test_rename_and_delete_with_undo(asked: Page) -> None:
    expect(ask(asked, "Hello")).to_have_attribute("data-status", "complete")
    asked.locator("#chat-menu summary").click()
    asked.fill("#rename", "Greetings")
    asked.get_by_role("button", name="Rename", exact=True).click()
    expect(asked.locator("#title")).to_have_text("Greetings")
    asked.locator("#chat-menu summary").click()
    asked.get_by_role("button", name="Delete this chat").click()
    expect(asked.locator("#chats a")).to_have_count(0)
    asked.get_by_role("button", name="Undo").click()
    expect(asked.locator("#title")).to_have_text("Greetings")


def test_the_list_of_chats_can_be_filtered(asked: Page, server: Server) -> None:
    for question in ("Apples and pears", "Boats"):
        asked.goto(f"{server.url}/chat/new")
        expect(ask(asked, question)).to_have_attribute("data-status", "complete")
    asked.fill("#chat-filter", "apple")
    expect(asked.locator("#chats a:visible")).to_have_text([re.compile("Apples and pears")])
    asked.fill("#chat-filter", "zebra")
    expect(asked.locator("#no-match")).to_be_visible()


def test_the_page_asks_for_little(asked: Page) -> None:
    expect(ask(asked, "Hello")).to_have_attribute("data-status", "complete")
    asked.evaluate("performance.clearResourceTimings()")
    asked.reload()
    asked.wait_for_load_state("load")
    names = asked.evaluate("performance.getEntriesByType('resource').map((entry) => entry.name)")
    sizes = asked.evaluate(
        """async () => {
          const scripts = performance.getEntriesByType("resource").filter((entry) => entry.name.endsWith(".js"));
          return Promise.all(scripts.map(async (entry) => (await (await fetch(entry.name)).text()).length));
        }"""
    )
    assert len(set(names)) + 1 <= 10, names
    assert sum(sizes) <= 60_000
