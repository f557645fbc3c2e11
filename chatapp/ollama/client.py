"""Everything this application says to Ollama, one method per endpoint, named like it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from chatapp.ollama import rows
from chatapp.ollama.answers import expect_success, read_object
from chatapp.ollama.exchange import Address, Exchange, Request
from chatapp.ollama.failures import chat_failure
from chatapp.ollama.names import ModelName
from chatapp.ollama.streams import ChatStream, PullStream
from chatapp.ollama.types import ModelDetails, ModelInfo, RunningModel, Version

# Deleting tens of gigabytes, or unloading them, takes a disk or a graphics card its time.
_HOUSEKEEPING_TIMEOUT_S = 60.0
# A pull is silent while a large layer is verified.
_PULL_SILENCE_S = 600.0
# Without messages /api/chat only loads the model, or unloads it.
_ONLY_LOAD: Mapping[str, Any] = {"messages": [], "stream": False}


class OllamaClient:
    """Speaks to one Ollama. Holds no connection and no state, so any number of threads may use it.

    Every method raises an :class:`~chatapp.errors.OllamaFailed` or one of its kinds when Ollama cannot be
    reached, is silent for too long, or answers with an error; :class:`~chatapp.errors.ModelMissing` when it
    does not have the model; :class:`~chatapp.errors.Invalid` when a name is not a model name. Nothing is
    tried twice, redirects are not followed, proxies named in the environment are not used.

    Args:
        base_url: ``http(s)://[user:password@]host[:port][/path]``.
        connect_timeout_s: to reach Ollama at all.
        read_timeout_s: silence in a plain answer.
        first_token_timeout_s: silence before the first line of a reply; a model may have to be loaded.
        stall_timeout_s: silence between two lines of a reply.
        name: what people know this Ollama by, for sentences.
        if_absent: makes the sentence for an Ollama that does not answer; by default one about its address.
    """

    def __init__(
        self,
        base_url: str,
        *,
        connect_timeout_s: float = 2.0,
        read_timeout_s: float = 10.0,
        first_token_timeout_s: float = 600.0,
        stall_timeout_s: float = 120.0,
        name: str = "Ollama",
        if_absent: Callable[[], str] | None = None,
    ) -> None:
        url = base_url.rstrip("/")
        public_url = _without_credentials(url)
        self._address = Address(url, public_url, name, if_absent or partial(_start_it, public_url))
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._first_token_timeout_s = first_token_timeout_s
        self._stall_timeout_s = stall_timeout_s

    @property
    def base_url(self) -> str:
        """The address as it is called, with a password if it has one: not for showing."""
        return self._address.url

    @property
    def public_url(self) -> str:
        """The address as it may be shown."""
        return self._address.public_url

    def version(self) -> Version:
        return rows.version(self._ask("GET", "/api/version"))

    def tags(self) -> list[ModelInfo]:
        """Return the installed models, sorted by name."""
        return rows.models(self._ask("GET", "/api/tags"))

    def ps(self) -> list[RunningModel]:
        """Return the models in memory, the one that stays longest first."""
        return rows.running_models(self._ask("GET", "/api/ps"))

    def show(self, name: str) -> ModelDetails:
        return rows.model_details(self._ask("POST", "/api/show", model=name))

    def delete(self, name: str) -> None:
        """Delete a model. A reply that it is making goes on to its end."""
        with closing(self._exchange("DELETE", "/api/delete", name, {}, _HOUSEKEEPING_TIMEOUT_S)) as exchange:
            expect_success(exchange, partial(chat_failure, model=name), self.public_url)

    def load(self, name: str) -> None:
        """Load a model into memory; returns when it is there."""
        self._ask("POST", "/api/chat", model=name, body=_ONLY_LOAD, timeout_s=self._first_token_timeout_s)

    def unload(self, name: str) -> None:
        """Take a model out of memory; while it makes a reply, when that has ended."""
        body = {**_ONLY_LOAD, "keep_alive": 0}
        self._ask("POST", "/api/chat", model=name, body=body, timeout_s=_HOUSEKEEPING_TIMEOUT_S)

    def chat(
        self,
        model: str,
        messages: Sequence[Mapping[str, Any]],
        *,
        options: Mapping[str, Any] | None = None,
        think: bool | str | None = None,
    ) -> ChatStream:
        """Return the reply to ``messages``; nothing is sent before it is iterated. The caller closes it.

        Args:
            model: a model name.
            messages: Ollama's: ``role``, ``content`` and what else it knows.
            options: Ollama's generation parameters.
            think: whether a thinking model thinks, or how much; ``None`` leaves it to Ollama, which thinks.
        """
        body: dict[str, Any] = {"messages": list(messages), "stream": True}
        if options:
            body["options"] = dict(options)
        if think is not None:
            body["think"] = think
        exchange = self._exchange("POST", "/api/chat", model, body, self._first_token_timeout_s)
        return ChatStream(
            exchange, model=model, stall_timeout_s=self._stall_timeout_s, public_url=self.public_url
        )

    def pull(self, name: str) -> PullStream:
        """Return a pull; nothing is sent before it is iterated. The caller closes it.

        Leaving it early ends the pull at Ollama, unless another client waits for the same model.
        """
        exchange = self._exchange("POST", "/api/pull", name, {"stream": True}, _PULL_SILENCE_S)
        return PullStream(exchange, model=name, stall_timeout_s=_PULL_SILENCE_S, public_url=self.public_url)

    def _ask(
        self,
        method: str,
        path: str,
        *,
        model: str | None = None,
        body: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        with closing(
            self._exchange(method, path, model, body or {}, timeout_s or self._read_timeout_s)
        ) as exchange:
            expect_success(exchange, partial(chat_failure, model=model or ""), self.public_url)
            return read_object(exchange)

    def _exchange(
        self, method: str, path: str, model: str | None, fields: Mapping[str, Any], read_timeout_s: float
    ) -> Exchange:
        if model is not None:
            ModelName.parse(model)
            fields = {"model": model, **fields}
        request = Request(
            method=method,
            path=path,
            body=fields or None,
            connect_timeout_s=self._connect_timeout_s,
            read_timeout_s=read_timeout_s,
        )
        return Exchange(self._address, request)


def _start_it(public_url: str) -> str:
    return (
        f"Ollama does not answer at {public_url}. Start Ollama, or set OLLAMA_URL to the address it runs at."
    )


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
