"""Reading a request's body, form or JSON, into a checked schema. One strict reader for all routes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from flask import request
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import HTTPException

from chatapp.errors import ChatAppError, Invalid, UnsupportedType

S = TypeVar("S", bound=BaseModel)

_MAX_DEPTH = 32
_MAX_FIELDS = 100
_MAX_INTEGER_DIGITS = 30
_FORM = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"

# pydantic's codes, in words for people. Anything else gets pydantic's own message.
_SENTENCES = {
    "missing": "{field} is missing.",
    "string_type": "{field} must be text.",
    "bool_type": "{field} must be true or false.",
    "int_type": "{field} must be a whole number.",
    "float_type": "{field} must be a number.",
    "list_type": "{field} must be a list.",
    "dict_type": "{field} must be an object.",
    "extra_forbidden": "{field} is not known here.",
    "greater_than_equal": "{field} must be at least {ge}.",
    "less_than_equal": "{field} must be at most {le}.",
    "string_too_long": "{field} has at most {max_length} characters.",
    "too_long": "{field} has at most {max_length} entries.",
    "finite_number": "{field} must be a finite number.",
}


def read(schema: type[S]) -> S:
    """Return the body as ``schema``. Raises ``Invalid`` (field says which) and ``UnsupportedType``."""
    try:
        return schema.model_validate(fields(), strict=True)
    except ValidationError as error:
        raise _as_invalid(error) from error


def fields() -> dict[str, Any]:
    """Return the body's fields as they came; an empty body has none. Raises ``Invalid``, ``UnsupportedType``."""
    if request.content_encoding not in (None, "", "identity"):
        raise UnsupportedType("Send the body without Content-Encoding.")
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if charset not in ("utf-8", "utf8", "us-ascii"):
        raise UnsupportedType("Send the body as UTF-8.")
    if request.mimetype == "application/json":
        return parse_object(request.get_data(cache=True))
    if request.mimetype == _MULTIPART:
        return _unique((name, _typed(value)) for name, values in request.form.lists() for value in values)
    if request.mimetype == _FORM:
        return _unique((name, _typed(value)) for name, value in _form_pairs(request.get_data(cache=True)))
    if request.get_data(cache=True):
        raise UnsupportedType("Send a form or JSON (Content-Type: application/json).")
    return {}


def kept(name: str) -> str:
    """Return a text field for showing it again after an error, ``""`` when it cannot be read."""
    try:
        value = fields().get(name, "")
    except (ChatAppError, HTTPException):  # the latter: too large, or broken off
        return ""
    return value if isinstance(value, str) else ""


def parse_object(body: bytes) -> dict[str, Any]:
    """Return a JSON object. Raises ``Invalid`` for anything that two readers could understand differently."""
    try:
        text = body.decode("utf-8")
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_int=_integer,
            parse_float=_finite,
        )
    except UnicodeDecodeError as error:
        raise Invalid(f"The body is not UTF-8 (byte {error.start}).") from error
    except json.JSONDecodeError as error:
        raise Invalid(
            f"The body is not JSON: {error.msg}, line {error.lineno}, column {error.colno}."
        ) from error
    except RecursionError as error:
        raise Invalid("The JSON is nested too deeply.") from error
    if not isinstance(value, dict):
        raise Invalid("The body must be a JSON object, for example {}.")
    _check_texts(value, _MAX_DEPTH)
    return value


def _form_pairs(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            body.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS
        )
    except UnicodeDecodeError as error:
        raise Invalid("The form is not UTF-8.") from error
    except ValueError as error:
        raise Invalid(f"The form has more than {_MAX_FIELDS} fields.") from error


def _typed(value: str) -> str:
    """Return a form's text with the ends of lines that were typed: HTML forms send each as CR LF."""
    return value.replace("\r\n", "\n")


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise Invalid(f"{name[:60]} is given twice.", field=name[:60])
        found[name] = value
    return found


def _refuse_constant(word: str) -> None:
    raise Invalid(f"{word} is not a number in JSON.")


def _integer(digits: str) -> int:
    if len(digits) > _MAX_INTEGER_DIGITS:
        raise Invalid("A number in the JSON is too long.")
    return int(digits)


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise Invalid("A number in the JSON is too large.")
    return number


def _check_texts(value: Any, depth: int) -> None:
    """Refuse lone surrogates, which can be neither stored nor sent on, and deep nesting."""
    if depth == 0:
        raise Invalid("The JSON is nested too deeply.")
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise Invalid("A text in the JSON holds half a character (a lone surrogate).") from error
    elif isinstance(value, dict):
        for name, item in value.items():
            _check_texts(name, depth)
            _check_texts(item, depth - 1)
    elif isinstance(value, list):
        for item in value:
            _check_texts(item, depth - 1)


def _as_invalid(error: ValidationError) -> Invalid:
    fault = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in fault["loc"])[:60] or "body"
    if fault["type"] == "value_error":  # a rule of a schema, in its own words
        return Invalid(str(fault["ctx"]["error"]), field=field)
    sentence = _SENTENCES.get(fault["type"])
    if sentence is None:
        return Invalid(f"{field}: {fault['msg']}.", field=field)
    return Invalid(sentence.format(field=field, **fault.get("ctx", {})), field=field)
