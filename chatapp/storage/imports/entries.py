"""Entries of users.json and chats.json whose checksum does not fit: valid ones are taken as they stand now."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chatapp.models import ChatSummary, Message, Session, User
from chatapp.storage.chat_state import ChatState, new_chat, text_of
from chatapp.storage.imports.document import Ambiguous, NotJson, parse_members
from chatapp.storage.imports.values import fitting_id, storable, time_of
from chatapp.storage.lines import Head, Kind, encode_head
from chatapp.storage.snapshot import Damaged

_TIMES = ("created_at", "updated_at", "deleted_at", "last_used_at")


@dataclass(frozen=True, slots=True)
class Edited:
    """An entry that is valid JSON; ``line`` is where it stood."""

    line: Damaged
    key: str
    value: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rejected:
    """An entry of a document that is JSON as a whole, but no user or chat."""

    key: str
    value: Any
    reason: str


def edited_entries(broken: Sequence[Damaged]) -> tuple[list[Edited], list[Damaged]]:
    """Return the entries that broken lines hold, and the lines that are no JSON.

    Lines that follow one another are first read together: an editor may have given an entry several.
    """
    found: list[Edited] = []
    unread: list[Damaged] = []
    for run in _runs(broken):
        try:
            found += _entries(run)
        except NotJson:
            for line in run:
                try:
                    found += _entries([line])
                except Ambiguous as error:
                    unread.append(Damaged(line.offset, line.content, str(error)))
                except NotJson as error:
                    reason = f"{line.reason}, and it is no JSON: {error} at byte {line.offset + error.offset}"
                    unread.append(Damaged(line.offset, line.content, reason))
    return found, unread


def _runs(broken: Sequence[Damaged]) -> Iterator[list[Damaged]]:
    run: list[Damaged] = []
    for line in broken:
        if run and run[-1].offset + len(run[-1].content) + 1 != line.offset:
            yield run
            run = []
        run.append(line)
    if run:
        yield run


def _entries(run: Sequence[Damaged]) -> list[Edited]:
    first = run[0]
    members = parse_members(first.content if len(run) == 1 else b"\n".join(line.content for line in run))
    if not all(isinstance(value, dict) for value in members.values()):
        raise NotJson("it is no entry")
    lines = run if len(run) == len(members) else [first] * len(members)
    return [Edited(line, key, value) for line, (key, value) in zip(lines, members.items(), strict=True)]


def user_of(value: Mapping[str, Any]) -> User:
    """Return the user that an entry holds. Raises ``ValueError``."""
    user = User.model_validate(_prepared(value))
    sessions = tuple(Session.model_validate(_prepared(each)) for each in value.get("sessions", ()))
    return storable(user.model_copy(update={"sessions": sessions}))


def chat_of(chat_id: str, value: Mapping[str, Any]) -> ChatState:
    """Return the chat that an entry holds. Raises ``ValueError``."""
    if fitting_id(chat_id) is None:
        raise ValueError("its id cannot stand in an address")
    messages = value.get("messages", ())
    if not isinstance(messages, list | tuple):
        raise ValueError("its messages are no list")
    texts: dict[str, bytes] = {}
    for each in messages:
        message = Message.model_validate(_prepared(each))
        if message.id in texts:
            raise ValueError("two of its messages have the same id")
        texts[message.id] = text_of(message)
    summary = {name: each for name, each in value.items() if name != "messages"}
    return new_state(ChatSummary.model_validate({**_prepared(summary), "id": chat_id}), texts)


def _prepared(value: Any) -> Any:
    """Return an entry without its old checksum, its times with a zone, as those of all others have one."""
    if not isinstance(value, Mapping):
        return value
    times = {name: time_of(value[name]) or value[name] for name in _TIMES if name in value}
    return {name: each for name, each in value.items() if name != "crc"} | times


def new_state(summary: ChatSummary, texts: Mapping[str, bytes]) -> ChatState:
    """Return a chat that is in no snapshot. Raises ``ValueError`` when its summary holds what cannot be stored.

    Args:
        texts: its messages as the files hold them, by id.
    """
    return new_chat(storable(summary), texts)


def head_of(kind: Kind, document: Mapping[str, Any]) -> Head:
    """Return the head of a file of ours that another program wrote anew. Raises ``ValueError``.

    Its numbers say where the journal goes on, so they must still fit their checksum.
    """
    seq, gen, count, site = (document.get(name) for name in ("seq", "gen", "count", "site"))
    if not (isinstance(seq, int) and isinstance(gen, int) and isinstance(count, int)):
        raise ValueError("the numbers at its beginning are missing")
    head = Head(kind, seq, gen, count, site if isinstance(site, dict) else {})
    if f'"crc":"{document.get("crc")}"'.encode() not in encode_head(head)[-40:]:
        raise ValueError("the checksum of its first line does not fit the numbers there")
    return head


def as_json(rejected: Sequence[Rejected]) -> bytes:
    """Return rejected entries as one readable document."""
    document = [{"entry": each.key, "reason": each.reason, "value": each.value} for each in rejected]
    return json.dumps(document, ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace") + b"\n"
