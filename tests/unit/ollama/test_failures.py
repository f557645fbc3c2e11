"""Ollama's error texts → a class, a sentence with a next step, and the raw text beside it."""

from __future__ import annotations

import pytest

from chatapp.errors import (
    Invalid,
    ModelMissing,
    OllamaBroken,
    OllamaBusy,
    OllamaFailed,
    OllamaRefused,
    OllamaTimeout,
)
from chatapp.ollama.failures import chat_failure, pull_failure, unexpected_answer, unwrapped

NO_MEMORY = "There is not enough memory for m:1b. Choose a smaller model, or unload another one."
DAMAGED = (
    "m:1b cannot be used: its file is damaged, or of a kind that this Ollama does not know. "
    "Delete the model and download it again."
)
NO_SPACE = (
    "There is not enough disk space for m:1b. Delete a model or free some space, "
    "then start the download again; it goes on where it stopped."
)
AWAY = (
    "Ollama cannot reach the place that m:1b comes from. "
    "Check the server's internet connection, then start the download again."
)


@pytest.mark.parametrize(
    ("text", "error", "sentence"),
    [
        ("model requires more system memory (9.1 GiB) than is available (3.2 GiB)", OllamaRefused, NO_MEMORY),
        ("llama runner process has terminated: cudaMalloc failed: out of memory", OllamaRefused, NO_MEMORY),
        ("unable to allocate CPU buffer", OllamaRefused, NO_MEMORY),
        (
            "llama runner process has terminated: error loading model: unknown model architecture",
            OllamaRefused,
            DAMAGED,
        ),
        (
            "model runner has unexpectedly stopped, this may be due to resource limitations",
            OllamaBroken,
            "The model stopped working. Try again; if that happens again, choose a smaller model.",
        ),
        (
            "llama runner process has terminated: exit status 2",
            OllamaBroken,
            "The model stopped working. Try again; if that happens again, choose a smaller model.",
        ),
        (
            "timed out waiting for llama runner to start - progress 0.00",
            OllamaTimeout,
            "m:1b took too long to load. Try again, or choose a smaller one.",
        ),
        (
            'model "m:1b" not found, try pulling it first',
            ModelMissing,
            "m:1b is not on this server. Ask root to download it on the Models page.",
        ),
        (
            "something that nobody has seen before",
            OllamaFailed,
            "Ollama could not do this. Try again, or choose another model.",
        ),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_a_text_about_a_chat_becomes_a_sentence_and_stays_beside_it(text, error, sentence):
    failure = chat_failure(text, model="m:1b", status=500)

    assert type(failure) is error
    assert failure.message == sentence
    assert failure.detail == text


@pytest.mark.parametrize(
    ("text", "error", "sentence"),
    [
        ("write /models/blobs/sha256-0-partial: no space left on device", OllamaRefused, NO_SPACE),
        ('pull model manifest: Get "https://r/v2/": dial tcp: lookup r: no such host', OllamaRefused, AWAY),
        ("max retries exceeded: unexpected EOF", OllamaRefused, AWAY),
        (
            "pull model manifest: 412: this model needs a newer version",
            OllamaRefused,
            "m:1b needs a newer Ollama. Update Ollama, then start the download again.",
        ),
        (
            "pull model manifest: 429: slow down",
            OllamaBusy,
            "The place that m:1b comes from is busy. Try again in a few minutes.",
        ),
        (
            "something that nobody has seen before",
            OllamaFailed,
            "The download of m:1b failed. Start it again.",
        ),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_a_text_about_a_pull_becomes_a_sentence_and_stays_beside_it(text, error, sentence):
    failure = pull_failure(text, model="m:1b")

    assert type(failure) is error
    assert failure.message == sentence
    assert failure.detail == text


@pytest.mark.parametrize(
    ("status", "error"), [(503, OllamaBusy), (400, OllamaRefused), (404, OllamaRefused), (500, OllamaFailed)]
)
def test_an_unknown_text_goes_by_its_status(status, error):
    assert type(chat_failure("new words", status=status)) is error


def test_a_wrong_name_is_the_fault_of_the_field():
    failure = chat_failure("invalid model name", model="x", status=400)

    assert type(failure) is Invalid
    assert failure.field == "model"


@pytest.mark.parametrize(
    ("text", "inner"),
    [
        ('{"error":{"code":400,"message":"too long","type":"x"}}', "too long"),
        ('{"error":"plain"}', "plain"),
        ("no JSON at all", "no JSON at all"),
        ("{", "{"),
        ("[1]", "[1]"),
        ("null", "null"),
        ('{"message":"x"}', '{"message":"x"}'),
        ('{"error":{"message":7}}', '{"error":{"message":7}}'),
        ("[" * 100_000, "[" * 100_000),
    ],
    ids=lambda text: text[:20],
)
def test_a_text_that_is_itself_json_is_unwrapped_once(text, inner):
    assert unwrapped(text) == inner


def test_without_a_name_the_sentence_speaks_of_the_model():
    assert chat_failure("out of memory").message.startswith("There is not enough memory for the model.")
    assert chat_failure("does not support tools").message.startswith("The model cannot use tools.")


def test_a_long_text_is_cut_in_the_detail():
    detail = chat_failure("x" * 100_000).detail

    assert detail is not None
    assert len(detail) == 2_000


def test_bytes_that_are_not_ollamas_are_logged_once_and_shortened(caplog):
    failure = unexpected_answer(b"<html>" + b"x" * 1_000)

    assert len(caplog.records) == 1
    assert len(caplog.records[0].getMessage()) < 300
    assert failure.detail is not None
    assert failure.detail.startswith("<html>")
    assert len(failure.detail) == 200
