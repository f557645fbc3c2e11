"""What other programs write, brought into the form of the records here: ids, times, texts."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, TypeVar

from pydantic import ValidationError

from chatapp.ids import ID_LENGTH
from chatapp.models import Record

R = TypeVar("R", bound=Record)

_FITTING_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MILLISECONDS_FROM = 1e11
_NAMED = 5


def field_of(record: Mapping[str, Any], names: Iterable[str]) -> str | None:
    """Return which of these fields is the first that has a value, or ``None``."""
    return next((name for name in names if record.get(name) is not None), None)


def first_of(record: Mapping[str, Any], names: Iterable[str]) -> Any:
    """Return the value of the first of these fields that has one, or ``None``."""
    name = field_of(record, names)
    return None if name is None else record[name]


def without(record: Mapping[str, Any], names: Collection[str | None]) -> dict[str, Any]:
    """Return the fields that are not named."""
    return {name: value for name, value in record.items() if name not in names}


def reference(value: Any) -> str | None:
    """Return what names another record, as text: an id, a number or a name. ``None`` for anything else."""
    if isinstance(value, str) and value:
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def fitting_id(value: Any) -> str | None:
    """Return an id that can stand in an address of the site, or ``None``."""
    text = reference(value)
    return text if text is not None and _FITTING_ID.fullmatch(text) else None


def stable_id(*parts: str) -> str:
    """Return an id made from these texts: the same for the same, however often a file is imported."""
    return sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:ID_LENGTH]


def time_of(value: Any) -> datetime | None:
    """Return a time given as ISO text, or in seconds or milliseconds since 1970. ``None`` when it is none.

    Without a zone it is taken as UTC.
    """
    if isinstance(value, str):
        with suppress(ValueError, OverflowError):
            return _with_zone(datetime.fromisoformat(value.strip())).astimezone(UTC)
        with suppress(ValueError):
            value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    with suppress(ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(value / 1000 if abs(value) > _MILLISECONDS_FROM else value, UTC)
    return None


def _with_zone(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


def text_of(value: Any) -> str:
    """Return any value as text that can be stored; the parts of a list one after another."""
    if value is None:
        return ""
    if isinstance(value, list):
        return "".join(text_of(part.get("text") if isinstance(part, dict) else part) for part in value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def lenient(model: type[R], values: Mapping[str, Any]) -> R:
    """Return a record. A field that may be missing and holds what it cannot hold is kept as ``imported_…``.

    Raises ``ValueError`` when a field that must be there is wrong.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        wrong = {str(each["loc"][0]) for each in error.errors() if each["loc"]}
        if any(field.is_required() for name, field in model.model_fields.items() if name in wrong):
            raise
        return model.model_validate(
            {f"imported_{name}" if name in wrong else name: value for name, value in values.items()}
        )


def storable(record: R) -> R:
    """Return the record. Raises ``ValueError`` when it holds what JSON cannot, such as half of a surrogate pair."""
    record.model_dump_json()
    return record


def in_words(error: ValueError) -> str:
    """Return one line for a person about a record that is not valid."""
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:3])


def counted(number: int, noun: str) -> str:
    """Return ``1 chat`` or ``2,000 chats``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(names: Collection[str]) -> str:
    """Return the first few of many names, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(list(names)[:_NAMED]) + more
