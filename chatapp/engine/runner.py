"""One model in memory: llama.cpp, through xllamacpp, behind the two calls this engine needs."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatapp.engine.wire import ApiError, Json

log = logging.getLogger(__name__)

# One batch of the prompt is the longest time for which a client's hanging up goes unnoticed. On processors, larger
# ones gained nothing (3,031 tokens: 512 took 11.3 s, 128 took 9.2 s, 64 took 9.0 s).
_BATCH_TOKENS = 64


_MOST_THREADS = 8


@dataclass(frozen=True, slots=True)
class Piece:
    content: str
    thinking: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    prompt_tokens: int = 0
    prompt_ns: int = 0
    reply_tokens: int = 0
    reply_ns: int = 0
    done_reason: str = "stop"


class PromptTooLong(Exception):
    """The prompt takes more tokens than it may; nothing was computed."""

    def __init__(self, prompt_tokens: int, num_ctx: int) -> None:
        size = f"request ({prompt_tokens} tokens)"
        super().__init__(f"{size} exceeds the available context size ({num_ctx} tokens)")
        self.prompt_tokens = prompt_tokens


class Runner:
    """A loaded model. One chat at a time; :class:`chatapp.engine.scheduler.Scheduler` sees to that."""

    def __init__(self, weights: Path, num_ctx: int) -> None:
        """Load the weights, which takes from tenths of a second to minutes.

        Raises:
            ApiError: 500, llama.cpp is not installed, or it cannot load these weights.
        """
        self.num_ctx = num_ctx
        self._server = _start_llama(weights, num_ctx)

    def chat(
        self, request: Json, room_tokens: int, on_piece: Callable[[Piece], None], check: Callable[[], None]
    ) -> Counts:
        """Answer one chat and return its counts; blocks until the end.

        Args:
            request: llama.cpp's own request, without ``stream``.
            room_tokens: the most that the prompt may take.
            on_piece: gets every piece of text. What it raises ends the generation at once and is raised here.
            check: called between the batches of the prompt and with every piece; raises to end the generation.

        Raises:
            PromptTooLong: before anything was computed.
            ApiError: llama.cpp refused or failed.
        """
        listener = _Listener(room_tokens, self.num_ctx, on_piece, check)
        streaming = {"stream": True, "return_progress": True, "stream_options": {"include_usage": True}}
        try:
            self._server.handle_chat_completions({**request, **streaming}, listener)
        except (ValueError, RuntimeError) as error:
            raise ApiError(500, str(error)) from None
        return listener.result()

    def close(self) -> None:
        """Give the memory back. The runner cannot be used afterwards."""
        self._server = None


class _Listener:
    """Takes llama.cpp's chunks. Returning ``True`` stops it; exceptions are kept, they must not cross C++."""

    def __init__(
        self, room_tokens: int, num_ctx: int, on_piece: Callable[[Piece], None], check: Callable[[], None]
    ) -> None:
        self._room_tokens = room_tokens
        self._num_ctx = num_ctx
        self._on_piece = on_piece
        self._check = check
        self._failure: BaseException | None = None
        self._done_reason = ""
        self._counts = Counts()

    def __call__(self, chunk: Json) -> bool:
        try:
            self._check()
            self._take(chunk)
        except BaseException as error:  # noqa: BLE001 (raised again in result())
            self._failure = error
        return self._failure is not None

    def result(self) -> Counts:
        if self._failure is not None:
            raise self._failure
        return self._counts

    def _take(self, chunk: Json) -> None:
        if "error" in chunk:
            raise self._refusal(chunk["error"])
        if progress := chunk.get("prompt_progress"):
            self._refuse_too_long(progress["total"])
        for choice in chunk.get("choices", ()):
            self._take_choice(choice)
        if "usage" in chunk:
            self._counts = _counts(chunk, self._done_reason)

    def _take_choice(self, choice: Json) -> None:
        delta = choice.get("delta", {})
        piece = Piece(delta.get("content") or "", delta.get("reasoning_content") or "")
        if piece.content or piece.thinking:
            self._on_piece(piece)
        self._done_reason = choice.get("finish_reason") or self._done_reason

    def _refuse_too_long(self, prompt_tokens: int) -> None:
        if prompt_tokens > self._room_tokens:
            raise PromptTooLong(prompt_tokens, self._num_ctx)

    def _refusal(self, error: Any) -> Exception:
        if isinstance(error, dict) and error.get("type") == "exceed_context_size_error":
            return PromptTooLong(int(error["n_prompt_tokens"]), self._num_ctx)
        text = error.get("message") if isinstance(error, dict) else error
        return ApiError(500, str(text))


def _counts(chunk: Json, done_reason: str) -> Counts:
    usage, timings = chunk["usage"], chunk.get("timings", {})
    return Counts(
        prompt_tokens=usage["prompt_tokens"],
        prompt_ns=int(timings.get("prompt_ms", 0) * 1_000_000),
        reply_tokens=usage["completion_tokens"],
        reply_ns=int(timings.get("predicted_ms", 0) * 1_000_000),
        done_reason="length" if done_reason == "length" else "stop",
    )


def _start_llama(weights: Path, num_ctx: int) -> Any:
    try:
        # Imported here: it is large, and the engine answers before any model is asked for.
        import xllamacpp
    except ImportError as error:
        cure = "pip install -r requirements-engine.txt"
        raise ApiError(500, f"llama.cpp is not installed ({error}): {cure}") from None
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chatapp-engine-") as folder:
        # llama.cpp always opens a listener. In a folder of our own (0700), removed as soon as it stands, nobody
        # can ever reach it, and there is no port.
        parameters = _parameters(xllamacpp, weights, num_ctx, str(Path(folder, "llama.sock")))
        try:
            server = xllamacpp.Server(parameters)
        except RuntimeError:
            raise ApiError(500, f"unable to load model: {weights}") from None
    log.info("loaded %s, context %d, in %.1f s", weights.name, num_ctx, time.monotonic() - started)
    return server


def _parameters(xllamacpp: Any, weights: Path, num_ctx: int, socket_path: str) -> Any:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(weights)
    parameters.hostnames = [socket_path]
    parameters.n_ctx = num_ctx
    parameters.n_parallel = 1
    parameters.n_batch = parameters.n_ubatch = _BATCH_TOKENS
    for processors in (parameters.cpuparams, parameters.cpuparams_batch):
        processors.n_threads = _threads()
        processors.poll = 0
    # A cache of earlier prompts may take 8 GB by default; the running chat's own is kept in any case.
    parameters.cache_ram_mib = 0
    parameters.fit_params = False
    parameters.warmup = False
    parameters.ui = False
    parameters.verbosity = 0
    return parameters


def _threads() -> int:
    # llama.cpp's threads wait for each other at every layer: one that has to share its core holds up all of them
    # (two threads on two busy cores: 1 to 14 tokens/s, one thread: 61 to 113). So one core is left for the others.
    present = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(min(present, _allowed_processors()) - 1, _MOST_THREADS))


def _allowed_processors() -> int:
    # A container may see all processors of its host and still be held to the time of a few.
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, int(quota) // int(period))
    except (OSError, ValueError):  # no control groups here, or the quota is the word "max"
        return sys.maxsize
