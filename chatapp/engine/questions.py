"""Reading what /api/chat and /api/generate are asked, with Ollama's refusals."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, replace

from chatapp.engine.history import Message
from chatapp.engine.options import read_keep_alive_s
from chatapp.engine.wire import KINDS, ApiError, Fields, Json, model_name

_THINK_WORDS = ("high", "medium", "low", "max")


@dataclass(frozen=True, slots=True)
class Question:
    """What both endpoints ask for, checked as far as that goes without looking at the model."""

    typed_model: str
    messages: list[Message]
    options: Json
    keep_alive_s: float | None
    stream: bool
    truncate: bool
    think: bool | str | None
    format: Json | str | None
    has_images: bool = False
    has_tools: bool = False


def read_chat(body: Json) -> Question:
    fields = Fields(body, "ChatRequest")
    messages = [_read_message(message) for message in fields.items("messages")]
    question = replace(_read_shared(fields), messages=messages, has_tools=bool(fields.items("tools")))
    has_images = any(isinstance(m, dict) and m.get("images") for m in fields.items("messages"))
    return replace(question, has_images=has_images)


def read_generate(body: Json) -> Question:
    fields = Fields(body, "GenerateRequest")
    question = _read_shared(fields)
    if fields.text("suffix"):
        raise ApiError(400, f"{model_name(question.typed_model).full} does not support insert")
    if fields.flag("raw", False):
        raise ApiError(400, "raw prompts are not supported by this engine; leave raw out")
    prompt, system = fields.text("prompt"), fields.text("system")
    messages = [{"role": "system", "content": system}] if system else []
    _check_images(fields)
    return replace(
        question,
        messages=[*messages, {"role": "user", "content": prompt}] if prompt else [],
        has_images=bool(fields.items("images")),
    )


def _read_shared(fields: Fields) -> Question:
    typed = fields.model()
    if not typed:
        raise ApiError(400, "model is required")
    model_name(typed)
    return Question(
        typed_model=typed,
        messages=[],
        options=fields.object("options"),
        keep_alive_s=read_keep_alive_s(fields),
        stream=fields.flag("stream", True),
        truncate=fields.flag("truncate", True),
        think=_read_think(fields.values.get("think")),
        format=_read_format(fields.values.get("format")),
    )


def _read_message(value: object) -> Message:
    if not isinstance(value, dict):
        where = "Go struct field ChatRequest.messages of type api.Message"
        raise ApiError(400, f"json: cannot unmarshal {KINDS[type(value)]} into {where}")
    fields = Fields(value, "Alias")
    _check_images(fields)
    return {"role": fields.text("role").lower() or "user", "content": fields.text("content")}


def _check_images(fields: Fields) -> None:
    for index, image in enumerate(fields.items("images")):
        where = f"json: cannot unmarshal string into Alias.images.{index} of type api.ImageData"
        try:
            base64.b64decode(str(image), validate=True)
        except binascii.Error:
            at = _first_foreign(str(image))
            raise ApiError(400, f"{where}: illegal base64 data at input byte {at}") from None


def _first_foreign(text: str) -> int:
    return next(
        (at for at, letter in enumerate(text) if not (letter.isalnum() or letter in "+/=")), len(text)
    )


def _read_think(value: object) -> bool | str | None:
    if value is None or isinstance(value, bool) or value in _THINK_WORDS:
        return value
    words = '"high", "medium", "low", "max", true, or false'
    raise ApiError(400, f"invalid think value: {json.dumps(value, ensure_ascii=False)} (must be {words})")


def _read_format(value: object) -> Json | str | None:
    if not value or value == "json" or isinstance(value, dict):
        return value or None  # type: ignore[return-value]
    written = json.dumps(json.dumps(value, ensure_ascii=False), ensure_ascii=False)
    raise ApiError(500, f'invalid format: {written}; expected "json" or a valid JSON Schema object')
