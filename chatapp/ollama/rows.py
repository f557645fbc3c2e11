"""Ollama's JSON → :mod:`chatapp.ollama.types`, whatever the JSON looks like.

Nothing here raises. A value of the wrong type counts as left out; a row without a usable name is no row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from chatapp.errors import Invalid
from chatapp.ollama.names import ModelName
from chatapp.ollama.types import (
    ChatEnd,
    ChatPiece,
    ModelDetails,
    ModelInfo,
    PullStatus,
    RunningModel,
    Version,
)

_NS_PER_MS = 1_000_000
# Above this a JSON number is nonsense, and a browser could not hold it exactly.
_MAX_COUNT = 2**53


def version(answer: Mapping[str, Any]) -> Version:
    return Version(version=_text(answer.get("version")), engine=_text(answer.get("engine")) or None)


def models(answer: Mapping[str, Any]) -> list[ModelInfo]:
    """Return the rows of ``/api/tags``, sorted by name: Ollama's own order changes from call to call."""
    found = [_model(name, row) for name, row in _named_rows(answer)]
    return sorted(found, key=lambda model: (model.name.lower(), model.name))


def running_models(answer: Mapping[str, Any]) -> list[RunningModel]:
    """Return the rows of ``/api/ps`` in Ollama's order, the one that stays longest first."""
    return [_running_model(name, row) for name, row in _named_rows(answer)]


def model_details(answer: Mapping[str, Any]) -> ModelDetails:
    details = _mapping(answer.get("details"))
    return ModelDetails(
        license=_text(answer.get("license")),
        template=_text(answer.get("template")),
        parameters=_text(answer.get("parameters")),
        system=_text(answer.get("system")),
        capabilities=_texts(answer.get("capabilities")),
        context_length=_trained_context_length(_mapping(answer.get("model_info"))),
        format=_text(details.get("format")),
        family=_text(details.get("family")),
        parameter_size=_text(details.get("parameter_size")),
        quantization_level=_text(details.get("quantization_level")),
        modified_at=_time(answer.get("modified_at")),
    )


def chat_piece(line: Mapping[str, Any]) -> ChatPiece | None:
    """Return the text that a line of ``/api/chat`` adds, or ``None`` when it adds none."""
    message = _mapping(line.get("message"))
    piece = ChatPiece(content=_text(message.get("content")), thinking=_text(message.get("thinking")))
    return piece if piece.content or piece.thinking else None


def chat_end(line: Mapping[str, Any]) -> ChatEnd | None:
    """Return what the last line of a reply says about it, or ``None`` for every other line."""
    if line.get("done") is not True:
        return None
    return ChatEnd(
        done_reason=_text(line.get("done_reason")) or None,
        prompt_tokens=_count(line.get("prompt_eval_count")),
        reply_tokens=_count(line.get("eval_count")),
        load_ms=_ms(line.get("load_duration")),
        prompt_ms=_ms(line.get("prompt_eval_duration")),
        eval_ms=_ms(line.get("eval_duration")),
        total_ms=_ms(line.get("total_duration")),
    )


def pull_status(line: Mapping[str, Any]) -> PullStatus:
    return PullStatus(
        status=_text(line.get("status")),
        digest=_text(line.get("digest")) or None,
        total_bytes=_count(line.get("total")),
        completed_bytes=_count(line.get("completed")),
    )


def _named_rows(answer: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    rows = answer.get("models")
    for row in rows if isinstance(rows, list) else ():
        name = _text(_mapping(row).get("name")) or _text(_mapping(row).get("model"))
        if _is_name(name):
            yield name, row


def _is_name(text: str) -> bool:
    try:
        ModelName.parse(text)
    except Invalid:
        return False
    return True


def _model(name: str, row: Mapping[str, Any]) -> ModelInfo:
    details = _mapping(row.get("details"))
    return ModelInfo(
        name=name,
        size_bytes=_count(row.get("size")) or 0,
        digest=_text(row.get("digest")),
        modified_at=_time(row.get("modified_at")),
        parameter_size=_text(details.get("parameter_size")),
        quantization_level=_text(details.get("quantization_level")),
        family=_text(details.get("family")),
        capabilities=_texts(row.get("capabilities")),
        context_length=_count(details.get("context_length")) or None,
    )


def _running_model(name: str, row: Mapping[str, Any]) -> RunningModel:
    return RunningModel(
        name=name,
        digest=_text(row.get("digest")),
        size_bytes=_count(row.get("size")) or 0,
        size_vram_bytes=_count(row.get("size_vram")) or 0,
        expires_at=_time(row.get("expires_at")),
        context_length=_count(row.get("context_length")) or None,
    )


def _trained_context_length(model_info: Mapping[str, Any]) -> int | None:
    architecture = _text(model_info.get("general.architecture"))
    return _count(model_info.get(f"{architecture}.context_length")) or None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    if not isinstance(value, str):
        return ""
    # Half of a surrogate pair is legal in JSON and cannot be written as UTF-8.
    return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")


def _texts(value: object) -> tuple[str, ...]:
    texts = (_text(item) for item in value) if isinstance(value, list) else ()
    return tuple(text for text in texts if text)


def _count(value: object) -> int | None:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and 0 <= value <= _MAX_COUNT else None  # type: ignore[operator,return-value]


def _ms(value: object) -> float | None:
    duration_ns = _count(value)
    return None if duration_ns is None else duration_ns / _NS_PER_MS


def _time(value: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(_text(value))
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
