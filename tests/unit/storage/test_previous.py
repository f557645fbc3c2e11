"""A file that is destroyed is put together again from the one before it and the journal."""

from __future__ import annotations

import errno
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chatapp.errors import StorageFailed, StoreDamaged
from chatapp.storage.files import Files
from chatapp.storage.json_store import JsonStore, open_store
from chatapp.storage.layout import Layout
from chatapp.storage.maintenance.salvage import Salvaged, salvage
from chatapp.storage.previous import chats_again
from tests.fakes.files import FaultyFiles, error
from tests.memory_folder import memory_folder
from tests.records import a_chat, a_message, a_user
from tests.unit.storage.killed import contents, lay_out, reopened

ALICE, BOB = "alice-id", "bob-id"
NAMES = ("users.json", "chats.json")
State = dict[str, dict[str, list[str]]]
"""User name → title of a chat → its texts."""

WHOLE: State = {
    "alice": {"Old": ["one", "two", "three"], "Newer": ["four", "five"]},
    "bob": {"Bob's": ["six"]},
    "charlie": {},
}
Damage = Callable[[Path], None]


@pytest.fixture
def data() -> Iterator[Path]:
    """A folder as a killed server leaves it, with changes before, between and after two checkpoints."""
    with memory_folder() as folder:
        with reopened(folder / "live") as store:
            fill(store)
            left = contents(folder / "live")
        lay_out(folder / "data", left)
        yield folder / "data"


def fill(store: JsonStore) -> None:
    store.users.add(a_user("alice", id=ALICE))
    old = store.chats.add(a_chat(ALICE, title="Old", messages=(a_message("one"),)))
    gone = store.chats.add(a_chat(ALICE, title="Gone", messages=(a_message("deleted"),)))
    store.checkpoint()
    store.users.add(a_user("bob", id=BOB))
    newer = store.chats.add(a_chat(ALICE, title="Newer", messages=(a_message("four"),)))
    store.chats.add_messages(ALICE, old.id, [a_message("two")])
    store.chats.add(a_chat(BOB, title="Bob's", messages=(a_message("six"),)))
    store.chats.delete(ALICE, gone.id)
    store.checkpoint()
    store.users.add(a_user("charlie"))
    store.chats.add_messages(ALICE, old.id, [a_message("three")])
    store.chats.add_messages(ALICE, newer.id, [a_message("five")])


def shown(store: JsonStore) -> State:
    return {
        user.username: {
            chat.title: [each.content for each in store.chats.get(user.id, chat.id).messages]
            for chat in store.chats.list(user.id)
        }
        for user in store.users.all()
    }


def state(folder: Path) -> State:
    with reopened(folder) as store:
        return shown(store)


def repair(folder: Path) -> Salvaged:
    repaired = salvage(FaultyFiles(syncs=False), Layout(folder))
    assert repaired is not None, "there was nothing to repair"
    return repaired


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def half(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def zeros_inside(path: Path) -> None:
    """Fill two thirds of the file, its head not included, with zeros."""
    content = path.read_bytes()
    start, end = content.index(b"\n") + 20, len(content) * 5 // 6
    path.write_bytes(content[:start] + b"\0" * (end - start) + content[end:])


def headless(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"seq":', b'"sEq":'))


def plain_and_empty(path: Path) -> None:
    path.write_text("{}")


def removed(path: Path) -> None:
    path.unlink()


DAMAGES: list[Damage] = [emptied, half, zeros_inside, headless, plain_and_empty, removed]


def generation(path: Path) -> int:
    return int(json.loads(path.read_bytes())["gen"])


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("names", [NAMES[:1], NAMES[1:], NAMES], ids=["users", "chats", "both"])
def test_a_file_that_is_destroyed_is_put_together_again(
    data: Path, names: tuple[str, ...], damage: Damage
) -> None:
    for name in names:
        damage(data / name)

    repaired = repair(data)

    assert state(data) == WHOLE
    for name in names:
        assert (
            f"{name} was put together again from the file before it and the journal; nothing is missing."
            in repaired.report
        )
    assert not any("may be missing" in line or "belong to" in line for line in repaired.report)


@pytest.mark.parametrize("damage", [emptied, half, headless, plain_and_empty, removed])
def test_a_destroyed_file_is_never_taken_from_the_one_before_by_a_start(data: Path, damage: Damage) -> None:
    damage(data / "chats.json")
    before = contents(data)

    with pytest.raises(StoreDamaged, match="flask store repair"):
        state(data)

    assert contents(data) == before


def test_with_a_gap_in_the_journal_the_file_before_gives_what_the_damaged_one_lacks(data: Path) -> None:
    missing = data / "journal" / f"{generation(data / 'previous' / 'chats.json'):09d}.jsonl"
    half(data / "chats.json")
    missing.unlink()

    repaired = repair(data)

    after = state(data)["alice"]
    assert {"Old", "Newer"} & after.keys() >= {"Old"}
    assert after["Old"][0] == "one"
    assert after["Old"][-1] == "three"
    assert not any("nothing is missing" in line for line in repaired.report)
    assert any("newest changes of them may be missing" in line for line in repaired.report)


def test_a_gap_in_the_journal_gives_accounts_back_as_well(data: Path) -> None:
    missing = data / "journal" / f"{generation(data / 'previous' / 'users.json'):09d}.jsonl"
    emptied(data / "users.json")
    missing.unlink()

    repaired = repair(data)

    assert state(data).keys() >= {"alice", "charlie"}
    assert any("Taken from the users.json before this one: 1 user." in line for line in repaired.report)


def test_a_journal_that_ends_before_the_files_is_not_taken_for_a_whole_one(data: Path) -> None:
    for path in (data / "journal").iterdir():
        if int(path.stem) >= generation(data / "users.json"):
            path.unlink()
    half(data / "chats.json")

    repaired = repair(data)

    assert not any("put together again" in line for line in repaired.report)


def test_a_journal_file_that_was_cut_short_is_not_taken_for_a_whole_one(data: Path) -> None:
    for path in (data / "journal").iterdir():
        if int(path.stem) == generation(data / "previous" / "chats.json"):
            path.write_bytes(path.read_bytes().partition(b"\n")[0] + b"\n")
        elif int(path.stem) >= generation(data / "users.json"):
            path.write_bytes(b"")
    half(data / "chats.json")

    repaired = repair(data)

    assert not any("put together again" in line for line in repaired.report)


def test_an_account_from_the_file_before_gets_its_later_changes(data: Path) -> None:
    """Also where the rest of the file was edited, and so has to be used."""
    with reopened(data) as store:
        store.checkpoint()
        store.users.update(ALICE, lambda user: user.model_copy(update={"disabled": True}))
        store.checkpoint()
        left = contents(data)
    lay_out(data, left)
    content = (data / "users.json").read_bytes()
    broken = content.replace(b'"username":"alice"', b'"username":"alice', 1)
    (data / "users.json").write_bytes(broken.replace(b'"username":"charlie"', b'"username":"Charlie"', 1))
    for path in (data / "journal").iterdir():
        if int(path.stem) < generation(data / "previous" / "users.json"):
            path.unlink()

    repair(data)

    with reopened(data) as store:
        disabled = {user.username: user.disabled for user in store.users.all()}
    assert disabled == {"alice": True, "bob": False, "Charlie": False}


def test_a_change_made_by_hand_is_kept_where_the_rest_comes_from_the_file_before(data: Path) -> None:
    content = (data / "chats.json").read_bytes()
    place = content.index(b'"title":"Bob')
    edited = content[:place] + content[place:].replace(b'"title":"Bob\'s"', b'"title":"By hand"', 1)
    (data / "chats.json").write_bytes(edited.replace(b'"content":"four"', b'"content":"four'))

    repair(data)

    assert state(data) == WHOLE | {"bob": {"By hand": ["six"]}}


def test_what_was_taken_out_by_hand_does_not_come_back_with_a_later_repair(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatapp.storage.checkpoint._KEPT_S", 0.0)
    state(data)
    lines = (data / "chats.json").read_bytes().split(b"\n")
    left = [line for line in lines if b'"title":"Newer"' not in line]
    (data / "chats.json").write_bytes(b"\n".join(left))
    with reopened(data) as store:
        assert shown(store) == WHOLE | {"alice": {"Old": ["one", "two", "three"]}}
        assert not (data / "previous" / "chats.json").exists()
        store.chats.add(a_chat(BOB, title="Later"))
        killed = contents(data)
    lay_out(data, killed)
    half(data / "chats.json")

    repair(data)

    after = state(data)
    assert "Newer" not in after["alice"]
    assert "Later" in after["bob"]


def test_a_restore_leaves_no_file_before_the_newest(data: Path) -> None:
    emptied(data / "chats.json")

    repair(data)

    assert list((data / "previous").iterdir()) == []


def test_the_file_before_the_newest_is_never_the_newest(data: Path) -> None:
    with reopened(data) as store:
        for number in range(3):
            store.chats.add(a_chat(BOB, title=f"{number}"))
            store.checkpoint()
            for name in NAMES:
                kept, newest = (data / "previous" / name).stat(), (data / name).stat()
                assert kept.st_ino != newest.st_ino
                assert generation(data / "previous" / name) < generation(data / name)
    assert (data / "previous").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (data / "previous").iterdir()} <= {0o600}
    assert sorted(path.name for path in (data / "previous").iterdir()) == sorted(NAMES)


def test_the_journal_stays_from_where_the_file_before_ends(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also over a checkpoint that failed, and a restart."""
    monkeypatch.setattr("chatapp.storage.checkpoint._KEPT_S", 0.0)
    for _ in range(2):
        files = FaultyFiles(syncs=False)
        store = open_store(data, files=files, checkpoint_after_s=math.inf)
        store.chats.add(a_chat(BOB))
        files.fault = lambda call, name: (
            error(errno.EIO) if (call, name) == ("sync", "chats.json.tmp") else None
        )
        with pytest.raises(StorageFailed):
            store.checkpoint()
        files.fault = lambda *_: None
        store.chats.add(a_chat(BOB))
        store.checkpoint()
        whole = shown(store)
        lay_out(data.parent / "killed", contents(data))
        emptied(data.parent / "killed" / "chats.json")
        assert any("nothing is missing" in line for line in repair(data.parent / "killed").report)
        assert state(data.parent / "killed") == whole
        store.close()


def test_a_file_of_somebody_else_is_not_kept_as_the_one_before(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one before stays, and the journal that goes with it."""
    monkeypatch.setattr("chatapp.storage.checkpoint._KEPT_S", 0.0)
    with reopened(data) as store:
        before = (data / "previous" / "chats.json").read_bytes()
        (data / "mine").write_text("mine")
        (data / "mine").replace(data / "chats.json")
        store.checkpoint()
        assert (data / "previous" / "chats.json").read_bytes() == before
        emptied(data / "chats.json")
        killed = contents(data)
    lay_out(data, killed)

    repair(data)

    assert state(data) == WHOLE


class Refusing(FaultyFiles):
    """Refuses one kind of call on what is in ``previous``."""

    def __init__(self, call: str) -> None:
        super().__init__(syncs=False)
        self._call = call

    def watch(self, call: str, arguments: tuple[Any, ...]) -> None:
        paths = [each for each in arguments if isinstance(each, Path)]
        if call == self._call and any("previous" in path.parts for path in paths):
            raise error(errno.EPERM)


@pytest.mark.parametrize("call", ["add_folder", "link", "rename", "sync_folder"])
def test_where_the_file_before_cannot_be_kept_everything_else_goes_on(
    tmp_path: Path, call: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(tmp_path / "data", files=Refusing(call), checkpoint_after_s=math.inf)
    store.users.add(a_user("alice", id=ALICE))
    chat = store.chats.add(a_chat(ALICE, title="Old"))
    for text in ("one", "two", "three"):
        store.chats.add_messages(ALICE, chat.id, [a_message(text)])
        store.checkpoint()
    store.close()

    assert caplog.text.count("json before the newest is not kept: ") == 1
    assert not (tmp_path / "data" / "previous" / "chats.json").exists()
    assert state(tmp_path / "data") == {"alice": {"Old": ["one", "two", "three"]}}


def test_a_file_before_that_cannot_be_replaced_does_not_hold_on_to_the_journal(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatapp.storage.checkpoint._KEPT_S", 0.0)
    store = open_store(data, files=Refusing("link"), checkpoint_after_s=math.inf)
    for _ in range(5):
        store.chats.add(a_chat(BOB))
        store.checkpoint()
    store.close()

    assert len(list((data / "journal").iterdir())) == 2


def test_a_file_that_was_written_into_while_it_was_replaced_is_not_kept(data: Path) -> None:
    files = FaultyFiles(syncs=False)
    store = open_store(data, files=files, checkpoint_after_s=math.inf)

    def write_into(call: str, name: str) -> None:
        if (call, name) == ("rename", "chats.json.tmp") and not (data / "was-here").exists():
            (data / "was-here").touch()
            emptied(data / "chats.json")

    files.fault = write_into
    store.checkpoint()
    store.close()

    assert (data / "was-here").exists()
    assert not (data / "previous" / "chats.json").exists()
    assert state(data) == WHOLE


def test_chats_are_not_made_again_as_they_are_after_another_record(data: Path) -> None:
    with reopened(data) as store:
        last_number = store._journal.last_number
        assert chats_again(Files(), Layout(data), last_number) is not None
        for number in (1, last_number - 1, last_number + 1):
            assert chats_again(Files(), Layout(data), number) is None


@pytest.mark.parametrize("place", ["previous", "previous/chats.json"])
def test_something_else_in_its_place_is_no_obstacle(data: Path, place: str) -> None:
    lay_out(data, {name: content for name, content in contents(data).items() if "previous" not in name})
    (data / place).parent.mkdir(exist_ok=True)
    (data / place).mkdir() if place.endswith(".json") else (data / place).write_text("mine")

    with reopened(data) as store:
        store.checkpoint()
        assert shown(store) == WHOLE

    assert state(data) == WHOLE
    assert Files().exists(data / place)
