"""A folder that refuses to start is made to start again with everything in it that can be read."""

from __future__ import annotations

import errno
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from chatapp.errors import NotFound, StorageFailed, StoreDamaged, StoreLocked
from chatapp.models import ChatSummary
from chatapp.storage.files import Files
from chatapp.storage.json_store import JsonStore
from chatapp.storage.layout import Layout
from chatapp.storage.lines import decode_head, encode_head, encode_record
from chatapp.storage.maintenance.salvage import Salvaged, salvage
from tests.fakes.files import FaultyFiles, error
from tests.memory_folder import memory_folder
from tests.records import a_chat, a_message, a_reply, a_user
from tests.unit.storage.killed import contents, lay_out, reopened
from tests.unit.storage.stops import Killed, stopped_at_every_call

ALICE, BOB = "alice-id", "bob-id"
FLIPS = 150
SEED = 11
State = dict[str, dict[str, list[str]]]
"""User name → title of a chat → its texts."""

WHOLE: State = {
    "alice": {"Äpfel": ["one", "two", "a reply", "three"], "New": ["four"]},
    "bob": {"Renamed later": ["five", "six"]},
}


@pytest.fixture
def data() -> Iterator[Path]:
    """A folder as a killed server leaves it: some changes are in the files, later ones in the journal.

    The files before the newest are gone: everything has to come from what is damaged.
    """
    with memory_folder() as folder:
        with reopened(folder / "data") as store:
            fill(store)
            left = contents(folder / "data")
        lay_out(folder / "data", left)
        shutil.rmtree(folder / "data" / "previous")
        yield folder / "data"


def fill(store: JsonStore) -> None:
    store.users.add(a_user("alice", id=ALICE))
    store.users.add(a_user("bob", id=BOB))
    apples = store.chats.add(a_chat(ALICE, title="Äpfel", messages=(a_message("one"), a_message("two"))))
    other = store.chats.add(a_chat(BOB, title="Other", messages=(a_message("five"),)))
    gone = store.chats.add(a_chat(BOB, title="Deleted", messages=(a_message("gone"),)))
    reply = a_reply("")
    store.chats.add_messages(ALICE, apples.id, [reply])
    store.chats.delete(BOB, gone.id)
    store.checkpoint()
    done = reply.model_copy(update={"content": "a reply", "status": "complete"})
    store.chats.finish_message(ALICE, apples.id, done)
    store.chats.add_messages(ALICE, apples.id, [a_message("three")])
    store.chats.add(a_chat(ALICE, title="New", messages=(a_message("four"),)))
    store.chats.update(BOB, other.id, lambda chat: titled(chat, "Renamed later"))
    store.chats.add_messages(BOB, other.id, [a_message("six")])


def titled(chat: ChatSummary, title: str) -> ChatSummary:
    return chat.model_copy(update={"title": title})


def state(folder: Path) -> State:
    """Open a folder as a start does and return what is in it."""
    with reopened(folder) as store:
        return {
            user.username: {
                chat.title: [each.content for each in store.chats.get(user.id, chat.id).messages]
                for chat in store.chats.list(user.id)
            }
            for user in store.users.all()
        }


def repair(folder: Path, files: Files | None = None) -> Salvaged:
    """Repair what refuses to start, and make sure of what holds after every repair."""
    before = {name: content for name, content in contents(folder).items() if not name.startswith("backups")}
    repaired = salvage(files or FaultyFiles(syncs=False), Layout(folder))
    assert repaired is not None, "there was nothing to repair"
    kept = contents(repaired.originals)
    assert kept == {name: before[name] for name in before if name in kept}
    assert {name for name in before if name not in kept} <= {"secret.key"}
    assert (folder / "users.json").stat().st_mode & 0o777 == 0o600
    [fresh] = (folder / "journal").iterdir()
    assert all(f"journal/{fresh.name}" > name for name in before if name.startswith("journal/"))
    return repaired


def refuses_to_start(folder: Path) -> bool:
    try:
        state(folder)
    except StorageFailed:
        return True
    return False


def change(path: Path, edit: Callable[[bytes], bytes]) -> None:
    path.write_bytes(edit(path.read_bytes()))


def journal(folder: Path) -> list[Path]:
    return sorted((folder / "journal").iterdir())


def without_old_journal(folder: Path) -> None:
    """Leave only the journal file that the start needs."""
    for path in journal(folder)[:-1]:
        path.unlink()


def break_line(holding: bytes) -> Callable[[bytes], bytes]:
    """Return an edit that makes the line with this text unreadable."""

    def edit(content: bytes) -> bytes:
        lines = content.split(b"\n")
        place = next(number for number, line in enumerate(lines) if holding in line)
        lines[place] = b"\0" * len(lines[place])
        return b"\n".join(lines)

    return edit


def test_a_sound_folder_is_left_as_it_is(data: Path) -> None:
    before = contents(data)

    assert salvage(Files(), Layout(data)) is None

    assert contents(data) == before
    assert state(data) == WHOLE


def test_the_folder_of_a_running_server_is_left_alone(data: Path) -> None:
    with reopened(data), pytest.raises(StoreLocked):
        salvage(Files(), Layout(data))


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        salvage(Files(), Layout(tmp_path / "nothing"))

    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("name", ["users.json", "chats.json"])
@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(lambda content: content.replace(b'"seq":', b'"sEq":'), id="head"),
        pytest.param(lambda content: content.replace(b"/1", b"/3", 1), id="number of the format"),
        pytest.param(lambda content: content[content.index(b"\n") + 1 :], id="no head"),
        pytest.param(lambda content: content.removesuffix(b"\n}}\n"), id="no end"),
        pytest.param(lambda content: content + b"garbage", id="something behind the end"),
        pytest.param(lambda content: content.replace(b"{\n", b"{X", 1), id="newline behind the head"),
        pytest.param(lambda content: b"\0" * 4096 + content, id="zeros before it"),
    ],
)
@pytest.mark.parametrize("is_journal_old", [True, False])
def test_damage_beside_the_entries_costs_nothing(
    data: Path, name: str, edit: Callable[[bytes], bytes], is_journal_old: bool
) -> None:
    if not is_journal_old:
        without_old_journal(data)
    change(data / name, edit)
    assert refuses_to_start(data)

    repaired = repair(data)

    assert state(data) == WHOLE
    assert any(name in line for line in repaired.report)


@pytest.mark.parametrize("name", ["users.json", "chats.json"])
def test_a_file_that_is_gone_is_made_again_from_the_journal_that_is_left(data: Path, name: str) -> None:
    (data / name).unlink()
    assert refuses_to_start(data)

    repaired = repair(data)

    assert state(data) == WHOLE
    assert f"{name} is missing." in repaired.report


def test_an_account_that_cannot_be_read_is_taken_from_the_journal(data: Path) -> None:
    change(data / "users.json", break_line(b'"bob"'))
    assert refuses_to_start(data)

    repair(data)

    assert state(data) == WHOLE


def test_chats_whose_account_is_lost_are_kept_until_the_account_comes_back(
    data: Path, tmp_path: Path
) -> None:
    shutil.copy(data / "users.json", tmp_path / "old.json")
    without_old_journal(data)
    change(data / "users.json", break_line(b'"bob"'))

    repaired = repair(data)

    assert state(data) == {"alice": WHOLE["alice"]}
    assert any(line.startswith("1 chats belong to accounts that are not there") for line in repaired.report)
    shutil.copy(tmp_path / "old.json", data / "users.json")
    repair(data)
    assert state(data) == WHOLE


def test_without_any_users_chats_are_kept(data: Path) -> None:
    without_old_journal(data)
    (data / "users.json").unlink()

    repaired = repair(data)

    assert state(data) == {}
    assert b"\xc3\x84pfel" in (data / "chats.json").read_bytes()
    assert any("The first one that is made becomes root" in line for line in repaired.report)


def test_a_file_that_was_cut_off_keeps_its_whole_lines(data: Path) -> None:
    without_old_journal(data)
    change(data / "chats.json", lambda content: content[: content.index(b'"five"')])

    repaired = repair(data)

    assert state(data) == {"alice": WHOLE["alice"], "bob": {"Renamed later": ["six"]}}
    assert any("chats.json should hold 2 chats; 1 could be read." in line for line in repaired.report)
    assert any(line.startswith("2 chats come from the journal alone") for line in repaired.report)


def test_messages_of_a_chat_that_is_lost_are_counted(data: Path) -> None:
    without_old_journal(data)
    change(data / "chats.json", lambda content: content[: content.index(b'"one"')])

    repaired = repair(data)

    assert state(data)["alice"] == {"New": ["four"]}
    assert "1 messages in the journal belong to chats that could not be read." in repaired.report


@pytest.mark.parametrize("all_of_it", [True, False])
def test_without_its_journal_a_folder_starts_with_what_the_files_hold(data: Path, all_of_it: bool) -> None:
    if all_of_it:
        shutil.rmtree(data / "journal")
    else:
        journal(data)[-1].unlink()
    assert refuses_to_start(data)

    repaired = repair(data)

    assert state(data) == {"alice": {"Äpfel": ["one", "two", ""]}, "bob": {"Other": ["five"]}}
    missing = "The journal" if all_of_it else "journal/000000002.jsonl"
    assert any(line.startswith(f"{missing} is missing. What was only there") for line in repaired.report)


def test_a_change_that_cannot_be_read_is_passed_over(data: Path) -> None:
    change(journal(data)[-1], break_line(b'"three"'))
    assert refuses_to_start(data)

    repaired = repair(data)

    assert state(data) == {**WHOLE, "alice": {**WHOLE["alice"], "Äpfel": ["one", "two", "a reply"]}}
    assert any(f"could not be read at {journal_name(repaired)}" in line for line in repaired.report)
    assert "1 changes that the journal should hold are missing." in repaired.report


def journal_name(repaired: Salvaged) -> str:
    return journal(repaired.originals)[-1].name


def test_a_newline_that_was_damaged_costs_no_record(data: Path) -> None:
    change(journal(data)[-1], lambda content: content.replace(b"}\n{", b"}\x0b{"))

    repair(data)

    assert state(data) == WHOLE


def test_old_changes_do_not_go_over_newer_ones(data: Path) -> None:
    with reopened(data) as store:
        [other] = store.chats.list(BOB)
        store.chats.update(BOB, other.id, lambda chat: titled(chat, "The newest name"))
        store.checkpoint()
        left = contents(data)
    lay_out(data, left)
    change(data / "chats.json", break_line(b"pfel"))
    for path in journal(data):
        if b"The newest name" in path.read_bytes():
            change(path, break_line(b"The newest name"))

    salvage(FaultyFiles(syncs=False), Layout(data))

    assert list(state(data)["bob"]) == ["The newest name"]


def test_what_was_deleted_does_not_come_back(data: Path) -> None:
    change(data / "chats.json", lambda content: b"\0" * len(content))

    repair(data)

    assert state(data) == WHOLE


def test_when_nothing_can_be_read_nothing_is_changed(data: Path) -> None:
    for path in [data / "users.json", data / "chats.json", *journal(data)]:
        change(path, lambda content: b"\0" * len(content))
    before = contents(data)

    with pytest.raises(StoreDamaged, match=r"Nothing in .* can be read, so nothing was changed"):
        salvage(Files(), Layout(data))

    assert contents(data) == before
    assert not (data / "backups").exists()


def test_files_of_a_newer_version_are_not_touched(data: Path) -> None:
    head, _, rest = (data / "chats.json").read_bytes().partition(b"\n")
    newer = encode_head(decode_head("chats", head)).replace(b"chats/1", b"chats/2")
    (data / "chats.json").write_bytes(newer.replace(b'"seq":', b'"seq" :') + b"\n" + rest)
    before = contents(data)

    with pytest.raises(StoreDamaged, match="another version of chatapp"):
        salvage(Files(), Layout(data))

    assert contents(data) == before


def test_a_change_of_a_newer_version_is_left_to_that_version(data: Path) -> None:
    """Neither a start nor a repair throws away what it does not know; both say what to do."""
    newer = journal(data)[-1]
    number = newer.read_bytes().count(b"\n") + 1000
    newer.write_bytes(
        encode_record(number, number, "2030-01-01T00:00:00.000Z", b'"op":"chat.share","chat":"x"')
    )
    before = contents(data)

    with pytest.raises(StoreDamaged) as refused_start, reopened(data):
        pass
    with pytest.raises(StoreDamaged) as refused_repair:
        salvage(Files(), Layout(data))

    assert refused_start.value.message == refused_repair.value.message
    assert refused_start.value.message.startswith(
        f"{newer}, byte 0: this change is not understood (unknown kind of change 'chat.share')"
    )
    assert refused_start.value.message.endswith("use that version, or put back a backup.")
    assert {name: each for name, each in contents(data).items() if name in before} == before


class BadBlock(FaultyFiles):
    """A disk that does not give back the bytes around one place of one file."""

    def __init__(self, path: Path, offset: int) -> None:
        super().__init__(syncs=False)
        self._path, self._offset = path, offset
        self._bad_fds: set[int] = set()

    def open(self, path: Path, *, writable: bool = False) -> int:
        fd = super().open(path, writable=writable)
        (self._bad_fds.add if path == self._path else self._bad_fds.discard)(fd)
        return fd

    def create(self, path: Path) -> int:
        fd = super().create(path)
        self._bad_fds.discard(fd)
        return fd

    def read(self, fd: int, length: int, offset: int) -> bytes:
        if fd in self._bad_fds and offset <= self._offset < offset + length:
            raise error(errno.EIO)
        return super().read(fd, length, offset)


def test_a_bad_block_costs_what_is_in_it(data: Path) -> None:
    with reopened(data) as store:
        for number in range(100):
            store.chats.add(a_chat(BOB, title=f"{number}", messages=(a_message("x" * 300),)))
        store.checkpoint()
        left = contents(data)
    lay_out(data, {name: content for name, content in left.items() if name.endswith(".json")})

    repaired = salvage(BadBlock(data / "chats.json", 20_000), Layout(data))

    assert repaired is not None
    after = state(data)
    assert after["alice"] == WHOLE["alice"]
    assert 100 - 15 <= len(after["bob"]) < 101


def test_a_killed_repair_leaves_everything_to_the_next(data: Path) -> None:
    change(data / "users.json", lambda content: content.replace(b'"seq":', b'"sEq":'))
    before, repairs = contents(data), 0

    for files in stopped_at_every_call(Killed):
        lay_out(data, before)
        with suppress(Killed):
            salvage(files, Layout(data))
        if salvage(FaultyFiles(syncs=False), Layout(data)) is not None:
            repairs += 1
        assert state(data) == WHOLE
        originals = [contents(folder) for folder in (data / "backups").iterdir()]
        assert originals == [before]

    assert repairs > 20


def test_a_disk_that_fails_leaves_everything_to_the_next(data: Path) -> None:
    change(data / "users.json", lambda content: content.replace(b'"seq":', b'"sEq":'))
    before = contents(data)

    for files in stopped_at_every_call(lambda: error(errno.ENOSPC)):
        lay_out(data, before)
        with suppress(StorageFailed):
            salvage(files, Layout(data))
        salvage(FaultyFiles(syncs=False), Layout(data))
        assert state(data) == WHOLE


def test_after_any_flipped_bit_a_folder_can_be_repaired_and_loses_one_entry_at_most(data: Path) -> None:
    chance = random.Random(SEED)  # noqa: S311 - places, not secrets
    before = contents(data)
    places = [(name, offset) for name, content in before.items() for offset in range(len(content))]
    repairs = 0

    for name, offset in chance.sample(places, FLIPS):
        flipped = bytearray(before[name])
        flipped[offset] ^= 1 << chance.randrange(8)
        lay_out(data, {**before, name: bytes(flipped)})
        if refuses_to_start(data):
            lay_out(data, {**before, name: bytes(flipped)})
            repair(data)
            repairs += 1
        texts = [text for chats in state(data).values() for chat in chats.values() for text in chat]
        assert len(texts) == len(set(texts)), f"{name}, byte {offset}: doubled"
        assert len(texts) >= 3, f"{name}, byte {offset}: lost"

    assert repairs > FLIPS // 20
