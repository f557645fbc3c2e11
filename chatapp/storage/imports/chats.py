"""A chats.json of a simpler layout: a list or an object of chats, or one list of chats per user."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from chatapp.ids import new_id, now_utc
from chatapp.models import ChatSummary, Message, User
from chatapp.storage.chat_state import ChatState
from chatapp.storage.chat_state import text_of as text_of_message
from chatapp.storage.imports.entries import Rejected, new_state
from chatapp.storage.imports.turns import (
    CREATED,
    MESSAGES,
    OWNERS,
    ROLES,
    SPEAKERS,
    TITLES,
    UPDATED,
    is_talk,
    single_messages,
    with_messages,
)
from chatapp.storage.imports.users import user_id
from chatapp.storage.imports.values import (
    field_of,
    first_of,
    fitting_id,
    in_words,
    lenient,
    reference,
    text_of,
    time_of,
    without,
)
from chatapp.storage.user_table import name_key

_CONTENTS = ("content", "text", "message")


class Owners:
    """Finds an account by what a chat says about its owner: an id, an id from before the import, or a name."""

    def __init__(self, users: Iterable[User]) -> None:
        users = list(users)
        self._ids = {user.id for user in users}
        self._names = {name_key(user.username): user.id for user in users}

    def find(self, value: Any) -> str | None:
        """Return the id of the account, or ``None``."""
        if isinstance(value, dict):
            value = first_of(value, ("id", "username", "name"))
        known = reference(value)
        if known is None:
            return None
        return next((each for each in (known, user_id(known)) if each in self._ids), None) or self._names.get(
            name_key(known)
        )


@dataclass(slots=True)
class PlainChats:
    """The chats of a plain file, by id, and those that could not be used."""

    held: dict[str, ChatState] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)


def read_chats(document: Any, owners: Owners) -> PlainChats:
    """Return the chats of a plain document, which is emptied meanwhile. Raises ``ValueError`` when it is no such."""
    found = PlainChats()
    for place, (key, owner, value) in enumerate(_records(document, owners), 1):
        try:
            state = _chat(key, owner, value, owners, found.held)
            found.held[state.summary.id] = state
        except ValueError as error:
            found.rejected.append(Rejected(key or _label(place, value), value, in_words(error)))
    return found


def _label(place: int, value: Any) -> str:
    """Return how a chat without a key is called; never by its title, which only its owner may read."""
    known = reference(value.get("id")) if isinstance(value, dict) else None
    return known or f"chat {place}"


def _records(document: Any, owners: Owners) -> Iterator[tuple[str | None, Any, Any]]:
    """Yield each chat with its key and the owner under which it stood, where there are such."""
    if isinstance(document, dict) and isinstance(document.get("chats"), list | dict):
        document = document["chats"]
    if isinstance(document, list):
        yield from ((None, None, value) for value in _emptied(document))
    elif isinstance(document, dict):
        for key in list(document):
            yield from _under(key, document.pop(key), owners)
    else:
        raise ValueError("it is JSON, but neither a list nor an object of chats")


def _under(key: str, value: Any, owners: Owners) -> Iterator[tuple[str | None, Any, Any]]:
    """Yield what stands under a key of the document: one chat, or the chats of one user."""
    if isinstance(value, list) and not is_talk(value):
        for each in _emptied(value):
            yield None, key, {"messages": each} if isinstance(each, list) and is_talk(each) else each
    elif isinstance(value, list):
        yield None, key, {"messages": value}
    elif isinstance(value, dict) and _is_group(value) and (value or owners.find(key)):
        yield from ((chat_id, key, value.pop(chat_id)) for chat_id in list(value))
    else:
        yield key, None, value


def _emptied(values: list[Any]) -> Iterator[Any]:
    """Yield every value and let go of it, so that a large document is never held twice."""
    values.reverse()
    while values:
        yield values.pop()


def _is_group(value: Mapping[str, Any]) -> bool:
    return first_of(value, MESSAGES) is None and all(isinstance(each, dict) for each in value.values())


def _chat(
    key: str | None, owner: Any, value: Any, owners: Owners, taken: Mapping[str, ChatState]
) -> ChatState:
    """Return a chat. Raises ``ValueError`` with the reason why it cannot be used."""
    if not isinstance(value, dict):
        raise ValueError("it is no object")
    value = with_messages(value)
    named = first_of(value, OWNERS)
    named = owner if named is None else named
    owner_id = owners.find(named)
    if owner_id is None:
        raise ValueError(
            "it names no owner" if named is None else f"its owner {text_of(named)} is not in users.json"
        )
    chat_id = fitting_id(key if key is not None else value.get("id")) or new_id()
    if chat_id in taken:
        chat_id = new_id()
    created_at = time_of(first_of(value, CREATED))
    messages = _Messages(created_at)
    messages.read(first_of(value, MESSAGES))
    created_at = created_at or messages.first_at or now_utc()
    latest = max(created_at, messages.latest_at or created_at)
    summary = lenient(ChatSummary, _summary(value) | {
        "id": chat_id, "owner_id": owner_id, "created_at": created_at,
        "updated_at": max(latest, time_of(first_of(value, UPDATED)) or latest),
    })  # fmt: skip
    return new_state(summary, messages.texts)


def _summary(value: Mapping[str, Any]) -> dict[str, Any]:
    consumed = {"id", "crc", "messages"} | {
        field_of(value, names) for names in (OWNERS, TITLES, MESSAGES, CREATED, UPDATED)
    }
    return without(value, consumed) | {
        "title": text_of(first_of(value, TITLES)),
        "model": text_of(value.get("model")) or None,
        "deleted_at": time_of(value.get("deleted_at")),
    }


class _Messages:
    """The messages of a chat, read one after another and kept as the files hold them.

    Args:
        created_at: when the chat was made, if that is known: the time of messages that have none.
    """

    def __init__(self, created_at: datetime | None) -> None:
        self.texts: dict[str, bytes] = {}
        self.first_at: datetime | None = None
        self.latest_at: datetime | None = None
        self._before_at = created_at or now_utc()
        self._before: str | None = None
        self._ids: dict[str, str] = {}
        """New ids by those that the file has."""

    def read(self, values: Any) -> None:
        """Raises ``ValueError`` with the reason why the chat cannot be used."""
        if not isinstance(values, list | None):
            raise ValueError("its messages are no list")
        for place, value in enumerate(values or (), 1):
            for message in single_messages(place, value):
                self._add(place, message)

    def _add(self, place: int, value: Mapping[str, Any]) -> None:
        message = self._message(place, value)
        self.texts[message.id] = text_of_message(message)
        self._ids[reference(value.get("id")) or message.id] = message.id
        self._before, self._before_at = message.id, message.created_at
        self.first_at = self.first_at or message.created_at
        self.latest_at = max(self.latest_at or message.created_at, message.created_at)

    def _message(self, place: int, value: Mapping[str, Any]) -> Message:
        speaker = first_of(value, SPEAKERS)
        role = ROLES.get(str(speaker).casefold())
        if role is None:
            raise ValueError(f"the role {text_of(speaker)!r} of its message {place} is not known")
        message_id = fitting_id(value.get("id"))
        consumed = {field_of(value, names) for names in (_CONTENTS, CREATED, SPEAKERS)}
        return lenient(Message, without(value, consumed) | {
            "id": message_id if message_id and message_id not in self.texts else new_id(),
            "role": role,
            "content": text_of(first_of(value, _CONTENTS)),
            "parent_id": self._parent(value),
            "model": text_of(value.get("model")) or None,
            "created_at": time_of(first_of(value, CREATED)) or self._before_at,
        })  # fmt: skip

    def _parent(self, value: Mapping[str, Any]) -> str | None:
        """Return what a message answers: the one before, unless it names an earlier one or none."""
        if "parent_id" in value and value["parent_id"] is None:
            return None
        return self._ids.get(reference(value.get("parent_id")) or "", self._before)
