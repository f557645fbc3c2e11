"""A users.json of a simpler layout: a list or an object of accounts, under any of the usual names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from chatapp.ids import now_utc
from chatapp.models import User
from chatapp.storage.imports.values import (
    first_of,
    fitting_id,
    lenient,
    listed,
    reference,
    stable_id,
    storable,
    time_of,
    without,
)
from chatapp.storage.user_table import name_key

NO_PASSWORD = ""
_NAMES = ("username", "name", "user")
_PASSWORDS = ("password_hash", "password", "pw", "hash")
_HASH_METHODS = ("scrypt:", "pbkdf2:")
_DIGEST = re.compile(r"[0-9A-Fa-f]{32,128}")
_ROOT_FLAGS = ("is_root", "is_admin", "admin", "root")
_LIVE_FLAGS = ("is_active", "active", "enabled")
_CREATED = ("created_at", "created", "joined_at", "registered_at", "created_on")
_CHATS = ("chats", "conversations", "messages", "history")
_LONGEST_NAME = 128


@dataclass(slots=True)
class PlainUsers:
    """The accounts of a plain file, and what root has to know about them."""

    users: list[User] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def read_users(document: Any) -> PlainUsers:
    """Return the accounts of a plain document. Raises ``ValueError`` for what is no set of accounts."""
    records = list(_records(document))
    found = PlainUsers([_user(key, record) for key, record in records])
    _remark_passwords(found, [record for _, record in records])
    _remark_roles(found, [record for _, record in records])
    _remark_chats(found, [record for _, record in records])
    if found.users and not any(_has_role(record) for _, record in records):
        _make_oldest_root(found, [_created_at(record) for _, record in records])
    return found


def _records(document: Any) -> Iterator[tuple[str | None, Mapping[str, Any]]]:
    """Yield each account with the key under which it stood, if any."""
    if isinstance(document, dict) and _is_container(document.get("users")):
        document = document["users"]
    if isinstance(document, list):
        entries: list[tuple[str | None, Any]] = [(None, each) for each in document]
    elif isinstance(document, dict):
        entries = list(document.items())
    else:
        raise ValueError("it is JSON, but neither a list nor an object of users")
    for place, (key, value) in enumerate(entries):
        if isinstance(value, str) and value.startswith(_HASH_METHODS):
            value = {"password_hash": value}  # noqa: PLW2901 - the shortest form of an account
        if not isinstance(value, dict):
            raise ValueError(f"it is JSON, but its entry {key or place + 1} is no user")
        yield key, value


def _is_container(value: Any) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    return isinstance(value, list) and all(
        isinstance(each, dict) or (isinstance(each, str) and each.startswith(_HASH_METHODS)) for each in value
    )


def _user(key: str | None, record: Mapping[str, Any]) -> User:
    name_field = next((name for name in _NAMES if isinstance(record.get(name), str)), None)
    username = (record[name_field] if name_field else key or "").strip()
    if not username or len(username) > _LONGEST_NAME or not username.isprintable():
        raise ValueError(f"it is JSON, but the user {key or username!r} has no name that can be used")
    consumed = {name_field, "id", "role", "sessions", *_PASSWORDS, *_ROOT_FLAGS, *_LIVE_FLAGS, *_CREATED}
    user = lenient(
        User,
        without(record, {name for name in consumed if name})
        | {
            "id": _id(key, record, username),
            "username": username,
            "role": "root" if _is_root(record) else "user",
            "password_hash": _password_hash(record),
            "created_at": _created_at(record) or now_utc(),
            "disabled": record.get("disabled") is True
            or any(record.get(each) is False for each in _LIVE_FLAGS),
        },
    )
    return storable(user)


def _id(key: str | None, record: Mapping[str, Any], username: str) -> str:
    """Return the id by which chats may name the account: its own, or the key where that is not the name."""
    known = reference(record.get("id"))
    if known is None and key is not None and name_key(key) != name_key(username):
        known = key
    return user_id(known) if known else stable_id("username", name_key(username))


def user_id(known: str) -> str:
    """Return the id that an account gets here which had this one elsewhere."""
    return fitting_id(known) or stable_id("user id", known)


def _password_hash(record: Mapping[str, Any]) -> str:
    hashes = (record.get(name) for name in _PASSWORDS)
    return next((each for each in hashes if isinstance(each, str) and _is_hash(each)), NO_PASSWORD)


def _is_hash(text: str) -> bool:
    return text.startswith(_HASH_METHODS) and text.count("$") == 2


def _has_role(record: Mapping[str, Any]) -> bool:
    return first_of(record, ("role", *_ROOT_FLAGS)) is not None


def _is_root(record: Mapping[str, Any]) -> bool:
    return _role(record) in {"root", "admin"} or any(record.get(name) is True for name in _ROOT_FLAGS)


def _role(record: Mapping[str, Any]) -> str:
    return str(record.get("role") or "user").casefold()


def _created_at(record: Mapping[str, Any]) -> datetime | None:
    return time_of(first_of(record, _CREATED))


def _make_oldest_root(found: PlainUsers, created_at: Sequence[datetime | None]) -> None:
    latest = max((each for each in created_at if each), default=now_utc())
    place = min(range(len(created_at)), key=lambda at: (created_at[at] is None, created_at[at] or latest, at))
    root = found.users[place]
    found.users[place] = root.model_copy(update={"role": "root"})
    found.remarks.append(
        f"No account in users.json was marked as root; {root.username}, the oldest, is root now."
    )


def _remark_passwords(found: PlainUsers, records: Sequence[Mapping[str, Any]]) -> None:
    without_one = [user.username for user in found.users if user.password_hash == NO_PASSWORD]
    if without_one:
        found.remarks.append(
            f"These accounts have no password hash that is known here and cannot sign in: {listed(without_one)}. "
            f"Stop the server and run `.venv/bin/flask user reset-password {without_one[0]}`, one by one."
        )
    texts = [text for record in records for name in _PASSWORDS if isinstance(text := record.get(name), str)]
    others = [text for text in texts if text and not _is_hash(text) and "$" not in text]
    if others:
        form = (
            "in a form that is not known here" if all(map(_DIGEST.fullmatch, others)) else "as readable text"
        )
        found.remarks.append(
            f"users.json held passwords {form}. They were not taken over; delete that file from backups/ "
            "when you do not need it any more."
        )


def _remark_roles(found: PlainUsers, records: Sequence[Mapping[str, Any]]) -> None:
    unknown = [
        f"{user.username} ({record['role']})"
        for user, record in zip(found.users, records, strict=True)
        if _role(record) not in {"root", "admin", "user"}
    ]
    if unknown:
        found.remarks.append(
            f"These accounts had a role that is not known here and are users: {listed(unknown)}."
        )


def _remark_chats(found: PlainUsers, records: Sequence[Mapping[str, Any]]) -> None:
    having = [
        user.username
        for user, record in zip(found.users, records, strict=True)
        if any(isinstance(record.get(name), list | dict) and record[name] for name in _CHATS)
    ]
    if having:
        found.remarks.append(
            f"These accounts had chats inside users.json, which were not imported: {listed(having)}. They are in that "
            "file in backups/. To import them, start an empty data folder with it and a chats.json, one list per user."
        )
