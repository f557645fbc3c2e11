"""The forms in which other programs keep what was said: messages, pairs of question and answer, role and text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chatapp.models import ChatSummary
from chatapp.storage.imports.values import field_of, first_of, without

OWNERS = ("owner_id", "user_id", "owner", "user", "username")
TITLES = ("title", "name")
MESSAGES = ("messages", "history")
SPEAKERS = ("role", "sender", "from", "author")
CREATED = ("created_at", "created", "timestamp", "time", "date")
UPDATED = ("updated_at", "updated", "last_modified", "modified")
ROLES = {
    "user": "user", "human": "user",
    "assistant": "assistant", "bot": "assistant", "ai": "assistant", "model": "assistant",
    "system": "system", "developer": "system",
    "tool": "tool", "function": "tool",
}  # fmt: skip
_PAIRS = (("prompt", "response"), ("question", "answer"), ("user", "assistant"))
_ABOUT_A_CHAT = {"crc", *ChatSummary.model_fields, *OWNERS, *TITLES, *CREATED, *UPDATED}


def is_talk(values: list[Any]) -> bool:
    """Return whether a list holds what was said in one chat, not several chats."""
    return bool(values) and all(_is_turn(each) for each in values)


def _is_turn(value: Any) -> bool:
    if not isinstance(value, dict):
        return _is_role_and_text(value)
    if first_of(value, MESSAGES) is not None:
        return False
    return first_of(value, SPEAKERS) is not None or (
        _pair_of(value) is not None and first_of(value, TITLES) is None
    )


def _is_role_and_text(value: Any) -> bool:
    """Return whether this is ``["user", "Hello"]``."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(each, str) for each in value)
        and value[0].casefold() in ROLES
    )


def _pair_of(value: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the names under which a question and its answer stand; the answer may be missing."""
    return next(
        (
            (asked, answered)
            for asked, answered in _PAIRS
            if isinstance(value.get(asked), str)
            and answered in value
            and isinstance(value[answered], str | None)
        ),
        None,
    )


def with_messages(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a chat with its messages under a name that is known here, if it has any.

    Raises ``ValueError`` when it may have some under another name: an empty chat would hide them.
    """
    if field_of(value, MESSAGES) is not None:
        return value
    pair = _pair_of(value)
    if pair is not None:
        return without(value, pair) | {"messages": [{name: value[name] for name in pair}]}
    if any(
        each and isinstance(each, str | list | dict)
        for name, each in value.items()
        if name not in _ABOUT_A_CHAT
    ):
        raise ValueError("it has contents, but no messages under a name that is known here")
    return value


def single_messages(place: int, value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the messages in an entry of a list: one, or a question and its answer.

    Raises ``ValueError`` for what is neither.
    """
    if _is_role_and_text(value):
        yield {"role": value[0], "content": value[1]}
        return
    if not isinstance(value, dict):
        raise ValueError(f"its message {place} is no object")
    pair = _pair_of(value) if field_of(value, SPEAKERS) is None else None
    if pair is None:
        yield value
        return
    asked, answered = pair
    times = {name: value[name] for name in CREATED if name in value}
    yield {"role": "user", "content": value[asked], **times}
    if value[answered] is not None:
        yield without(value, pair) | {"role": "assistant", "content": value[answered]}
