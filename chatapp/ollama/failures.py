"""The one place where what goes wrong with Ollama becomes an error of :mod:`chatapp.errors`.

Two roads lead here: exceptions of requests and urllib3 (:func:`translated`), and texts that Ollama itself
sends, as an error body or as a line inside a stream (:func:`chat_failure`, :func:`pull_failure`).
Ollama's texts name hosts, paths and numbers and change from version to version, so they are looked up by what
they contain; the raw text goes into ``detail``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import requests
import urllib3.exceptions

from chatapp.errors import (
    Invalid,
    ModelMissing,
    OllamaBroken,
    OllamaBusy,
    OllamaFailed,
    OllamaRefused,
    OllamaTimeout,
    OllamaUnreachable,
)
from chatapp.ollama.names import EXPECTED

_log = logging.getLogger(__name__)
_MAX_DETAIL = 2_000

_NO_ADDRESS = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
)

AnyFailure = OllamaFailed | ModelMissing | Invalid


class _Row(NamedTuple):
    """``{model}`` in the sentence stands for the model that was asked for."""

    contains: str
    error: type[AnyFailure]
    sentence: str


_DAMAGED = (
    "{model} cannot be used: its file is damaged, or of a kind that this Ollama does not know. "
    "Delete the model and download it again."
)
_NO_MEMORY = "There is not enough memory for {model}. Choose a smaller model, or unload another one."
_NO_IMAGES = "{model} cannot look at images. Choose a model that can, or ask without the image."
_TOO_LONG = "This chat is longer than {model} can take in. Start a new chat, or shorten the message."
_STOPPED_WORKING = "The model stopped working. Try again; if that happens again, choose a smaller model."
_NO_CLOUD = (
    "{model} runs on the computers of ollama.com, which is switched off here. "
    "Choose a model that is on this server."
)
_BUSY = "Ollama has too many requests waiting. Try again in a moment."
_NOT_INSTALLED = "{model} is not on this server. Ask root to download it on the Models page."

# The first row that fits decides, so the more telling texts stand above the more general ones.
_CHAT_ROWS = (
    _Row("server busy", OllamaBusy, _BUSY),
    _Row("maximum pending requests", OllamaBusy, _BUSY),
    _Row("cloud is disabled", OllamaRefused, _NO_CLOUD),
    _Row(
        "does not support chat",
        OllamaRefused,
        "{model} cannot chat, or its file is damaged. Choose another model.",
    ),
    _Row(
        "does not support thinking",
        OllamaRefused,
        "{model} cannot think aloud. Switch thinking off and try again.",
    ),
    _Row("does not support tools", OllamaRefused, "{model} cannot use tools. Choose a model that can."),
    _Row("does not support multimodal", OllamaRefused, _NO_IMAGES),
    _Row("exceeds the available context", OllamaRefused, _TOO_LONG),
    _Row("exceed_context_size", OllamaRefused, _TOO_LONG),
    _Row("requires more system memory", OllamaRefused, _NO_MEMORY),
    _Row("out of memory", OllamaRefused, _NO_MEMORY),
    _Row("insufficient memory", OllamaRefused, _NO_MEMORY),
    _Row("unable to allocate", OllamaRefused, _NO_MEMORY),
    _Row("cudamalloc failed", OllamaRefused, _NO_MEMORY),
    _Row("exceeds file size", OllamaRefused, _DAMAGED),
    _Row("unable to load model", OllamaRefused, _DAMAGED),
    _Row("error loading model", OllamaRefused, _DAMAGED),
    _Row("invalid file magic", OllamaRefused, _DAMAGED),
    _Row(
        "timed out waiting for",
        OllamaTimeout,
        "{model} took too long to load. Try again, or choose a smaller one.",
    ),
    _Row("error was encountered while running the model", OllamaBroken, _STOPPED_WORKING),
    _Row("runner has unexpectedly stopped", OllamaBroken, _STOPPED_WORKING),
    _Row("runner process", OllamaBroken, _STOPPED_WORKING),
    _Row("unexpected eof", OllamaBroken, _STOPPED_WORKING),
    _Row("invalid model name", Invalid, EXPECTED),
    _Row("model is required", Invalid, EXPECTED),
    _Row('" is invalid', Invalid, EXPECTED),
    _Row(
        "must be of type",
        OllamaRefused,
        "Ollama does not accept one of the options. Correct the options and try again.",
    ),
    _Row("not found", ModelMissing, _NOT_INSTALLED),
)

_SOURCE_AWAY = (
    "Ollama cannot reach the place that {model} comes from. "
    "Check the server's internet connection, then start the download again."
)
_SOURCE_REFUSES = (
    "The place that {model} comes from does not hand it out. It may be private, or need an account."
)
_NO_SPACE = (
    "There is not enough disk space for {model}. Delete a model or free some space, "
    "then start the download again; it goes on where it stopped."
)
_PULL_ROWS = (
    _Row("no space left", OllamaRefused, _NO_SPACE),
    _Row("not enough disk space", OllamaRefused, _NO_SPACE),
    _Row(
        "context canceled",
        OllamaBusy,
        "A download of {model} is just being stopped. Try again in a few seconds.",
    ),
    _Row("digest mismatch", OllamaBroken, "The download of {model} was damaged on its way. Start it again."),
    _Row(
        "pull model manifest: file does not exist",
        ModelMissing,
        "There is no model called {model}. Check the name and the part after the colon.",
    ),
    _Row(
        "file does not exist",
        OllamaRefused,
        "A part of {model} is missing where it comes from. Try again later.",
    ),
    _Row("manifest: 401", OllamaRefused, _SOURCE_REFUSES),
    _Row("manifest: 403", OllamaRefused, _SOURCE_REFUSES),
    _Row(
        "manifest: 404",
        ModelMissing,
        "There is no model called {model}. Check the name and the part after the colon.",
    ),
    _Row(
        "manifest: 412",
        OllamaRefused,
        "{model} needs a newer Ollama. Update Ollama, then start the download again.",
    ),
    _Row(
        "manifest: 429", OllamaBusy, "The place that {model} comes from is busy. Try again in a few minutes."
    ),
    _Row("manifest: 5", OllamaRefused, "The place that {model} comes from is out of order. Try again later."),
    _Row("invalid model name", Invalid, EXPECTED),
    _Row("model is required", Invalid, EXPECTED),
    _Row("manifest: get ", OllamaRefused, _SOURCE_AWAY),
    _Row("dial tcp", OllamaRefused, _SOURCE_AWAY),
    _Row("no such host", OllamaRefused, _SOURCE_AWAY),
    _Row("connection refused", OllamaRefused, _SOURCE_AWAY),
    _Row("connection reset", OllamaRefused, _SOURCE_AWAY),
    _Row("max retries exceeded", OllamaRefused, _SOURCE_AWAY),
    _Row("timeout", OllamaRefused, _SOURCE_AWAY),
    _Row("eof", OllamaRefused, _SOURCE_AWAY),
)


def chat_failure(text: str, *, model: str = "", status: int | None = None) -> AnyFailure:
    """Return the error for a text of Ollama about anything but a pull.

    Args:
        text: the value of ``error`` in a body or in a line.
        model: the model that was asked for, as the sentence should call it.
        status: the HTTP status, where there was one of its own.
    """
    fallback = _Row("", OllamaFailed, "Ollama could not do this. Try again, or choose another model.")
    if status == 503:
        fallback = _Row("", OllamaBusy, _BUSY)
    elif status is not None and 400 <= status < 500:
        fallback = _Row("", OllamaRefused, "Ollama refused this request. Try again, or choose another model.")
    return _look_up(_CHAT_ROWS, fallback, text, model)


def pull_failure(text: str, *, model: str = "", status: int | None = None) -> AnyFailure:  # noqa: ARG001
    """Return the error for a text of Ollama about a pull. The arguments are those of :func:`chat_failure`."""
    fallback = _Row("", OllamaFailed, "The download of {model} failed. Start it again.")
    return _look_up(_PULL_ROWS, fallback, text, model)


def door_closed(status: int, public_url: str) -> OllamaRefused:
    """Return the error for a bare 403 (Ollama does not like the Host it is called by) or a proxy's 401."""
    if status == 401:
        return OllamaRefused(
            f"The server at {public_url} asks for a password. Put it into OLLAMA_URL: http://user:password@host."
        )
    return OllamaRefused(
        f"Ollama at {public_url} refuses the name it is called by. "
        "Set OLLAMA_URL to its IP address, or to localhost if it runs on this machine."
    )


def unexpected_answer(start: bytes) -> OllamaBroken:
    """Return the error for bytes that are not Ollama's, and log the first 200 of them."""
    _log.warning("unexpected answer from Ollama: %r", start[:200])
    return OllamaBroken(
        "Unexpected answer from Ollama. Try again; if that happens again, "
        "check that OLLAMA_URL leads to Ollama and not to another server.",
        detail=start[:200].decode("utf-8", "replace"),
    )


def ended_early() -> OllamaBroken:
    """Return the error for a reply that just stops, without its last line."""
    return OllamaBroken("The reply ended early: Ollama stopped sending before it was complete. Try again.")


def pull_ended_early(model: str) -> OllamaBroken:
    """Return the error for a pull that just stops, without its last line."""
    return OllamaBroken(
        f"The download of {model} ended before it was complete. Start it again; it goes on where it stopped."
    )


def unwrapped(text: str) -> str:
    """Return the sentence inside an error text that is itself JSON, or ``text`` when it is not.

    Since 0.30 Ollama passes the inference process's error bodies on as text.
    """
    try:
        inner = json.loads(text)["error"]
        message = inner["message"] if isinstance(inner, dict) else inner
    except (ValueError, KeyError, TypeError, RecursionError):
        return text
    return message if isinstance(message, str) else text


@contextmanager
def translated(name: str, if_absent: Callable[[], str], waiting: str) -> Iterator[None]:
    """Turn what requests and urllib3 raise into our errors.

    Args:
        name: what people know the other side by.
        if_absent: makes the sentence for an Ollama that does not answer at all.
        waiting: the sentence for a read timeout.
    """
    try:
        yield
    except (requests.exceptions.ReadTimeout, urllib3.exceptions.ReadTimeoutError) as error:
        raise OllamaTimeout(waiting, detail=_root_cause(error)) from error
    except _NO_ADDRESS as error:
        raise OllamaUnreachable(if_absent(), detail=_root_cause(error)) from error
    except requests.exceptions.ConnectionError as error:
        if _never_connected(error):
            raise OllamaUnreachable(if_absent(), detail=_root_cause(error)) from error
        raise _hung_up(name, error) from error
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise _hung_up(name, error) from error


def _never_connected(error: requests.exceptions.ConnectionError) -> bool:
    """True when no connection came about: requests then wraps urllib3's MaxRetryError."""
    return isinstance(error, requests.exceptions.ConnectTimeout | requests.exceptions.SSLError) or (
        bool(error.args) and isinstance(error.args[0], urllib3.exceptions.MaxRetryError)
    )


def _hung_up(name: str, error: Exception) -> OllamaBroken:
    return OllamaBroken(
        f"{name} closed the connection before its answer was complete. Try again; if that happens again, "
        f"look at {name}'s own log.",
        detail=_root_cause(error),
    )


def _root_cause(error: BaseException) -> str:
    """Return what the operating system or the HTTP parser said, without the layers wrapped around it."""
    while deeper := error.__cause__ or error.__context__:
        error = deeper
    return (str(error) or type(error).__name__)[:_MAX_DETAIL]


def _look_up(rows: tuple[_Row, ...], fallback: _Row, text: str, model: str) -> AnyFailure:
    plain = unwrapped(text)
    lowered = plain.lower()
    row = next((row for row in rows if row.contains in lowered), fallback)
    sentence = row.sentence.replace("{model}", model or "the model")
    if not model:
        sentence = sentence[0].upper() + sentence[1:]
    field = "model" if row.error is Invalid else None
    return row.error(sentence, field=field, detail=plain[:_MAX_DETAIL])
