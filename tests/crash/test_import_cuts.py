"""The plug is pulled while files of a simpler layout are imported, or edited ones are written anew."""

from __future__ import annotations

import json
import math
import random

import pytest

from chatapp.storage.files import Files, read_whole, write_new
from chatapp.storage.json_store import open_store
from tests.crash.disk import SimulatedDisk
from tests.crash.power import DATA
from tests.records import a_chat, a_message, a_user

pytestmark = [pytest.mark.crash, pytest.mark.timeout(0)]

DRAWN_PER_MOMENT = 6
TEXTS = {"alice": [["Hello", "Hi!"], ["Again"]], "Bob": [["From Bob"]]}


def said(*texts: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text} for text in texts]


def plain_files() -> dict[str, bytes]:
    users = {"1": {"username": "alice", "role": "root"}, "a/b": {"username": "Bob"}}
    chats = {"alice": [{"messages": said("Hello", "Hi!")}, {"messages": said("Again")}],
             "a/b": [{"messages": said("From Bob")}]}  # fmt: skip
    return {"users.json": json.dumps(users).encode(), "chats.json": json.dumps(chats).encode()}


def edited_files(disk: Files) -> dict[str, bytes]:
    """Our own files after a clean stop, each with an edited line; the journal beside them is on the disk."""
    store = open_store(DATA, files=disk, checkpoint_after_s=math.inf)
    for name, chats in TEXTS.items():
        user = store.users.add(a_user(name))
        for texts in chats:
            store.chats.add(a_chat(user.id, messages=[a_message(text) for text in texts]))
    store.close()
    found = {name: read_whole(disk, DATA / name) for name in ("users.json", "chats.json")}
    return {
        "users.json": found["users.json"].replace(b'"theme":"auto"', b'"theme":"dark"'),
        "chats.json": found["chats.json"].replace(b'"title":""', b'"title":"Edited"'),
    }


def shown(disk: Files) -> dict[str, list[list[str]]]:
    """Open the folder and return everybody's texts."""
    store = open_store(DATA, files=disk, checkpoint_after_s=math.inf)
    try:
        assert [user.role for user in store.users.all()] == ["root", "user"]
        return {
            user.username: sorted(
                ([message.content for message in store.chats.get(user.id, each.id).messages]
                 for each in store.chats.list(user.id)), reverse=True, key=len
            )
            for user in store.users.all()
        }  # fmt: skip
    finally:
        store.close()


def originals(disk: Files) -> set[bytes]:
    """Return what the folder for originals holds whole."""
    folder = DATA / "backups"
    return {read_whole(disk, folder / name) for name in disk.names(folder) if not name.endswith(".tmp")}


@pytest.mark.parametrize("kind", ["plain", "edited"])
def test_a_cut_at_any_moment_loses_nothing_and_doubles_nothing(kind: str, chance: random.Random) -> None:
    disk = SimulatedDisk()
    disk.make_folder(DATA)
    found = plain_files() if kind == "plain" else edited_files(disk)
    for name, content in found.items():
        disk.remove(DATA / name)
        write_new(disk, DATA / name, content)
    began = len(disk.moments) - 1
    assert shown(disk) == TEXTS

    tried = 0
    for place, moment in enumerate(disk.moments[began:], began):
        few = list(moment.whole_power_cuts(16))
        drawn = [moment.after_power_cut(chance) for _ in range(DRAWN_PER_MOMENT)] if moment.unsure else []
        for left in (moment.after_kill(), *few, *drawn):
            calls = f"cut at call {place}, after {disk.calls[max(0, place - 3) : place]}"
            assert shown(left) == TEXTS, calls
            assert originals(left) >= set(found.values()), calls
            tried += 1
    print(f"{kind}: {tried} disks")
    assert tried > 200
