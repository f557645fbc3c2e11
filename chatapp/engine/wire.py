"""Reading and writing JSON the way Ollama's server does, down to the texts of its refusals.

Programs match on those texts, so they are Go's own wherever a bad request is likely to meet them.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any, NoReturn

from chatapp.errors import Invalid
from chatapp.ids import now_utc
from chatapp.ollama.names import ModelName

Json = dict[str, Any]

KINDS = {
    str: "string",
    bool: "bool",
    int: "number",
    float: "number",
    list: "array",
    dict: "object",
    type(None): "null",
}
_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")
_SPACE = " \t\r\n"
# What Go writes for "for ever": a time 2^63 ns away.
FOR_EVER_AT = datetime(2319, 3, 1, tzinfo=UTC)


class ApiError(Exception):
    """An answer with this status and ``{"error": text}``; inside a stream that has begun, a last line with the text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class ClientGone(Exception):
    """The other side hung up. Nothing is left to be answered."""


def encode(value: Json) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def stamp(moment: datetime | None = None) -> str:
    """Return RFC 3339 in UTC; the present when no moment is given."""
    return (moment or now_utc()).astimezone(UTC).isoformat().replace("+00:00", "Z")


def decode_body(raw: bytes) -> Json:
    """Return the JSON object that ``raw`` begins with; what follows it is ignored, as Go's decoder does.

    Raises:
        ApiError: 400 with the text that Go's decoder would give.
    """
    text = raw.decode("utf-8", "replace").lstrip(_SPACE + "\ufeff")
    if not text:
        raise ApiError(400, "missing request body")
    try:
        value, _ = _DECODER.raw_decode(text)
    except json.JSONDecodeError as error:
        raise ApiError(400, _syntax_error(text, error)) from None
    except (RecursionError, ValueError):
        raise ApiError(400, "exceeded max depth") from None
    if not isinstance(value, dict):
        raise ApiError(400, f"json: cannot unmarshal {KINDS[type(value)]} into Go value of type api.Request")
    return dict(_without_half_pairs(value)) if _HALF_PAIR.search(text) else value


def _without_half_pairs(value: Any) -> Any:
    # JSON can spell half of a surrogate pair, which no UTF-8 can carry further.
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_without_half_pairs(item) for item in value]
    if isinstance(value, dict):
        return {_without_half_pairs(name): _without_half_pairs(item) for name, item in value.items()}
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise json.JSONDecodeError(f"Expecting value {name}", name, 0)


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _syntax_error(text: str, error: json.JSONDecodeError) -> str:
    # An error from _refuse_constant carries the constant alone, not the text around it.
    at = error.pos if error.doc == text else text.find(error.doc)
    while at < len(text) and text[at] in _SPACE:
        at += 1
    if at >= len(text) or error.msg.startswith("Unterminated string"):
        return "unexpected EOF"
    if error.msg.startswith(("Expecting property name", "Illegal trailing comma")):
        return f"invalid character {_quoted(text, at)} looking for beginning of object key string"
    if error.msg.startswith("Expecting value"):
        return _bad_value(text, at)
    return f"invalid character {_quoted(text, at)} after object key:value pair"


def _bad_value(text: str, at: int) -> str:
    for literal in ("null", "true", "false"):
        if text[at] == literal[0]:
            wrong = next((n for n, letter in enumerate(literal) if text[at + n : at + n + 1] != letter), 0)
            if at + wrong >= len(text):
                return "unexpected EOF"
            expected = f"(expecting '{literal[wrong]}')"
            return f"invalid character {_quoted(text, at + wrong)} in literal {literal} {expected}"
    return f"invalid character {_quoted(text, at)} looking for beginning of value"


def _quoted(text: str, at: int) -> str:
    return "'\\''" if text[at] == "'" else "'" + json.dumps(text[at], ensure_ascii=False)[1:-1] + "'"


class Fields:
    """Typed access to one JSON object. A field that is absent or null gives the default; a wrong type is 400.

    Args:
        values: the object.
        struct: the Go type that Ollama names in its refusals.
    """

    def __init__(self, values: Json, struct: str) -> None:
        self.values = values
        self._struct = struct

    def text(self, name: str, default: str = "") -> str:
        return str(self._typed(name, str, "string", default))

    def flag(self, name: str, default: bool) -> bool:
        return bool(self._typed(name, bool, "bool", default))

    def items(self, name: str) -> list[Any]:
        return list(self._typed(name, list, f"[]{name}", []))

    def object(self, name: str) -> Json:
        return dict(self._typed(name, dict, "map[string]interface {}", {}))

    def model(self) -> str:
        """Return the model's name as it was typed; the old field ``name`` is taken too. ``""`` when absent."""
        return self.text("model") or self.text("name")

    def _typed(self, name: str, kind: type, go_type: str, default: Any) -> Any:
        value = self.values.get(name)
        if value is None:
            return default
        if not isinstance(value, kind):
            what = f"{KINDS[type(value)]} into Go struct field {self._struct}.{name} of type {go_type}"
            raise ApiError(400, f"json: cannot unmarshal {what}")
        return value


def model_name(text: str, refusal: str = "invalid model name") -> ModelName:
    """Return the name's parts, or refuse with 400 and ``refusal``."""
    try:
        return ModelName.parse(text)
    except Invalid:
        raise ApiError(400, refusal) from None
