"""Messages: every text arrives as it was typed, what cannot be read is refused, and nothing is half made."""

from __future__ import annotations

import html
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.cast import Browser, add_user, services_of, short
from tests.fakes import scripts
from tests.fakes.ollama import FakeOllama
from tests.routes.test_replies import ask, new_chat, stored

LONGEST = 100_000

TEXTS = [
    "a\u2028b\u2029c", "\ufeffBOM first", "مرحبا بالعالم", "\u202eoverride\u202c",
    "Z̷̡̛a̸l̵g̶o̴ " + "e" + "\u0301" * 50, "🦙", "👩‍👩‍👧‍👦 🏳️‍🌈", "\u00e9 e\u0301", "  kept  spaces  ",
    "tab\tand\nline", "\x01\x1b[31mred\x7f", "&lt;b&gt; &amp;amp;", "{{7*7}} {% raw %}", "${7*7}",
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "[x](javascript:alert(1))", "</textarea><b>",
    "'\"><svg/onload=alert(1)>", "x" * LONGEST, "é" * LONGEST, "🦙" * LONGEST, "a b\n" * 25_000,
]  # fmt: skip
SLOW_FOR_CARELESS_RENDERERS = [
    "*",
    "|",
    "`",
    "[",
    "![",
    ">",
    "_",
    "~",
    "$",
    "\\",
    "<",
    "&",
    "-\n",
    "a\n-",
    "1. ",
    "[](",
    "<a ",
]
NOT_JSON = [
    b"", b"[]", b'"x"', b"null", b"42", b"{", b'{"content":"x",}', b'{"content":"x"} {}', b'{"content":"x"}//c',
    b'\xef\xbb\xbf{"content":"x"}', b"[" * 100_000, b'{"a":' * 100_000, b'{"a":' * 40 + b"1" + b"}" * 40,
    b'{"content":"x","a":NaN}', b'{"content":"x","a":-Infinity}', b'{"content":"x","a":1e999}',
    b'{"content":"x","a":' + b"9" * 5000 + b"}", b'{"content":"\xff"}', b'{"content":"\\ud800"}',
    b'{"content":"x","a":"\\udc00\\ud800"}', b'{"\\ud800":1,"content":"x"}', b'{"content":"x","content":"y"}',
    b'{"content":"x","a":{"b":1,"b":2}}', b'{"content":"x\ny"}', b"{'content':'x'}", b'{"content":yes}',
    b"\x1f\x8b\x08\x00",
]  # fmt: skip


def post(
    person: Browser, chat_id: str, body: bytes, kind: str = "application/json", **headers: str
) -> TestResponse:
    return person.client.post(
        f"/chat/{chat_id}/message",
        data=body,
        content_type=kind,
        headers={"Accept": "application/json", "X-CSRFToken": person.token(), **headers},
        buffered=True,
    )


def kept_in_the_form(page: str) -> str:
    """Return what a browser shows in the page's text field; it takes the first end of a line away."""
    shown = page.partition("<textarea")[2].partition(">")[2].partition("</textarea>")[0]
    return html.unescape(shown).removeprefix("\n")


def error_of(answer: TestResponse) -> dict[str, Any]:
    assert answer.json is not None
    return dict(answer.json["error"])


# -- texts


@pytest.mark.parametrize("text", TEXTS, ids=short)
def test_a_text_is_stored_sent_and_shown_as_it_was_typed(
    alice: Browser, ollama: FakeOllama, text: str
) -> None:
    ollama.believable.reply = "Good."
    chat_id = new_chat(alice)

    ask(alice, chat_id, text)

    page = alice.get(f"/chat/{chat_id}").get_data(as_text=True)
    shown = page.partition('data-slot="text">')[2].partition("</div>")[0]
    assert stored(alice, chat_id)[0]["content"] == text
    assert ollama.calls_to("/api/chat")[-1].json["messages"][-1]["content"] == text
    assert html.unescape(shown) == text
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "<svg/onload" not in page


@pytest.mark.parametrize("text", SLOW_FOR_CARELESS_RENDERERS, ids=short)
def test_a_text_that_makes_renderers_slow_is_answered_and_shown(
    alice: Browser, ollama: FakeOllama, text: str
) -> None:
    """As a question and as an answer; the test's own time limit is what a renderer that hangs would break."""
    ollama.believable.reply = text * (50_000 // len(text))
    ollama.believable.tokens_per_s = 1_000_000
    chat_id = new_chat(alice)

    answer = ask(alice, chat_id, text * (50_000 // len(text)))

    assert answer["reply"]["status"] == "complete"
    assert answer["reply"]["content"] == ollama.believable.reply
    assert alice.get(f"/chat/{chat_id}").status_code == 200


def test_a_form_sends_the_ends_of_lines_that_a_browser_shows(alice: Browser) -> None:
    """HTML forms turn every end of a line into CR LF; the same text through a script has LF."""
    chat_id = new_chat(alice)

    alice.submit(f"/chat/{chat_id}/message", content="one\r\ntwo\r\n\r\nthree")

    assert stored(alice, chat_id)[0]["content"] == "one\ntwo\n\nthree"


def test_the_ends_of_lines_of_a_form_do_not_count_twice(alice: Browser) -> None:
    chat_id = new_chat(alice)

    answer = alice.submit(f"/chat/{chat_id}/message", content="\r\n" + "x" * (LONGEST - 1))

    assert answer.status_code == 303


@pytest.mark.parametrize("content", ["", "   ", "\n\t\u2003", "\u00a0", "\0", "a\0b"], ids=short)
def test_a_blank_or_broken_text_is_refused_with_its_field(alice: Browser, content: str) -> None:
    chat_id = new_chat(alice)

    answer = alice.send(f"/chat/{chat_id}/message", {"content": content})

    assert answer.status_code == 400
    assert error_of(answer)["field"] == "content"
    assert stored(alice, chat_id) == []


def test_one_character_too_many_is_refused_by_its_number_and_kept(alice: Browser) -> None:
    chat_id = new_chat(alice)
    text = "é" * (LONGEST + 1)

    answer = alice.submit(f"/chat/{chat_id}/message", content=text)

    page = answer.get_data(as_text=True)
    assert answer.status_code == 413
    assert "100,001 characters; the most is 100,000" in page
    assert kept_in_the_form(page) == text


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"model": "http://evil.example/x"}, 400),
        ({"parent_id": "0" * 26}, 404),
        ({"message_id": "!"}, 400),
    ],
)
def test_a_refused_form_keeps_its_text(alice: Browser, fields: dict[str, str], status: int) -> None:
    text = "Not to be lost </textarea><b> ü 🦙\n  second line"
    in_chat = alice.submit(f"/chat/{new_chat(alice)}/message", content=text, **fields)
    in_new = alice.submit("/chat", content=text, model="http://evil.example/x")

    for answer, expected in ((in_chat, status), (in_new, 400)):
        page = answer.get_data(as_text=True)
        assert answer.status_code == expected
        assert kept_in_the_form(page) == text
        assert "</textarea><b>" not in page


def test_an_expired_form_keeps_its_text(alice: Browser) -> None:
    chat_id = new_chat(alice)

    answer = alice.client.post(
        f"/chat/{chat_id}/message", data={"content": "Not to be lost"}, headers={"Accept": "text/html"}
    )

    page = answer.get_data(as_text=True)
    assert answer.status_code == 403
    assert "This page has expired" in page
    assert kept_in_the_form(page) == "Not to be lost"
    assert stored(alice, chat_id) == []


def test_a_form_sent_after_the_session_ended_gives_its_text_back(alice: Browser) -> None:
    chat_id = new_chat(alice)
    token = alice.token()
    alice.another_tab().send("/logout")

    answer = alice.client.post(
        f"/chat/{chat_id}/message",
        data={"content": "Not to be <lost>", "csrf_token": token},
        headers={"Accept": "text/html"},
    )

    page = answer.get_data(as_text=True)
    assert answer.status_code == 401
    assert "/login" in page
    assert kept_in_the_form(page) == "Not to be <lost>"


def test_a_chat_that_is_gone_gives_the_text_back(alice: Browser) -> None:
    chat_id = new_chat(alice)
    alice.send(f"/chat/{chat_id}/delete")

    answer = alice.submit(f"/chat/{chat_id}/message", content="Not to be lost")

    assert answer.status_code == 404
    assert kept_in_the_form(answer.get_data(as_text=True)) == "Not to be lost"


# -- bodies


@pytest.mark.parametrize("body", NOT_JSON, ids=short)
def test_what_two_readers_could_understand_differently_is_refused(alice: Browser, body: bytes) -> None:
    chat_id = new_chat(alice)

    answer = post(alice, chat_id, body)

    assert answer.status_code == 400
    assert error_of(answer)["message"].endswith(".")
    assert stored(alice, chat_id) == []


@pytest.mark.parametrize(
    ("body", "kind", "headers", "status"),
    [
        (b'{"content":"x"}', "application/json", {"Content-Encoding": "gzip"}, 415),
        (b"content=x", "application/x-www-form-urlencoded", {"Content-Encoding": "deflate"}, 415),
        (b'{"content":"x"}', "application/json; charset=latin-1", {}, 415),
        ('{"content":"x"}'.encode("utf-16"), "application/json", {}, 400),
        (b'{"content":"x"}', "text/plain", {}, 415),
        (b'{"content":"x"}', "application/octet-stream", {}, 415),
        (b'{"content":"x"}', "application/json-patch+json", {}, 415),
        (b"content=x", "text/html", {}, 415),
        (b"content=\xff", "application/x-www-form-urlencoded", {}, 400),
        (b"content=a&content=b", "application/x-www-form-urlencoded", {}, 400),
        (b"x" * 10_000_000, "application/json", {}, 413),
        (b"content=" + b"x" * 10_000_000, "application/x-www-form-urlencoded", {}, 413),
    ],
    ids=short,
)
def test_a_body_of_another_kind_is_refused(
    alice: Browser, body: bytes, kind: str, headers: dict[str, str], status: int
) -> None:
    chat_id = new_chat(alice)

    answer = post(alice, chat_id, body, kind, **headers)

    assert answer.status_code == status
    assert stored(alice, chat_id) == []


def test_names_that_mean_something_elsewhere_are_plain_data(alice: Browser) -> None:
    chat_id = new_chat(alice)
    more = {"__proto__": {"role": "root"}, "constructor": 1, "__class__": "x", "self": 1, "": 2}

    answer = ask(alice, chat_id, "x", **more)

    assert set(answer["question"]) <= {
        "id", "parent_id", "role", "content", "thinking", "model", "status", "attachments", "options", "created_at",
    }  # fmt: skip


def test_a_hundred_thousand_unknown_fields_change_nothing(alice: Browser) -> None:
    chat_id = new_chat(alice)
    body = b'{"content":"x",' + b",".join(b'"k%d":1' % number for number in range(100_000)) + b"}"

    assert post(alice, chat_id, body).status_code == 202


@pytest.mark.parametrize("field", ["content", "model", "message_id", "parent_id"])
@pytest.mark.parametrize("value", [5, 1.5, True, ["x"], {"x": 1}])
def test_a_value_of_another_type_is_refused_by_name(alice: Browser, field: str, value: Any) -> None:
    answer = alice.send(f"/chat/{new_chat(alice)}/message", {"content": "x", field: value})

    assert answer.status_code == 400
    assert error_of(answer)["field"] == field


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 5.1}, {"temperature": "0.5"}, {"temperature": True}, {"temperature": None, "top_p": 2},
        {"top_p": -0.1}, {"top_k": 1.5}, {"top_k": -1}, {"seed": 2**31}, {"num_predict": -3}, {"num_ctx": 1},
        {"num_ctx": "big"}, {"repeat_penalty": 11}, {"stop": "x"}, {"stop": [5]}, {"stop": ["x" * 201]},
        {"stop": ["x"] * 17}, {"num_gpu": 1}, {"low_vram": True}, {"__proto__": {}}, 5, "x", [1],
    ],
    ids=short,
)  # fmt: skip
def test_options_out_of_bounds_never_reach_ollama(alice: Browser, ollama: FakeOllama, options: Any) -> None:
    answer = alice.send(f"/chat/{new_chat(alice)}/message", {"content": "x", "options": options})

    assert answer.status_code == 400
    assert error_of(answer)["field"].startswith("options")
    assert ollama.calls_to("/api/chat") == []


@pytest.mark.parametrize("role", ["system", "assistant", "tool", "root"])
def test_nobody_can_speak_as_somebody_else(alice: Browser, ollama: FakeOllama, role: str) -> None:
    answer = alice.send(f"/chat/{new_chat(alice)}/message", {"content": "x", "role": role})

    assert answer.status_code == 400
    assert error_of(answer)["field"] == "role"
    assert ollama.calls_to("/api/chat") == []


# -- models that are not there


def test_a_model_that_is_not_installed_is_refused_and_the_text_kept(alice: Browser) -> None:
    chat_id = new_chat(alice)

    answer = alice.submit(f"/chat/{chat_id}/message", content="Kept", model="gone:1b")

    assert answer.status_code == 404
    page = answer.get_data(as_text=True)
    assert "The model gone:1b is not installed." in page
    assert "Kept</textarea>" in page
    assert stored(alice, chat_id) == []


def test_after_a_model_that_is_not_there_the_chat_goes_on_with_its_own(alice: Browser) -> None:
    chat_id = new_chat(alice)
    alice.send(f"/chat/{chat_id}/message", {"content": "x", "model": "gone:1b"})

    assert ask(alice, chat_id, "x")["reply"]["status"] == "complete"


def test_a_new_chat_is_not_made_for_a_model_that_is_not_there(alice: Browser) -> None:
    answer = alice.send("/chat", {"content": "x", "model": "gone:1b"})

    assert answer.status_code == 404
    assert error_of(answer)["code"] == "model_missing"
    assert "gone:1b" not in alice.get("/dashboard").get_data(as_text=True)


def test_a_silent_ollama_does_not_make_every_model_a_missing_one(alice: Browser, ollama: FakeOllama) -> None:
    ollama.always("/api/tags", scripts.error(500, "no"))

    assert ask(alice, new_chat(alice), "x", model="llama3.2:1b")["reply"]["status"] == "complete"


def test_a_model_deleted_between_two_questions_is_named(alice: Browser, ollama: FakeOllama) -> None:
    chat_id = new_chat(alice)
    ask(alice, chat_id)
    del ollama.believable.models["smollm2:135m"]

    assert ask(alice, chat_id)["reply"]["error"]["code"] == "model_missing"


def test_without_any_model_a_question_is_refused_and_kept(alice: Browser, ollama: FakeOllama) -> None:
    ollama.believable.models.clear()

    answer = alice.submit("/chat", content="Not to be lost")

    assert answer.status_code == 400
    assert "Download one on the Models page" in answer.get_data(as_text=True)
    assert kept_in_the_form(answer.get_data(as_text=True)) == "Not to be lost"
    assert alice.get("/").headers["Location"] == "/dashboard"


def test_with_ollama_away_from_the_start_a_new_chat_says_that_and_keeps_the_text(
    alice: Browser, ollama: FakeOllama
) -> None:
    ollama.close()

    page = alice.get("/chat/new").get_data(as_text=True)
    answer = alice.submit("/chat", content="Not to be lost")

    assert "No model is installed" not in page
    assert "Start Ollama" in page
    assert answer.status_code == 502
    assert "Start Ollama" in answer.get_data(as_text=True)
    assert kept_in_the_form(answer.get_data(as_text=True)) == "Not to be lost"


# -- many at once


def test_one_person_has_at_most_eight_replies_running_however_many_are_asked_at_once(
    alice: Browser, bob: Browser, ollama: FakeOllama
) -> None:
    ollama.always("/api/chat", scripts.silence())
    chats = [new_chat(alice) for _ in range(16)]
    tabs = [alice.another_tab() for _ in chats]

    def send(number: int) -> int:
        return tabs[number].send(f"/chat/{chats[number]}/message", {"content": "x"}).status_code

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(send, range(16)))
    other = bob.send(f"/chat/{new_chat(bob)}/message", {"content": "x"})

    assert sorted(answers) == [202] * 8 + [429] * 8
    assert other.status_code == 202
    assert sum(len(stored(alice, chat_id)) for chat_id in chats) == 16
    assert len(services_of(alice.app).jobs.running()) == 9


def test_only_one_of_many_questions_at_once_is_taken_in_a_chat(alice: Browser, ollama: FakeOllama) -> None:
    ollama.always("/api/chat", scripts.silence())
    chat_id = new_chat(alice)
    tabs = [alice.another_tab() for _ in range(10)]

    def send(number: int) -> int:
        return tabs[number].send(f"/chat/{chat_id}/message", {"content": f"Question {number}"}).status_code

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(send, range(10)))

    assert sorted(answers) == [202] + [409] * 9
    assert len(stored(alice, chat_id)) == 2


def test_a_question_for_a_chat_that_is_deleted_at_the_same_time_is_taken_whole_or_not_at_all(
    alice: Browser,
) -> None:
    other = alice.another_tab()
    for _ in range(10):
        chat_id = new_chat(alice)
        with ThreadPoolExecutor(2) as pool:
            sent = pool.submit(alice.send, f"/chat/{chat_id}/message", {"content": "x"})
            pool.submit(other.send, f"/chat/{chat_id}/delete").result()
        job = services_of(alice.app).jobs.latest("reply", chat_id)
        ended = job is None or job.wait_ended(5)
        alice.send(f"/chat/{chat_id}/restore")
        messages = stored(alice, chat_id)

        assert sent.result().status_code in (202, 404)
        assert ended
        assert len(messages) == (2 if sent.result().status_code == 202 else 0)
        assert all(message["status"] != "streaming" for message in messages)


def test_the_same_id_for_another_kind_of_message_is_refused(alice: Browser) -> None:
    chat_id = new_chat(alice)
    reply = ask(alice, chat_id)["reply"]

    answer = alice.send(f"/chat/{chat_id}/message", {"content": "x", "message_id": reply["id"]})

    assert answer.status_code == 409
    assert error_of(answer)["field"] == "message_id"


def test_the_same_id_in_two_chats_is_two_questions(alice: Browser) -> None:
    first, second = new_chat(alice), new_chat(alice)

    for chat_id in (first, second):
        ask(alice, chat_id, "x", message_id="client-id-0001")

    assert len(stored(alice, first)) == len(stored(alice, second)) == 2


def test_too_many_messages_a_minute_are_refused_politely(open_app: Any) -> None:
    app = open_app(RATELIMIT_ENABLED="true")
    person = Browser(app, add_user(app, "alice"))
    token = person.token()
    answers = [
        person.client.post(
            f"/chat/{'0' * 26}/message", json={}, headers={"X-CSRFToken": token, "Accept": "application/json"}
        )
        for _ in range(121)
    ]

    assert {answer.status_code for answer in answers[:120]} == {400}
    assert answers[120].status_code == 429
    assert 0 < int(answers[120].headers["Retry-After"]) <= 61
