"""Ollama's JSON → our types: the recordings, and everything that no Ollama should send."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.ollama import rows
from chatapp.ollama.types import (
    ChatEnd,
    ChatPiece,
    ModelDetails,
    ModelInfo,
    PullStatus,
    RunningModel,
    Version,
)
from tests.fakes import traces

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_MODEL_FIELDS = ["name", "model", "size", "digest", "details", "modified_at", "expires_at", "capabilities"]
_DETAIL_FIELDS = ["parameter_size", "family", "context_length", "model_info", "general.architecture"]
_LINE_FIELDS = ["message", "content", "thinking", "done", "done_reason", "eval_count", "eval_duration"]
_PULL_FIELDS = ["status", "digest", "total", "completed"]
_FIELDS = st.sampled_from(_MODEL_FIELDS + _DETAIL_FIELDS + _LINE_FIELDS + _PULL_FIELDS)
_ROW = st.dictionaries(_FIELDS, _JSON, max_size=8)


def recorded(name: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(traces.load(name).body)
    return answer


def test_a_recorded_list_of_models_is_read_and_sorted_by_name():
    models = rows.models(recorded("tags-thinker"))

    assert [model.name for model in models] == ["smollm2:135m", "thinker:latest"]
    assert models[1] == ModelInfo(
        name="thinker:latest",
        size_bytes=98_362_917,
        digest="e3a9cf2e278e5ea497f9f6a539cb2e193613cd637ed4b4b05e0dad3ec3b4b829",
        modified_at=datetime(2026, 11, 20, 5, 6, 6, 160755, tzinfo=UTC),
        parameter_size="134.52M",
        quantization_level="Q4_1",
        family="llama",
        capabilities=("completion", "thinking"),
        context_length=8192,
    )


def test_a_model_from_another_host_keeps_its_whole_name():
    names = [model.name for model in rows.models(recorded("tags-with-host-name"))]

    assert "127.0.0.1:5001/library/smollm2:135m" in names


def test_an_empty_list_of_models_is_empty():
    assert rows.models(recorded("tags-empty")) == []
    assert rows.running_models(recorded("ps-empty")) == []


def test_a_recorded_model_in_memory_is_read():
    assert rows.running_models(recorded("ps-loaded")) == [
        RunningModel(
            name="smollm2:135m",
            digest="d5b9e27b0819556d0d84179a39b79b2e2bb296fe4fed8bdefde8532ec122e7d3",
            size_bytes=160_222_411,
            size_vram_bytes=0,
            expires_at=datetime(2026, 11, 20, 5, 9, 19, 688382, tzinfo=UTC),
            context_length=2048,
        )
    ]


def test_a_model_that_stays_for_ever_has_a_date_far_away():
    (model,) = rows.running_models(recorded("ps-loaded-forever"))

    assert model.expires_at is not None
    assert model.expires_at.year > 2300


def test_recorded_details_are_read():
    details = rows.model_details(recorded("show"))

    assert details.license.lstrip().startswith("Apache License")
    assert details.capabilities == ("completion",)
    assert details.context_length == 8192
    assert (details.family, details.parameter_size, details.quantization_level) == (
        "llama",
        "134.52M",
        "Q4_1",
    )
    assert details.template
    assert "stop" in details.parameters


def test_the_version_of_the_embedded_engine_says_so():
    assert rows.version({"version": "0.33.0", "engine": "chatapp"}) == Version("0.33.0", "chatapp")
    assert rows.version(recorded("version")).engine is None


@pytest.mark.parametrize(
    "row",
    [
        None,
        7,
        "smollm2:135m",
        [],
        {},
        {"name": None},
        {"name": ["a"]},
        {"name": ""},
        {"name": "<b>bold</b>"},
        {"name": "<img src=x onerror=alert(1)>:1b"},
        {"name": "../../etc/passwd"},
        {"size": 5},
    ],
    ids=repr,
)
def test_a_row_without_a_usable_name_is_left_out(row):
    answer = {"models": [row, {"name": "good:1b"}]}

    assert rows.models(answer) == [ModelInfo(name="good:1b")]
    assert rows.running_models(answer) == [RunningModel(name="good:1b")]


@pytest.mark.parametrize(
    "odd",
    [
        {"size": -1},
        {"size": "big"},
        {"size": 1e300},
        {"size": float("nan")},
        {"size": True},
        {"size": 10**400},
        {"details": None},
        {"details": []},
        {"details": {"family": 7, "parameter_size": None, "quantization_level": []}},
        {"details": {"context_length": -5}},
        {"capabilities": None},
        {"capabilities": "completion"},
        {"capabilities": [1, None, ""]},
        {"modified_at": "yesterday"},
        {"modified_at": 1e18},
        {"modified_at": "0001-01-01T00:00:00+23:59"},
        {"digest": 7},
    ],
    ids=repr,
)
def test_a_value_of_the_wrong_kind_counts_as_left_out(odd):
    assert rows.models({"models": [{"name": "good:1b", **odd}]}) == [ModelInfo(name="good:1b")]


@pytest.mark.parametrize(
    "answer", [{}, {"models": None}, {"models": {}}, {"models": "x"}, {"models": 7}], ids=repr
)
def test_an_answer_without_a_list_is_an_empty_list(answer):
    assert rows.models(answer) == []


def test_an_older_ollama_names_a_model_only_by_the_field_model():
    assert rows.models({"models": [{"model": "old:1b"}]}) == [ModelInfo(name="old:1b")]


def test_ten_thousand_rows_are_read():
    answer = {"models": [{"name": f"m{number}:1b", "size": number} for number in range(10_000)]}

    assert len(rows.models(answer)) == 10_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20T05:04:23Z", datetime(2026, 11, 20, 5, 4, 23, tzinfo=UTC)),
        ("2026-11-20T05:04:23.5Z", datetime(2026, 11, 20, 5, 4, 23, 500_000, tzinfo=UTC)),
        ("2026-11-20T05:04:23.2500275Z", datetime(2026, 11, 20, 5, 4, 23, 250_027, tzinfo=UTC)),
        ("2026-11-20T05:04:23.123456789Z", datetime(2026, 11, 20, 5, 4, 23, 123_456, tzinfo=UTC)),
        ("2026-11-20T05:04:23.25+02:00", datetime(2026, 11, 20, 3, 4, 23, 250_000, tzinfo=UTC)),
        ("2026-11-20T05:04:23-07:00", datetime(2026, 11, 20, 12, 4, 23, tzinfo=UTC)),
        ("2026-11-20T05:04:23", datetime(2026, 11, 20, 5, 4, 23, tzinfo=UTC)),
    ],
)
def test_a_time_may_have_any_number_of_digits_and_any_offset(text, expected):
    (model,) = rows.models({"models": [{"name": "m:1b", "modified_at": text}]})

    assert model.modified_at == expected


def test_a_line_adds_its_content_and_its_thinking():
    assert rows.chat_piece({"message": {"content": "a", "thinking": "b"}}) == ChatPiece("a", "b")


@pytest.mark.parametrize(
    "line",
    [
        {},
        {"message": None},
        {"message": "x"},
        {"message": {}},
        {"message": {"content": None}},
        {"message": {"content": ["x"]}},
    ],
    ids=repr,
)
def test_a_line_without_text_adds_nothing(line):
    assert rows.chat_piece(line) is None


def test_half_a_character_becomes_a_question_mark_that_can_be_stored():
    piece = rows.chat_piece({"message": {"content": "a\ud83d"}})

    assert piece == ChatPiece("a?")


@pytest.mark.parametrize(
    "line", [{}, {"done": False}, {"done": "true"}, {"done": 1}, {"done": None}], ids=repr
)
def test_only_done_true_is_the_end(line):
    assert rows.chat_end(line) is None


def test_the_end_has_its_durations_in_milliseconds():
    end = rows.chat_end(
        {
            "done": True,
            "done_reason": "stop",
            "total_duration": 1_351_373_402,
            "load_duration": 833_955_580,
            "prompt_eval_count": 28,
            "prompt_eval_duration": 448_535_000,
            "eval_count": 8,
            "eval_duration": 51_761_000,
        }
    )

    assert end == ChatEnd("stop", 28, 8, 833.95558, 448.535, 51.761, 1351.373402)
    assert end.tokens_per_s == pytest.approx(154.556, abs=0.001)


@pytest.mark.parametrize(
    "line", [{"done": True}, {"done": True, "eval_count": 5}, {"done": True, "eval_duration": 5}]
)
def test_without_both_counters_there_is_no_speed(line):
    end = rows.chat_end(line)

    assert end is not None
    assert end.tokens_per_s is None


def test_an_end_without_counters_knows_nothing_else():
    assert rows.chat_end({"done": True, "eval_count": -1, "total_duration": "long"}) == ChatEnd()


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ({"status": "pulling manifest"}, PullStatus("pulling manifest")),
        ({"status": "p", "digest": "sha256:a", "total": 9}, PullStatus("p", "sha256:a", 9, None)),
        (
            {"status": "p", "digest": "sha256:a", "total": 9, "completed": 3},
            PullStatus("p", "sha256:a", 9, 3),
        ),
        ({"status": "p", "total": 0, "completed": 7}, PullStatus("p", None, 0, 7)),
        ({"status": "p", "total": -1, "completed": "x"}, PullStatus("p")),
        ({}, PullStatus("")),
    ],
    ids=repr,
)
def test_a_line_of_a_pull_is_read(line, status):
    assert rows.pull_status(line) == status


@given(_ROW)
def test_no_object_makes_reading_fail(row):
    rows.models({"models": [row]})
    rows.running_models({"models": [row]})
    rows.chat_piece(row)
    rows.chat_end(row)
    rows.pull_status(row)

    assert isinstance(rows.model_details(row), ModelDetails)
    assert isinstance(rows.version(row), Version)
