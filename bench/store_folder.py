"""The data folders that ``bench.store`` measures: realistic chats, made without asking a store for each of them."""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from chatapp.ids import new_id
from chatapp.models import Chat, Message
from chatapp.storage.chat_state import ChatState
from chatapp.storage.files import Files
from chatapp.storage.json_store import open_store
from chatapp.storage.lines import Head, encode_record
from chatapp.storage.operations import MessageAdd, encode
from chatapp.storage.snapshot import SnapshotWriter

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
OWNERS = [f"owner-{number:02d}" for number in range(50)]
MESSAGES_PER_CHAT = 10
_QUESTION = ("Größe, Nähe, Höhe – Earth and Moon: how far apart are they, and why is that so? " * 2)[:80]
_ANSWER = ("The Moon is about 384,400 km away – roughly thirty Earths side by side. " * 6)[:400]
_ID = "0123456789abcdefghjkmnpqrs"


def a_message(number: int = 0) -> Message:
    """Return a question of 80 characters, or for an odd number an answer of 400."""
    role, content = ("assistant", _ANSWER) if number % 2 else ("user", _QUESTION)
    at = NOW + timedelta(seconds=number)
    return Message.model_validate({"id": new_id(), "role": role, "content": content, "created_at": at})


def a_chat(owner_id: str = OWNERS[0]) -> Chat:
    return Chat(
        id=new_id(), owner_id=owner_id, title="The distance of the Moon", created_at=NOW, updated_at=NOW
    )


def lay_out(folder: Path, chats: int) -> list[str]:
    """Make a data folder with so many chats of ten messages in chats.json; return the ids of the chats."""
    open_store(folder, checkpoint_after_s=math.inf).close()
    template = _template()
    ids = [new_id() for _ in range(chats)]
    writer = SnapshotWriter(Files(), folder / "chats.json", Head("chats", seq=0, gen=1, count=chats))
    for chat_id, owner_id in zip(ids, itertools.cycle(OWNERS), strict=False):
        middle = b"".join(new_id().encode() + piece for piece in template[1:])
        writer.add(chat_id, template[0].replace(OWNERS[0].encode(), owner_id.encode()) + middle)
    writer.finish()
    writer.aside.replace(folder / "chats.json")
    return ids


def _template() -> list[bytes]:
    """Return a chat's members in pieces, cut where the id of each message stands."""
    state = ChatState(a_chat())
    for number in range(MESSAGES_PER_CHAT):
        state = state.with_added(a_message(number).model_copy(update={"id": f"{_ID}-{number}"}))
    return re.split(rb"%s-\d" % _ID.encode(), state.members())


def with_journal(source: Path, target: Path, ids: list[str], records: int) -> None:
    """Make a folder that shares chats.json with another and has so many records in its journal.

    Ten records in a row belong to the same chat, as when somebody asks five questions.
    """
    open_store(target, checkpoint_after_s=math.inf).close()
    (target / "chats.json").unlink()
    os.link(source / "chats.json", target / "chats.json")
    step = max(1, len(ids) * 10 // records)
    chosen = itertools.cycle(ids[::step])
    with (target / "journal" / "000000001.jsonl").open("wb") as file:
        for number, chat_id in zip(range(1, records + 1), _tenfold(chosen), strict=False):
            members = encode([MessageAdd(chat_id, a_message(number))])
            file.write(encode_record(number, number, NOW.isoformat(timespec="milliseconds"), members))


def _tenfold(ids: Iterator[str]) -> Iterator[str]:
    for chat_id in ids:
        yield from itertools.repeat(chat_id, 10)
