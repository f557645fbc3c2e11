"""Ollama's request options: their types, their defaults, and what llama.cpp calls them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

from chatapp.engine.wire import ApiError, Fields, Json

DEFAULT_NUM_CTX = 4096
DEFAULT_KEEP_ALIVE_S = 300.0
FOR_EVER_S = math.inf
_SMALLEST_NUM_CTX = 64

_TYPES = {
    "integer": "num_ctx num_batch num_gpu main_gpu num_thread draft_num_predict "
    "num_keep seed num_predict top_k repeat_last_n",
    "float32": "temperature top_p min_p typical_p repeat_penalty presence_penalty frequency_penalty",
    "boolean": "use_mmap",
    "array": "stop",
}
_TYPE_OF = {name: kind for kind, names in _TYPES.items() for name in names.split()}
# Ollama's own defaults, where llama.cpp's differ.
_DEFAULTS: Json = {"temperature": 0.8, "top_k": 40, "top_p": 0.9, "min_p": 0.0}
_LLAMA_NAMES = {
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "typical_p": "typ_p",
    "repeat_penalty": "repeat_penalty",
    "repeat_last_n": "repeat_last_n",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
}
_DURATION_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNIT_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Options:
    """Options after the model's own and the request's have been laid over the defaults.

    ``num_ctx`` takes effect when a model is loaded, so a change of it reloads the model. ``num_predict`` of 0 or
    less means: until the model stops or the context is full.
    """

    num_ctx: int = DEFAULT_NUM_CTX
    num_predict: int = -1
    seed: int = -1
    stop: tuple[str, ...] = ()
    sampling: Json = field(default_factory=dict)

    def as_llama_request(self) -> Json:
        request: Json = {_LLAMA_NAMES[name]: value for name, value in self.sampling.items()}
        if request.get("repeat_penalty", 1) <= 0:
            request["repeat_penalty"] = 1.0
        if request.get("repeat_last_n", 0) < 0:
            request["repeat_last_n"] = self.num_ctx
        if self.num_predict > 0:
            request["max_tokens"] = self.num_predict
        if self.seed >= 0:
            request["seed"] = self.seed % 2**32
        if self.stop:
            request["stop"] = list(self.stop)
        return request


def read_options(asked: Json, of_model: Json, trained_num_ctx: int) -> Options:
    """Return the options in force. Unknown names are ignored, as Ollama ignores them.

    Args:
        asked: the request's ``options``.
        of_model: the options that come with the model.
        trained_num_ctx: how many tokens the model was trained on, the most that makes sense; 0 when
            unknown, and then more than the default is not given.

    Raises:
        ApiError: 500, an option has a wrong type (the status and text are Ollama's).
    """
    values = _DEFAULTS | of_model | {name: _checked(name, value) for name, value in _known(asked)}
    return Options(
        num_ctx=_fitting_num_ctx(int(values.get("num_ctx", DEFAULT_NUM_CTX)), trained_num_ctx),
        num_predict=int(values.get("num_predict", -1)),
        seed=int(values.get("seed", -1)),
        stop=tuple(word for word in values.get("stop", ()) if word),
        sampling={name: values[name] for name in _LLAMA_NAMES if name in values},
    )


def read_keep_alive_s(fields: Fields) -> float | None:
    """Return for how many seconds the model stays after the answer, ``None`` when the request does not say.

    Raises:
        ApiError: 400, it is neither a number of seconds nor a duration such as ``10m``.
    """
    value = fields.values.get("keep_alive")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ApiError(400, f"invalid duration: {value!r}" if isinstance(value, bool) else "invalid duration")
    seconds = _duration_s(value) if isinstance(value, str) else float(value)
    return FOR_EVER_S if seconds < 0 else seconds


def _known(asked: Json) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in asked.items() if name in _TYPE_OF and value is not None]


def _checked(name: str, value: Any) -> Any:
    kind = _TYPE_OF[name]
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == "array" and isinstance(value, list):
        if not all(isinstance(item, str) for item in value):
            raise ApiError(500, f'option "{name}" must be of an array of strings')
        return value
    if kind == "integer" and is_number:
        return int(_within(2**53 if name == "seed" else 2**31 - 1, value))
    if kind == "float32" and is_number:
        return _within(1e9, value)
    if kind == "boolean" and isinstance(value, bool):
        return value
    raise ApiError(500, f'option "{name}" must be of type {kind}')


def _within(limit: float, value: float) -> float:
    # JSON can carry numbers beyond what llama.cpp's integers and floats hold.
    return max(-limit, min(limit, value))


def _fitting_num_ctx(num_ctx: int, trained_num_ctx: int) -> int:
    return max(_SMALLEST_NUM_CTX, min(num_ctx, trained_num_ctx or DEFAULT_NUM_CTX))


def _duration_s(text: str) -> float:
    body = text.lstrip("+-")
    parts = _DURATION_PART.findall(body)
    if body == "0":
        return 0.0
    if not parts or "".join(number + unit for number, unit in parts) != body:
        problem = "missing unit in" if re.fullmatch(r"[\d.]+", body) else "invalid"
        raise ApiError(400, f'time: {problem} duration "{text}"')
    seconds = sum(float(number) * _UNIT_S[unit] for number, unit in parts)
    return -seconds if text.startswith("-") else seconds
