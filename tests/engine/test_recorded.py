"""The engine answers as a real Ollama answered the same requests."""

from __future__ import annotations

import re

import pytest

from tests.engine.process import EngineProcess
from tests.engine.recorded import Recording, shape

pytestmark = pytest.mark.engine

_REFUSED = re.findall(
    r"\S+",
    """
    chat-bad-json chat-bad-keepalive chat-bad-name chat-bad-option-type chat-content-list chat-format-bad
    chat-image-bad-base64 chat-image-data-url chat-image-unsupported chat-missing-model chat-no-body chat-no-model
    chat-think-bad-value chat-think-unsupported chat-tools-unsupported chat-unload-missing-model
    delete-bad-name delete-empty-name delete-missing delete-no-body embed embed-empty embed-missing-model
    generate-missing-model generate-suffix-unsupported pull-bad-json pull-bad-name pull-missing-model-nostream
    pull-no-name show-bad-json show-bad-name show-missing show-no-body show-no-name show-wrong-type
    unknown-route wrong-method root-get double-slash trailing-slash
    cors-get-foreign host-header-docker-name host-header-foreign
    """,
)


@pytest.mark.parametrize("name", _REFUSED)
def test_the_same_request_gets_the_same_status_and_text(name: str, engine: EngineProcess) -> None:
    recorded = Recording(name)

    answer = recorded.ask_again(engine)

    assert (answer.status, answer.body.decode()) == (recorded.status, recorded.body)


@pytest.mark.parametrize(
    "name", ["wrong-method", "unknown-route", "show-missing", "double-slash", "trailing-slash"]
)
def test_the_headers_that_clients_read_are_the_same(name: str, engine: EngineProcess) -> None:
    recorded = Recording(name)

    answer = recorded.ask_again(engine)

    for header in recorded.headers.keys() - {"Date"}:
        assert answer.headers[header] == recorded.headers[header]


@pytest.mark.parametrize(
    "name", ["host-header-local-tld", "host-header-host-docker-internal", "cors-get-localhost"]
)
def test_names_and_pages_of_this_machine_are_let_in(name: str, engine: EngineProcess) -> None:
    recorded = Recording(name)

    answer = recorded.ask_again(engine)

    assert answer.status == 200
    assert answer.headers.get("Access-Control-Allow-Origin") == recorded.headers.get(
        "Access-Control-Allow-Origin"
    )


def test_a_preflight_from_this_machine_is_answered(engine: EngineProcess) -> None:
    recorded = Recording("cors-preflight-localhost")

    answer = recorded.ask_again(engine)

    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["Access-Control-Allow-Methods"] == recorded.headers["Access-Control-Allow-Methods"]
    assert answer.headers["Access-Control-Allow-Headers"] == recorded.headers["Access-Control-Allow-Headers"]


def test_a_preflight_from_a_foreign_page_is_refused(engine: EngineProcess) -> None:
    answer = Recording("cors-preflight-foreign").ask_again(engine)

    assert (answer.status, answer.body) == (403, b"")


@pytest.mark.parametrize("name", ["head-root", "head-tags"])
def test_head_gives_the_headers_alone(name: str, engine: EngineProcess) -> None:
    recorded = Recording(name)

    answer = recorded.ask_again(engine)

    assert (answer.status, answer.body) == (200, b"")
    assert answer.content_type == recorded.headers["Content-Type"]


def test_tags_has_the_recorded_shape(engine: EngineProcess) -> None:
    recorded = Recording("tags-one")

    answer = recorded.ask_again(engine)

    assert shape(answer.json) == shape(recorded.json)


def test_tags_reads_the_details_out_of_the_weights(engine: EngineProcess) -> None:
    model = Recording("tags-one").ask_again(engine).json["models"][0]

    assert model["details"] == Recording("tags-one").json["models"][0]["details"]
    assert model["capabilities"] == ["completion"]
    assert len(model["digest"]) == 64


def test_show_has_the_recorded_shape(engine: EngineProcess) -> None:
    recorded = Recording("show")
    wanted = shape(recorded.json)

    found = shape(recorded.ask_again(engine).json)

    wanted_info, found_info = wanted.pop("model_info"), found.pop("model_info")
    assert found == wanted
    assert {name: kind for name, kind in found_info.items() if name.startswith("llama.")} == {
        name: kind for name, kind in wanted_info.items() if name.startswith("llama.")
    }


def test_show_takes_the_old_field_name(engine: EngineProcess) -> None:
    answer = Recording("show-by-name-field").ask_again(engine)

    assert answer.json["details"]["parameter_size"] == "134.52M"


def test_ps_has_the_recorded_shape_while_a_model_is_loaded(engine: EngineProcess) -> None:
    engine.post("/api/chat", {"model": "smollm2:135m"})
    recorded = Recording("ps-loaded")

    answer = recorded.ask_again(engine)

    assert shape(answer.json) == shape(recorded.json)


def test_an_empty_engine_lists_nothing(empty_engine: EngineProcess) -> None:
    for name in ("tags-empty", "ps-empty"):
        recorded = Recording(name)
        assert recorded.ask_again(empty_engine).body.decode() == recorded.body


@pytest.mark.parametrize("name", ["chat-nostream", "generate-nostream"])
def test_a_whole_answer_has_the_recorded_shape(name: str, engine: EngineProcess) -> None:
    recorded = Recording(name)
    wanted = {key: kind for key, kind in shape(recorded.json).items() if key != "context"}

    answer = recorded.ask_again(engine)

    assert shape(answer.json) == wanted
    assert answer.content_type == recorded.headers["Content-Type"]


@pytest.mark.parametrize("name", ["chat-stream", "generate-stream"])
def test_a_stream_has_the_recorded_shape(name: str, engine: EngineProcess) -> None:
    recorded = Recording(name)
    wanted = {key: kind for key, kind in shape(recorded.lines[-1]).items() if key != "context"}

    lines = engine.lines(recorded.request["path"], recorded.request["body"])

    assert shape(lines[0]) == shape(recorded.lines[0])
    assert shape(lines[-1]) == wanted


@pytest.mark.parametrize(
    "name", ["chat-load", "chat-load-keepalive-string", "chat-unload", "generate-load", "generate-unload"]
)
def test_loading_and_unloading_answer_as_recorded(name: str, engine: EngineProcess) -> None:
    recorded = Recording(name)

    answer = recorded.ask_again(engine)

    assert answer.json | {"created_at": ""} == recorded.json | {"created_at": ""}


@pytest.mark.parametrize("name", ["chat-unknown-role", "chat-content-null", "chat-unknown-option"])
def test_what_ollama_tolerates_is_tolerated(name: str, engine: EngineProcess) -> None:
    recorded = Recording(name)

    lines = engine.lines("/api/chat", recorded.request["body"])

    assert lines[-1]["done"] is True
    assert lines[-1]["done_reason"] == recorded.lines[-1]["done_reason"]


def test_a_model_that_cannot_be_fetched_fails_as_an_unknown_one_does(engine: EngineProcess) -> None:
    recorded = Recording("pull-missing-model")

    lines = engine.lines("/api/pull", recorded.request["body"])

    assert lines == recorded.lines


def test_a_pull_of_a_present_model_says_the_recorded_words(engine: EngineProcess) -> None:
    recorded = [line["status"] for line in Recording("pull-present").lines]

    lines = engine.lines("/api/pull", {"model": "smollm2:135m"})

    statuses = [line["status"] for line in lines]
    assert [s for s in statuses if "pulling " not in s] == [s for s in recorded if "pulling " not in s]
    assert lines[1]["completed"] == lines[1]["total"]
