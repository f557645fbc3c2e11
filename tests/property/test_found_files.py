"""Whatever stands in users.json and chats.json: they are used, or refused in one line and left alone."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from chatapp.errors import StoreDamaged
from tests.memory_folder import memory_folder
from tests.records import a_chat, a_message, a_user
from tests.unit.storage.killed import contents, lay_out, reopened

CASES = 100
VALUES: list[Any] = [
    None, True, 0, -1, 3.5, 1e308, 2**70, 1e11, "", "x", "\ud800", "2020-01-01", "root", "alice", "pbkdf2:a:1$b$c",
    [], {}, [[]], [{}], [1], {"a": 1}, {"": ""},
]  # fmt: skip
NAMES = [
    "", "id", "role", "messages", "owner", "user", "users", "chats", "created_at", "status", "attachments", "usage",
    "crc", "format", "title", "model", "parent_id", "content", "settings", "sessions",
]  # fmt: skip
USERS: list[Any] = [
    {"alice": {"password": "x", "role": "root", "id": 3}},
    [{"username": "alice", "created_at": 1, "settings": {"theme": "dark"}}, {"name": "bob", "id": "q"}],
]
CHATS: list[Any] = [
    {"alice": [{"title": "T", "messages": [{"role": "user", "content": "c", "id": 1, "options": {}}]}]},
    {"c1": {"owner": "alice", "messages": [{"role": "assistant", "text": "t"}], "deleted_at": None}},
    [{"user": "alice", "history": []}],
]

Files = dict[str, bytes]


@pytest.fixture
def top() -> Iterator[Path]:
    with memory_folder() as folder:
        yield folder


@pytest.fixture
def chance() -> random.Random:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    return random.Random(seed)  # noqa: S311 - files, not secrets


def a_value(chance: random.Random) -> Any:
    return deepcopy(chance.choice(VALUES))


def changed(document: Any, chance: random.Random) -> Any:
    """Return a copy in which a few values were replaced, taken out or added."""
    document = json.loads(json.dumps(document))
    for _ in range(chance.randint(1, 4)):
        parent, key = chosen_place(document, chance)
        if parent is None:
            return a_value(chance)
        what = chance.random()
        if what < 0.6:
            parent[key] = a_value(chance)
        elif what < 0.8:
            del parent[key]
        elif isinstance(parent, dict):
            parent[chance.choice(NAMES)] = a_value(chance)
        else:
            parent.append(a_value(chance))
    return document


def chosen_place(node: Any, chance: random.Random) -> tuple[Any, Any]:
    """Return a container somewhere in a document and one of its keys; ``None`` twice when it has none."""
    parent = key = None
    while isinstance(node, dict | list) and node and (parent is None or chance.random() < 0.65):
        parent, key = (
            node,
            chance.choice(list(node)) if isinstance(node, dict) else chance.randrange(len(node)),
        )
        node = parent[key]
    return parent, key


def plain(_ours: Files, chance: random.Random) -> Files:
    users = chance.choice(USERS)
    found = {
        "users.json": changed(users, chance) if chance.random() < 0.5 else users,
        "chats.json": changed(chance.choice(CHATS), chance),
    }
    return {name: json.dumps(each).encode() for name, each in found.items()}


def rewritten(ours: Files, chance: random.Random) -> Files:
    name, document = chosen_file(ours, chance)
    return ours | {name: json.dumps(document, indent=chance.choice([None, 1])).encode()}


def edited(ours: Files, chance: random.Random) -> Files:
    name, document = chosen_file(ours, chance)
    entries = document[name.removesuffix(".json")]
    if isinstance(entries, dict):
        lines = [json.dumps({key: value})[1:-1].encode() for key, value in entries.items()]
        ours = ours | {name: ours[name].split(b"\n")[0] + b"\n" + b",\n".join(lines) + b"\n}}\n"}
    return ours


def chosen_file(ours: Files, chance: random.Random) -> tuple[str, Any]:
    name = chance.choice(["users.json", "chats.json"])
    document = json.loads(ours[name])
    kind = name.removesuffix(".json")
    return name, document | {kind: changed(document[kind], chance)}


@pytest.mark.parametrize("found_by", [plain, rewritten, edited])
def test_any_file_is_used_or_refused(
    top: Path, chance: random.Random, found_by: Callable[[Files, random.Random], Files]
) -> None:
    with reopened(top / "ours") as store:
        store.users.add(a_user("alice", id="a"))
        store.chats.add(a_chat("a", id="c1", messages=(a_message("Hello"),)))
    ours = contents(top / "ours")

    used = [is_used(top / "found", found_by(ours, chance)) for _ in range(CASES)]

    assert {True, False} == set(used)


def is_used(folder: Path, files: Files) -> bool:
    """Open a folder; when it is refused, nothing may be changed, and when not, everything has to be readable."""
    lay_out(folder, files)
    try:
        with reopened(folder) as store:
            for user in store.users.all():
                for summary in store.chats.list(user.id):
                    store.chats.get(user.id, summary.id).path()
            store.chats.interrupt_streaming()
    except StoreDamaged as error:
        refusal = error.message
    else:
        with reopened(folder) as again:
            assert not any("outside" in notice or "rewritten" in notice for notice in again.notices)
        return True
    left = contents(folder)
    assert files == {name: left[name] for name in files}
    assert "\n" not in refusal
    return False
