"""What a person sees when things go wrong: Ollama away, slow, dying, talking nonsense; tabs, reloads, log-outs."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from chatapp.ids import new_id
from tests.browser.conftest import ask, register
from tests.browser.server import Server, free_port
from tests.cast import PASSWORD
from tests.fakes import scripts
from tests.fakes.believable import BelievableOllama
from tests.fakes.ollama import FakeOllama
from tests.fakes.wire import Wire

pytestmark = pytest.mark.browser

MODEL = "smollm2:135m"
CHAT_ADDRESS = re.compile(r"/chat/[0-9a-z]{26}$")


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeOllama]:
    with FakeOllama() as ollama:
        yield ollama


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, fake: FakeOllama) -> Iterator[Server]:
    """One server for all; a reply that falls silent is given up after a second."""
    server = Server(
        tmp_path_factory.mktemp("faults") / "data",
        OLLAMA_URL=fake.url,
        OLLAMA_STALL_TIMEOUT_S="1",
        ENGINE="never",
        RATELIMIT_ENABLED="false",
    )
    server.start()
    yield server
    server.kill()


@pytest.fixture(autouse=True)
def fresh_ollama(fake: FakeOllama) -> None:
    """Let every test begin with an Ollama that nothing was said to."""
    fake.believable = BelievableOllama()
    fake.calls.clear()
    for path in ("/api/chat", "/api/pull", "/api/tags", "/api/ps", "/api/version"):
        fake.always(path, None)


@pytest.fixture
def asked(page: Page, server: Server) -> Page:
    """Somebody new, in front of an empty chat."""
    register(page, server, f"ada.{new_id()}")
    page.goto(f"{server.url}/chat/new?model={MODEL}")
    return page


def in_steps(*steps: tuple[threading.Event | None, object]) -> scripts.Script:
    """Send lines, each after its event where it has one, then end properly."""

    def script(wire: Wire) -> None:
        wire.begin()
        for event, line in steps:
            if event is not None:
                wire.wait_for(event)
            wire.line(line)
        wire.end()

    return script


def expect_failed(reply: Locator, sentence: str | re.Pattern[str], kept: str = "") -> None:
    """The sentence stands in place of the reply, what was written is kept, and one can try again."""
    expect(reply).to_have_attribute("data-status", "failed")
    expect(reply.locator("[data-slot=sentence]")).to_contain_text(sentence)
    expect(reply.get_by_role("button", name="Try again").first).to_be_visible()
    expect(reply.locator("[data-slot=blocks]")).to_have_text(kept)


# -- Ollama away or slow


def test_with_ollama_down_the_question_stays_and_the_way_out_is_named(
    browser: Browser, page: Page, tmp_path_factory: pytest.TempPathFactory
) -> None:
    port = free_port()
    server = Server(
        tmp_path_factory.mktemp("down") / "data", OLLAMA_URL=f"http://127.0.0.1:{port}", ENGINE="never"
    )
    server.start()
    try:
        register(page, server, "ada")
        page.goto(f"{server.url}/dashboard")
        expect(page.locator("#models-state")).to_contain_text("Ollama is not connected")
        page.goto(f"{server.url}/chat/new?model={MODEL}")
        reply = ask(page, "Is anybody there?")
        expect_failed(reply, "Start Ollama, or set OLLAMA_URL")
        page.reload()
        expect(page.locator("article.said")).to_contain_text("Is anybody there?")
        expect_failed(page.locator("article.reply"), "Start Ollama, or set OLLAMA_URL")
        with FakeOllama(port=port):
            page.locator("article.reply").get_by_role("button", name="Try again").first.click()
            expect(page.locator("article.reply")).to_have_attribute("data-status", "complete")
        expect(page.locator("article.said")).to_have_count(1)
    finally:
        server.kill()


def test_a_slow_first_word_is_waited_for_with_the_phases_named(asked: Page, fake: FakeOllama) -> None:
    go_on = threading.Event()
    fake.next("/api/chat", scripts.after(go_on, scripts.lines(scripts.piece("Here."), scripts.done())))
    reply = ask(asked)
    expect(reply.locator("[data-slot=phase]")).to_have_text(re.compile(rf"^Loading {MODEL}( · \d+ s)?$"))
    asked.reload()
    reply = asked.locator("article.reply")
    expect(reply.locator("[data-slot=phase]")).to_have_text(re.compile(r"^(Waiting|Loading .*)( · \d+ s)?$"))
    go_on.set()
    expect(reply).to_have_attribute("data-status", "complete")
    expect(reply.locator("[data-slot=blocks]")).to_have_text("Here.")
    expect(reply.locator("[data-slot=phase]")).to_be_empty()


# -- Ollama dying or talking nonsense

HALF = scripts.piece("Half a sentence")


@pytest.mark.parametrize(
    ("script", "sentence", "kept"),
    [
        (scripts.lines(HALF, ending="reset"), "closed the connection", "Half a sentence"),
        (scripts.lines(HALF, ending="fin"), re.compile("ended early|closed the connection"), "Half a sentence"),
        (scripts.lines(HALF), "The reply ended early", "Half a sentence"),
        (scripts.lines(HALF, ending="stall"), "nothing came for 1 seconds", "Half a sentence"),
        (scripts.lines(HALF, {"error": "unexpected EOF"}), "The model stopped working", "Half a sentence"),
        (scripts.lines(HALF, {"error": "<img src=x>"}), "Ollama could not do this", "Half a sentence"),
        (scripts.send(json.dumps(HALF).encode() + b"\n<html>\n"), "Unexpected answer", "Half a sentence"),
        (scripts.html(502), "Unexpected answer", ""),
        (scripts.error(404, f"model '{MODEL}' not found"), f"{MODEL} is not on this server", ""),
        (scripts.busy(), "too many requests waiting", ""),
    ],
    ids=["reset", "fin", "no end", "stall", "error", "error with markup", "garbage", "502", "no model", "busy"],
)  # fmt: skip
def test_a_reply_that_breaks_off_says_why_and_keeps_what_there_was(
    asked: Page, fake: FakeOllama, script: scripts.Script, sentence: str | re.Pattern[str], kept: str
) -> None:
    fake.next("/api/chat", script)
    expect_failed(ask(asked, "A question"), sentence, kept)
    asked.reload()
    expect_failed(asked.locator("article.reply"), sentence, kept)
    expect(asked.locator("article.said")).to_contain_text("A question")
    expect(asked.locator("article.reply img")).to_have_count(0)
    expect(asked.get_by_role("button", name="Send")).to_be_visible()


def test_every_character_arrives_whole_however_the_bytes_are_cut(asked: Page, fake: FakeOllama) -> None:
    text = "Zażółć gęślą jaźń 👩‍👩‍👧‍👦 𝒳 a\u2028b e\u0301 ﷽ end"
    body = "".join(
        json.dumps(line, ensure_ascii=False) + "\n"
        for line in (*[scripts.piece(character) for character in text], scripts.done())
    ).encode()
    fake.next("/api/chat", scripts.send(*[body[i : i + 1] for i in range(len(body))]))
    reply = ask(asked)
    expect(reply).to_have_attribute("data-status", "complete")
    assert reply.locator("[data-slot=blocks] p").evaluate("p => p.textContent") == text
    asked.reload()
    assert asked.locator("article.reply [data-slot=blocks] p").evaluate("p => p.textContent") == text


def test_an_answer_without_words_is_complete_and_no_error(asked: Page, fake: FakeOllama) -> None:
    fake.next("/api/chat", scripts.lines(scripts.done()))
    reply = ask(asked)
    expect(reply).to_have_attribute("data-status", "complete")
    expect(reply.locator("[data-slot=error]")).to_be_hidden()


def test_an_answer_of_thoughts_only_shows_the_thoughts(asked: Page, fake: FakeOllama) -> None:
    fake.next("/api/chat", scripts.lines(scripts.piece(thinking="Only a thought."), scripts.done()))
    reply = ask(asked)
    expect(reply).to_have_attribute("data-status", "complete")
    reply.locator("details.thinking summary").click()
    expect(reply.locator("[data-slot=thoughts]")).to_have_text("Only a thought.")
    asked.reload()
    expect(asked.locator("article.reply details.thinking")).to_be_visible()


# -- reloads, tabs, two at once


def test_a_reload_in_mid_stream_goes_on_at_the_exact_place(asked: Page, fake: FakeOllama) -> None:
    go_on = threading.Event()
    words = [f"word{number} " for number in range(40)]
    first = [(None, scripts.piece(word)) for word in words[:20]]
    rest = [(go_on, scripts.piece(word)) for word in words[20:]]
    fake.next("/api/chat", in_steps(*first, *rest, (None, scripts.done())))
    expect(ask(asked)).to_contain_text("word19")
    asked.reload()
    reply = asked.locator("article.reply")
    expect(reply).to_contain_text("word19")
    go_on.set()
    expect(reply).to_have_attribute("data-status", "complete")
    expect(reply.locator("[data-slot=blocks]")).to_have_text("".join(words).strip())
    assert len(fake.calls_to("/api/chat")) == 1


def test_a_lost_connection_is_taken_up_again_without_a_gap_or_a_double(
    asked: Page, context: BrowserContext, fake: FakeOllama
) -> None:
    go_on = threading.Event()
    fake.next(
        "/api/chat",
        in_steps((None, scripts.piece("before ")), (go_on, scripts.piece("after")), (None, scripts.done())),
    )
    asked.route("**/events*", lambda route: route.abort(), times=1)
    reply = ask(asked)
    expect(asked.locator("#connection")).to_contain_text("Trying again")
    go_on.set()
    reply = asked.locator("article.reply")
    expect(reply).to_have_attribute("data-status", "complete")
    expect(reply.locator("[data-slot=blocks]")).to_have_text("before after")
    expect(asked.locator("#connection")).to_be_hidden()
    assert len(fake.calls_to("/api/chat")) == 1


def test_two_tabs_show_the_same_and_the_second_question_is_refused_with_its_text_kept(
    asked: Page, context: BrowserContext, fake: FakeOllama
) -> None:
    expect(ask(asked, "First")).to_have_attribute("data-status", "complete")
    other = context.new_page()
    other.goto(asked.url)
    go_on = threading.Event()
    fake.next(
        "/api/chat",
        in_steps((None, scripts.piece("One ")), (go_on, scripts.piece("two.")), (None, scripts.done())),
    )
    expect(ask(asked, "Second")).to_contain_text("One")
    other.fill("#content", "Third, not to be lost")
    other.keyboard.press("Enter")
    expect(other.locator("#composer-error")).to_contain_text("still being answered")
    expect(other.locator("#content")).to_have_value("Third, not to be lost")
    go_on.set()
    for tab in (asked, other):
        expect(tab.locator("article.reply").last).to_have_attribute("data-status", "complete")
        expect(tab.locator("article.reply [data-slot=blocks]").last).to_have_text("One two.")
        expect(tab.locator(".said__text")).to_have_text(["First", "Second"])
    other.locator("#content").press("Enter")
    expect(other.locator(".said__text")).to_have_text(["First", "Second", "Third, not to be lost"])


def test_the_same_question_sent_twice_in_a_hurry_is_stored_once(asked: Page, fake: FakeOllama) -> None:
    asked.fill("#content", "Once")
    asked.evaluate(
        "() => { const form = document.querySelector('#composer'); form.requestSubmit(); form.requestSubmit(); }"
    )
    expect(asked.locator("article.reply")).to_have_attribute("data-status", "complete")
    asked.reload()
    expect(asked.locator("article.said")).to_have_count(1)
    assert len(fake.calls_to("/api/chat")) == 1


def test_back_and_forward_ask_nothing_again(asked: Page, server: Server, fake: FakeOllama) -> None:
    expect(ask(asked)).to_have_attribute("data-status", "complete")
    asked.goto(f"{server.url}/settings")
    asked.go_back()
    expect(asked.locator("article.reply")).to_have_attribute("data-status", "complete")
    asked.go_forward()
    asked.go_back()
    expect(asked.locator("article.said")).to_have_count(1)
    assert len(fake.calls_to("/api/chat")) == 1


# -- ending things while they run


def test_stop_before_the_first_word_ends_it_at_ollama(asked: Page, fake: FakeOllama) -> None:
    fake.next("/api/chat", scripts.silence())
    reply = ask(asked)
    call = fake.wait_for_call("/api/chat")
    asked.get_by_role("button", name="Stop").click()
    expect(reply).to_have_attribute("data-status", "stopped")
    expect(reply.locator("[data-slot=end]")).to_contain_text("Stopped")
    assert call.client_left.wait(1)


def test_a_chat_deleted_while_it_is_answered_ends_the_reply_and_can_come_back(
    asked: Page, context: BrowserContext, fake: FakeOllama
) -> None:
    fake.next("/api/chat", in_steps((None, scripts.piece("Begun")), (threading.Event(), scripts.done())))
    reply = ask(asked)
    expect(reply).to_contain_text("Begun")
    call = fake.wait_for_call("/api/chat")
    other = context.new_page()
    other.goto(asked.url)
    other.locator("#chat-menu summary").click()
    other.get_by_role("button", name="Delete this chat").click()
    expect(reply).to_have_attribute("data-status", "stopped")
    assert call.client_left.wait(1)
    other.get_by_role("button", name="Undo").click()
    expect(other.locator("article.reply")).to_have_attribute("data-status", "stopped")
    expect(other.locator("article.reply")).to_contain_text("Begun")


def test_a_log_out_elsewhere_closes_the_stream_and_names_the_way_back(
    asked: Page, context: BrowserContext, fake: FakeOllama
) -> None:
    fake.believable.tokens_per_s = 20
    fake.believable.reply = "word " * 400
    expect(ask(asked)).to_contain_text("word word")
    other = context.new_page()
    other.goto(asked.url)
    other.get_by_role("button", name="Log out").click()
    expect(asked.locator("#connection")).to_contain_text("logged out", timeout=10_000)
    expect(asked.get_by_role("link", name="Log in again")).to_be_visible()
    expect(asked.locator("article.reply")).to_contain_text("word word")


# -- downloads


@pytest.fixture(scope="module", autouse=True)
def root(server: Server, browser: Browser) -> None:
    """Whoever registers first is root."""
    context = browser.new_context()
    register(context.new_page(), server, "root.user")
    context.close()


@pytest.fixture
def models(page: Page, server: Server) -> Page:
    """Root, in front of the models."""
    page.goto(f"{server.url}/login?next=/dashboard")
    page.fill("[name=username]", "root.user")
    page.fill("[name=password]", PASSWORD)
    page.locator("main form button:not([type=button])").click()
    page.wait_for_url("**/dashboard")
    return page


def download(page: Page, name: str) -> Locator:
    page.fill("#name", name)
    page.get_by_role("button", name="Download", exact=True).first.click()
    return page.locator(f"[data-pull='{name}']")


def layer(completed: object, total: object, digest: str = "a") -> dict[str, object]:
    return {
        "status": "pulling " + digest * 12,
        "digest": "sha256:" + digest * 64,
        "total": total,
        "completed": completed,
    }


# Keeps everything the bar ever said: its number of percent, or "bad" for what no bar can show.
WATCH_BAR = """() => {
    window.percents = [];
    const note = () => {
        const row = document.querySelector("[data-pull]");
        const text = row?.querySelector("[data-slot=percent]")?.textContent.trim();
        if (text && window.percents.at(-1) !== text) window.percents.push(text);
        const value = Number(row?.querySelector("progress")?.getAttribute("value") ?? 0);
        if (!(value >= 0 && value <= 100)) window.percents.push("bad");
    };
    const everything = {subtree: true, childList: true, characterData: true, attributes: true};
    new MutationObserver(note).observe(document.body, everything);
}"""


def test_odd_numbers_of_a_download_never_make_the_bar_run_backwards(models: Page, fake: FakeOllama) -> None:
    steps = [
        layer(10, 100), layer(60, 100), layer(20, 100), layer(None, None), layer(300, 100), layer(100, 100),
        layer(1, 1000, "b"), layer(500, 1000, "b"), layer(-5, 1000, "b"), layer(1000, 1000, "b"),
    ]  # fmt: skip

    def oddly(wire: Wire) -> None:
        wire.begin()
        for step in steps:
            wire.line(step)
            wire.pause(0.3)
        fake.believable.add("odd:1b")
        wire.line({"status": "success"})
        wire.end()

    fake.next("/api/pull", oddly)
    models.evaluate(WATCH_BAR)
    download(models, "odd:1b")
    expect(models.locator("#models-installed")).to_contain_text("odd:1b")
    numbers = [int(percent.removesuffix(" %")) for percent in models.evaluate("window.percents")]
    assert len(numbers) >= 3
    assert numbers == sorted(numbers)
    assert 0 <= numbers[0] <= numbers[-1] <= 100


def test_a_download_is_seen_by_two_survives_leaving_and_is_asked_for_once(
    models: Page, browser: Browser, server: Server, fake: FakeOllama
) -> None:
    go_on = threading.Event()
    name = "shared:1b"
    fake.next("/api/pull", in_steps((None, layer(40, 100)), (go_on, {"status": "success"})))
    expect(download(models, name).locator("[data-slot=percent]")).to_have_text("40 %")
    other = browser.new_context().new_page()
    register(other, server, f"bert.{new_id()}")
    other.goto(f"{server.url}/dashboard")
    expect(other.locator(f"[data-pull='{name}'] [data-slot=percent]")).to_have_text("40 %")
    models.goto(f"{server.url}/settings")
    models.goto(f"{server.url}/dashboard")
    models.reload()
    expect(models.locator(f"[data-pull='{name}'] [data-slot=percent]")).to_have_text("40 %")
    fake.believable.add(name)
    go_on.set()
    for viewer in (models, other):
        expect(viewer.locator("#models-installed")).to_contain_text(name)
        expect(viewer.locator(f"[data-pull='{name}']")).to_have_count(0)
    viewer.wait_for_timeout(4_000)  # longer than an EventSource waits before it connects again
    assert len(fake.calls_to("/api/pull")) == 1
    other.context.close()


def test_a_full_disk_is_named_and_trying_again_works(models: Page, fake: FakeOllama) -> None:
    fake.next("/api/pull", scripts.lines(layer(5, 100), {"error": "write x: no space left on device"}))
    row = download(models, "full:1b")
    expect(row.locator("[data-slot=error]")).to_contain_text("not enough disk space for full:1b")
    row.get_by_role("button", name="Try again").click()
    expect(models.locator("#models-installed")).to_contain_text("full:1b")
    expect(row).to_have_count(0)
