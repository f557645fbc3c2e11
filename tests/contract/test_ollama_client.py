"""The client against a real server that behaves, misbehaves, or is not there."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import responses

from chatapp.errors import (
    ChatAppError,
    Invalid,
    ModelMissing,
    OllamaBroken,
    OllamaBusy,
    OllamaFailed,
    OllamaRefused,
    OllamaTimeout,
    OllamaUnreachable,
)
from chatapp.ollama import answers
from chatapp.ollama.client import OllamaClient
from chatapp.ollama.types import ChatEnd, ChatPiece, PullStatus, Version
from tests.fakes import scripts, traces
from tests.fakes.ollama import FakeOllama

ASKED = [{"role": "user", "content": "Hi"}]
UNEXPECTED = (
    "Unexpected answer from Ollama. Try again; if that happens again, "
    "check that OLLAMA_URL leads to Ollama and not to another server."
)
STOPPED_WORKING = "The model stopped working. Try again; if that happens again, choose a smaller model."
NO_IMAGES = "m:1b cannot look at images. Choose a model that can, or ask without the image."
REFUSED = "Ollama refused this request. Try again, or choose another model."
NAME_EXPECTED = "A model name looks like name:tag, for example llama3.2:1b."


@pytest.fixture
def ollama() -> Iterator[FakeOllama]:
    with FakeOllama() as fake:
        yield fake


@pytest.fixture
def client(ollama) -> OllamaClient:
    return OllamaClient(ollama.url, read_timeout_s=5, first_token_timeout_s=5, stall_timeout_s=5)


@dataclass
class Reply:
    """What came out of a reply until it ended, one way or the other."""

    items: list[object] = field(default_factory=list)
    failures: list[ChatAppError] = field(default_factory=list)

    @property
    def error(self) -> ChatAppError:
        """What it failed with. Raises ValueError when it did not fail."""
        (error,) = self.failures
        return error

    @property
    def content(self) -> str:
        return "".join(item.content for item in self.items if isinstance(item, ChatPiece))


def ask(client: OllamaClient, model: str = "m:1b") -> Reply:
    reply = Reply()
    with client.chat(model, ASKED) as stream:
        try:
            for item in stream:
                reply.items.append(item)
        except ChatAppError as error:
            reply.failures.append(error)
    return reply


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# What is sent


def test_a_chat_sends_the_messages_and_only_the_options_that_are_set(ollama, client):
    with client.chat("smollm2:135m", ASKED, options={"temperature": 0}, think=False) as stream:
        list(stream)
    with client.chat("smollm2:135m", ASKED) as stream:
        list(stream)

    first, second = ollama.calls_to("/api/chat")
    assert first.json == {
        "model": "smollm2:135m",
        "messages": ASKED,
        "stream": True,
        "options": {"temperature": 0},
        "think": False,
    }
    assert second.json == {"model": "smollm2:135m", "messages": ASKED, "stream": True}


def test_a_pull_never_asks_for_an_insecure_one(ollama, client):
    with client.pull("qwen3:0.6b") as stream:
        list(stream)

    assert ollama.wait_for_call("/api/pull").json == {"model": "qwen3:0.6b", "stream": True}


def test_a_request_carries_no_header_that_ollama_could_take_for_a_browsers(ollama, client):
    client.tags()

    assert set(ollama.calls[0].headers) == {"Host", "User-Agent", "Accept", "Accept-Encoding", "Connection"}


def test_a_delete_carries_its_body(ollama, client):
    client.delete("smollm2:135m")

    call = ollama.wait_for_call("/api/delete")
    assert (call.method, call.json) == ("DELETE", {"model": "smollm2:135m"})
    assert [model.name for model in client.tags()] == ["llama3.2:1b"]


def test_a_model_is_loaded_and_unloaded_without_a_message(ollama, client):
    client.load("llama3.2:1b")
    loaded = [model.name for model in client.ps()]
    client.unload("llama3.2:1b")

    first, second = ollama.calls_to("/api/chat")
    assert first.json == {"model": "llama3.2:1b", "messages": [], "stream": False}
    assert second.json == {"model": "llama3.2:1b", "messages": [], "stream": False, "keep_alive": 0}
    assert (loaded, client.ps()) == (["llama3.2:1b"], [])


@pytest.mark.parametrize("name", ["", "http://127.0.0.1/x", "a b", "../x", "m@sha256:0"])
def test_a_wrong_name_is_refused_before_anything_is_sent(ollama, client, name):
    for method in (client.show, client.delete, client.load, client.unload, client.pull):
        with pytest.raises(Invalid):
            method(name)
    with pytest.raises(Invalid):
        client.chat(name, ASKED)

    assert ollama.calls == []


def test_nothing_is_sent_before_a_stream_is_iterated(ollama, client):
    with client.chat("smollm2:135m", ASKED), client.pull("smollm2:135m"):
        pass

    assert ollama.calls == []


def test_an_address_may_have_a_path_and_a_slash_at_its_end(ollama):
    ollama.next("/proxied/api/version", scripts.answer(200, {"version": "0.33.0"}))

    assert OllamaClient(f"{ollama.url}/proxied/").version() == Version("0.33.0")


def test_credentials_are_sent_and_never_shown(ollama):
    port = ollama.port
    client = OllamaClient(f"http://ada:s3cret@127.0.0.1:{port}")
    client.version()
    ollama.next("/api/version", scripts.answer(401, b"who are you?", "text/plain"))

    with pytest.raises(OllamaRefused) as refused:
        client.version()

    assert ollama.calls[0].headers["Authorization"] == "Basic YWRhOnMzY3JldA=="
    assert client.public_url == f"http://127.0.0.1:{port}"
    assert "s3cret" not in refused.value.message + (refused.value.detail or "")


def test_credentials_are_not_shown_when_nobody_answers():
    with pytest.raises(OllamaUnreachable) as failed:
        OllamaClient(f"http://ada:s3cret@127.0.0.1:{free_port()}").version()

    assert "s3cret" not in failed.value.message + (failed.value.detail or "")


def test_proxies_and_passwords_of_the_environment_are_not_used(ollama, client, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login eve password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(variable, f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)

    assert client.version() == Version("0.33.0")
    assert "Authorization" not in ollama.calls[0].headers


def test_a_redirect_is_not_followed(ollama, client):
    ollama.next("/api/tags", scripts.redirect("/api/version"))

    with pytest.raises(OllamaBroken) as failed:
        client.tags()

    assert failed.value.message == UNEXPECTED
    assert [call.path for call in ollama.calls] == ["/api/tags"]


def test_a_failed_request_is_not_tried_again(ollama, client):
    ollama.next("/api/chat", scripts.hang_up("reset"))

    reply = ask(client, "smollm2:135m")

    assert isinstance(reply.error, OllamaBroken)
    assert len(ollama.calls) == 1


# What is answered: the recorded refusals


@pytest.mark.parametrize(
    ("name", "error", "sentence"),
    [
        ("chat-bad-name", Invalid, NAME_EXPECTED),
        ("chat-no-model", Invalid, NAME_EXPECTED),
        ("chat-bad-json", OllamaRefused, REFUSED),
        ("chat-no-body", OllamaRefused, REFUSED),
        ("chat-content-list", OllamaRefused, REFUSED),
        ("chat-bad-keepalive", OllamaRefused, REFUSED),
        ("chat-think-bad-value", OllamaRefused, REFUSED),
        ("chat-image-data-url", OllamaRefused, REFUSED),
        ("chat-format-bad", OllamaFailed, "Ollama could not do this. Try again, or choose another model."),
        (
            "chat-bad-option-type",
            OllamaRefused,
            "Ollama does not accept one of the options. Correct the options and try again.",
        ),
        ("chat-badgguf", OllamaRefused, "m:1b cannot chat, or its file is damaged. Choose another model."),
        (
            "chat-cloud-model-cloud-off",
            OllamaRefused,
            "m:1b runs on the computers of ollama.com, which is switched off here. "
            "Choose a model that is on this server.",
        ),
        ("chat-image-unsupported", OllamaRefused, NO_IMAGES),
        ("chat-native-image", OllamaRefused, NO_IMAGES),
        (
            "chat-missing-model",
            ModelMissing,
            "m:1b is not on this server. Ask root to download it on the Models page.",
        ),
        (
            "chat-weights-missing",
            ModelMissing,
            "m:1b is not on this server. Ask root to download it on the Models page.",
        ),
        ("chat-nostream-runner-killed", OllamaBroken, STOPPED_WORKING),
        ("chat-queue-full", OllamaBusy, "Ollama has too many requests waiting. Try again in a moment."),
        (
            "chat-think-unsupported",
            OllamaRefused,
            "m:1b cannot think aloud. Switch thinking off and try again.",
        ),
        (
            "chat-too-long-no-truncate",
            OllamaRefused,
            "This chat is longer than m:1b can take in. Start a new chat, or shorten the message.",
        ),
        ("chat-tools-unsupported", OllamaRefused, "m:1b cannot use tools. Choose a model that can."),
        (
            "chat-weights-do-not-load",
            OllamaRefused,
            "m:1b cannot be used: its file is damaged, or of a kind that this Ollama does not know. "
            "Delete the model and download it again.",
        ),
    ],
)
def test_a_recorded_refusal_says_what_to_do_and_keeps_ollamas_words(ollama, client, name, error, sentence):
    ollama.next("/api/chat", scripts.play(name))

    reply = ask(client)

    assert reply.items == []
    assert (type(reply.error), reply.error.message) == (error, sentence)
    assert reply.error.detail
    assert not reply.error.detail.startswith("{")


@pytest.mark.parametrize(
    ("name", "method", "error"),
    [
        ("show-missing", "show", ModelMissing),
        ("show-bad-name", "show", Invalid),
        ("show-weights-missing", "show", ModelMissing),
        ("show-cloud-off", "show", OllamaRefused),
        ("show-wrong-type", "show", OllamaRefused),
        ("delete-missing", "delete", ModelMissing),
        ("delete-bad-name", "delete", Invalid),
        ("generate-load-weights-do-not-load", "load", OllamaRefused),
        ("chat-unload-missing-model", "unload", ModelMissing),
    ],
)
def test_a_recorded_refusal_of_a_plain_request_has_its_class(name, method, error):
    trace = traces.load(name)
    client = OllamaClient("http://ollama.example:11434")
    paths = {"show": "/api/show", "delete": "/api/delete", "load": "/api/chat", "unload": "/api/chat"}
    with responses.RequestsMock() as mocked:
        verb = "DELETE" if method == "delete" else "POST"
        mocked.add(verb, client.base_url + paths[method], body=trace.body, status=trace.status)

        with pytest.raises(ChatAppError) as failed:
            getattr(client, method)("m:1b")

    assert type(failed.value) is error


@pytest.mark.parametrize(
    ("name", "method", "path", "count"),
    [
        ("tags-three", "tags", "/api/tags", 2),
        ("tags-empty", "tags", "/api/tags", 0),
        ("ps-two-names-one-weights", "ps", "/api/ps", 1),
        ("ps-empty", "ps", "/api/ps", 0),
    ],
)
def test_a_recorded_list_is_read(name, method, path, count):
    trace = traces.load(name)
    client = OllamaClient("http://ollama.example:11434")
    with responses.RequestsMock() as mocked:
        mocked.add("GET", client.base_url + path, body=trace.body, status=trace.status)

        assert len(getattr(client, method)()) == count


# Answers that are not Ollama's


@pytest.mark.parametrize(
    "script",
    [
        scripts.html(502),
        scripts.html(503),
        scripts.html(200),
        scripts.html(404),
        scripts.answer(404, b"404 page not found", "text/plain"),
        scripts.answer(200, b"", "application/json"),
        scripts.answer(200, b"null"),
        scripts.answer(200, b"[]"),
        scripts.answer(200, b'{"models":'),
        scripts.answer(200, '{"models":[]}'.encode("utf-16")),
        scripts.answer(500, b""),
    ],
    ids=[
        "a proxy's 502",
        "a proxy's 503",
        "a login page",
        "another server's 404",
        "the router's 404",
        "nothing",
        "null",
        "a list",
        "half an object",
        "UTF-16",
        "a bare 500",
    ],
)
def test_an_answer_that_is_not_ollamas_is_refused_in_plain_words(ollama, client, script):
    ollama.next("/api/tags", script)

    with pytest.raises(OllamaBroken) as failed:
        client.tags()

    assert failed.value.message == UNEXPECTED


def test_a_bare_403_means_that_ollama_does_not_like_the_name_it_is_called_by(ollama, client):
    ollama.next("/api/version", scripts.play("host-header-foreign"))

    with pytest.raises(OllamaRefused) as refused:
        client.version()

    assert refused.value.message == (
        f"Ollama at {ollama.url} refuses the name it is called by. "
        "Set OLLAMA_URL to its IP address, or to localhost if it runs on this machine."
    )


@pytest.mark.parametrize(
    "rubbish",
    [
        b"<html>502</html>\n",
        b"rubbish\n",
        b"data: {}\n\n",
        b'[{"message":{"content":"x"}}]\n',
        b'"x"\n',
        b"\xff\xfe\n",
        b'{"message":{"content":"\xc3\x28"}}\n',
        b"{}{}\n",
    ],
)
def test_rubbish_in_a_reply_keeps_the_text_before_it(ollama, client, caplog, rubbish):
    line = json.dumps(scripts.piece("before")).encode() + b"\n"
    ollama.next("/api/chat", scripts.send(line + rubbish))

    reply = ask(client)

    assert reply.content == "before"
    assert (type(reply.error), reply.error.message) == (OllamaBroken, UNEXPECTED)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("separator", ["\u0085", "\u2028", "\u2029", "\r", "\x0b", "\x1d"])
def test_a_line_separator_inside_a_text_is_text(ollama, client, separator):
    ollama.next("/api/chat", scripts.lines(scripts.piece(f"a{separator}b"), scripts.done()))

    assert ask(client).content == f"a{separator}b"


def test_a_line_of_ten_megabytes_is_one_piece(ollama, client):
    ollama.next("/api/chat", scripts.lines(scripts.piece("x" * 10_000_000), scripts.done()))

    reply = ask(client)

    assert reply.failures == []
    assert len(reply.content) == 10_000_000


def test_a_line_that_never_ends_is_refused(ollama, client):
    ollama.next("/api/chat", scripts.send(b"{", *[b"x" * 1_000_000] * 40, ending="stall"))

    reply = ask(client)

    assert (type(reply.error), reply.error.message) == (OllamaBroken, UNEXPECTED)
    assert ollama.client_left.wait(1)


@pytest.mark.parametrize("status", [200, 500])
def test_an_answer_without_an_end_is_not_read_for_ever(ollama, client, status):
    ollama.next("/api/tags", scripts.send(*[b" " * 1_000_000] * 34, status=status, ending="stall"))

    with pytest.raises(OllamaBroken) as failed:
        client.tags()

    assert failed.value.message == UNEXPECTED


def test_a_refusal_whose_body_does_not_come_is_a_timeout(ollama, client, monkeypatch):
    monkeypatch.setattr(answers, "_ERROR_BODY_TIMEOUT_S", 0.2)
    ollama.next("/api/chat", scripts.send(b'{"error":', status=500, ending="stall"))

    assert ask(client).error.message == "Ollama stopped responding: nothing came for 0.2 seconds. Try again."


# Replies of an unusual kind


def test_a_reply_that_is_done_at_once_is_empty_and_no_failure(ollama, client):
    ollama.next("/api/chat", scripts.lines(scripts.done(eval_count=1)))

    assert ask(client).items == [ChatEnd(done_reason="stop", reply_tokens=1)]


def test_a_reply_may_be_nothing_but_thinking(ollama, client):
    ollama.next("/api/chat", scripts.lines(scripts.piece(thinking="hm"), scripts.done()))

    assert ask(client).items == [ChatPiece(thinking="hm"), ChatEnd(done_reason="stop")]


def test_the_last_line_may_carry_text(ollama, client):
    ollama.next("/api/chat", scripts.lines(scripts.done("all of it")))

    assert ask(client).items == [ChatPiece("all of it"), ChatEnd(done_reason="stop")]


def test_what_comes_after_the_last_line_is_not_read(ollama, client):
    ollama.next(
        "/api/chat", scripts.lines(scripts.piece("a"), scripts.done(), scripts.piece("b"), ending="stall")
    )

    reply = ask(client)

    assert reply.content == "a"
    assert reply.failures == []


def test_the_connection_is_let_go_as_soon_as_the_last_line_is_there(ollama, client):
    ollama.next("/api/chat", scripts.lines(scripts.done(), ending="stall"))

    with client.chat("m:1b", ASKED) as stream:
        next(iter(stream))

        assert ollama.client_left.wait(1)


def test_an_error_line_keeps_the_text_before_it_and_ollamas_words(ollama, client):
    text = "an error was encountered while running the model: CUDA error"
    ollama.next("/api/chat", scripts.lines(scripts.piece("a"), scripts.piece("b"), {"error": text}))

    reply = ask(client)

    assert reply.content == "ab"
    assert (reply.error.message, reply.error.detail) == (STOPPED_WORKING, text)


def test_an_error_line_may_hold_an_object_as_in_other_servers(ollama, client):
    ollama.next("/api/chat", scripts.lines({"error": {"message": "CUDA out of memory", "code": 500}}))

    assert (
        ask(client).error.message
        == "There is not enough memory for m:1b. Choose a smaller model, or unload another one."
    )


def test_odd_numbers_in_a_pull_come_out_plain(ollama, client):
    odd = [
        {"status": "p", "digest": "sha256:a"},
        {"status": "p", "digest": "sha256:a", "total": 0, "completed": 5},
        {"status": "p", "digest": "sha256:a", "total": -1, "completed": -1},
        {"status": "p", "digest": "sha256:a", "total": 10, "completed": 20},
        {"status": "p", "digest": None, "total": "10", "completed": 1.5},
        {"status": "success"},
    ]
    ollama.next("/api/pull", scripts.lines(*odd))

    with client.pull("m:1b") as stream:
        statuses = list(stream)

    assert statuses == [
        PullStatus("p", "sha256:a"),
        PullStatus("p", "sha256:a", 0, 5),
        PullStatus("p", "sha256:a"),
        PullStatus("p", "sha256:a", 10, 20),
        PullStatus("p"),
        PullStatus("success"),
    ]


# Nobody there, silence, death


def test_an_ollama_that_does_not_run_is_named_with_its_address():
    url = f"http://127.0.0.1:{free_port()}"

    for reply in (ask(OllamaClient(url)), ask(OllamaClient(url), "other:1b")):
        assert type(reply.error) is OllamaUnreachable
        assert reply.error.message == (
            f"Ollama does not answer at {url}. Start Ollama, or set OLLAMA_URL to the address it runs at."
        )
        assert reply.error.detail is not None
        assert "Connection refused" in reply.error.detail


@pytest.mark.parametrize(
    "url", ["http://no-such-host.invalid:11434", "http://", "ftp://127.0.0.1", "nonsense"]
)
def test_an_address_that_leads_nowhere_is_unreachable(url):
    with pytest.raises(OllamaUnreachable):
        OllamaClient(url).version()


def test_a_server_that_speaks_no_tls_is_unreachable_by_https(ollama):
    with pytest.raises(OllamaUnreachable):
        OllamaClient(ollama.url.replace("http", "https")).version()


def test_a_connection_that_is_never_accepted_is_given_up():
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = []
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
            waiting.append(filler)

        client = OllamaClient(f"http://127.0.0.1:{full.getsockname()[1]}", connect_timeout_s=0.2)
        with pytest.raises(OllamaUnreachable):
            client.version()
        for filler in waiting:
            filler.close()


def test_silence_in_a_plain_answer_is_a_timeout(ollama):
    ollama.next("/api/tags", scripts.silence())

    with pytest.raises(OllamaTimeout) as failed:
        OllamaClient(ollama.url, read_timeout_s=0.2).tags()

    assert failed.value.message == "Ollama stopped responding: nothing came for 0.2 seconds. Try again."
    assert ollama.client_left.wait(1)


def test_silence_before_the_first_line_is_a_timeout_of_its_own(ollama):
    ollama.next("/api/chat", scripts.silence())

    reply = ask(OllamaClient(ollama.url, first_token_timeout_s=0.3, stall_timeout_s=60))

    assert type(reply.error) is OllamaTimeout
    assert reply.error.message == "Ollama stopped responding: nothing came for 0.3 seconds. Try again."


def test_silence_in_the_middle_of_a_reply_keeps_its_text(ollama):
    ollama.next("/api/chat", scripts.lines(scripts.piece("a"), scripts.piece("b"), ending="stall"))

    reply = ask(OllamaClient(ollama.url, first_token_timeout_s=60, stall_timeout_s=0.3))

    assert reply.content == "ab"
    assert type(reply.error) is OllamaTimeout
    assert reply.error.message == "Ollama stopped responding: nothing came for 0.3 seconds. Try again."
    assert ollama.client_left.wait(1)


def test_a_first_line_may_come_later_than_a_stall_would_be_allowed(ollama):
    ollama.next("/api/chat", scripts.late(0.8, scripts.lines(scripts.piece("a"), scripts.done())))

    reply = ask(OllamaClient(ollama.url, first_token_timeout_s=30, stall_timeout_s=0.3))

    assert (reply.content, reply.failures) == ("a", [])


def test_a_pull_may_be_silent_for_longer_than_a_reply(ollama):
    ollama.next("/api/pull", scripts.lines({"status": "verifying"}, {"status": "success"}, between_s=0.6))
    client = OllamaClient(ollama.url, read_timeout_s=0.2, first_token_timeout_s=0.2, stall_timeout_s=0.2)

    with client.pull("m:1b") as stream:
        assert list(stream)[-1] == PullStatus("success")


@pytest.mark.parametrize("ending", ["fin", "reset"])
def test_an_ollama_that_dies_before_its_first_word_is_broken_not_unreachable(ollama, client, ending):
    ollama.next("/api/chat", scripts.hang_up(ending))

    reply = ask(client)

    assert type(reply.error) is OllamaBroken
    assert reply.error.message.startswith("Ollama closed the connection before its answer was complete.")


def test_an_ollama_that_is_stopped_in_the_middle_of_a_reply_leaves_a_failure():
    ollama = FakeOllama()
    ollama.next("/api/chat", scripts.lines(scripts.piece("a"), ending="stall"))
    reply = Reply()

    with OllamaClient(ollama.url).chat("m:1b", ASKED) as stream:
        items = iter(stream)
        reply.items.append(next(items))
        ollama.close()
        with pytest.raises(OllamaBroken):
            next(items)

    assert reply.content == "a"


# Many at once


def test_one_client_serves_many_threads(ollama, client):
    replies: list[Reply] = []
    threads = [
        threading.Thread(target=lambda: replies.append(ask(client, "smollm2:135m"))) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {reply.content for reply in replies} == {ollama.believable.reply}
    assert len(replies) == 20


def test_the_believable_ollama_pulls_asks_and_deletes(ollama, client):
    with client.pull("qwen3:0.6b") as stream:
        pulled = list(stream)
    with client.chat("qwen3:0.6b", ASKED) as stream:
        items = list(stream)
    client.delete("qwen3:0.6b")

    assert pulled[-1] == PullStatus("success")
    assert "".join(item.content for item in items if isinstance(item, ChatPiece)) == ollama.believable.reply
    assert client.show("llama3.2:1b").context_length == 8192
    with pytest.raises(ModelMissing):
        client.show("qwen3:0.6b")
