"""Folders and files that are not as they should be: one clear sentence at the start, a refusal while running."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chatapp.storage.json_store import open_store
from tests.crash.lesser import NOBODY
from tests.memory_folder import memory_folder
from tests.records import a_chat, a_message, a_user
from tests.start.processes import TOP, eventually
from tests.unit.storage.killed import reopened

pytestmark = pytest.mark.crash


class Lesser:
    """The other end of :mod:`tests.crash.lesser`."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.lesser"],
            cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ask(self, verb: str, argument: object = "") -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps([verb, str(argument)]), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())


@pytest.fixture(scope="module")
def shared() -> Iterator[Lesser]:
    lesser = Lesser()
    with lesser.process:
        yield lesser
        lesser.process.kill()


@pytest.fixture
def lesser(shared: Lesser) -> Iterator[Lesser]:
    yield shared
    shared.ask("close")


@pytest.fixture
def top() -> Iterator[Path]:
    """A folder that belongs to the lesser user, ``data`` in it with one user and one chat."""
    with memory_folder() as folder:
        with reopened(folder / "data") as store:
            alice = store.users.add(a_user("alice"))
            store.chats.add(a_chat(alice.id, messages=[a_message()]))
        give(folder)
        yield folder
        for path in folder.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o700)


def give(folder: Path) -> None:
    """Let the lesser user own everything in a folder."""
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


def replace_by_folder(name: str) -> Callable[[Path], None]:
    def prepare(data: Path) -> None:
        (data / name).unlink(missing_ok=True)
        (data / name).mkdir()

    return prepare


def replace_by_file(name: str) -> Callable[[Path], None]:
    def prepare(data: Path) -> None:
        shutil.rmtree(data / name, ignore_errors=True)
        (data / name).write_text("x")

    return prepare


def replace_by_pipe(name: str) -> Callable[[Path], None]:
    def prepare(data: Path) -> None:
        (data / name).unlink(missing_ok=True)
        os.mkfifo(data / name)

    return prepare


def forbid(name: str, mode: int) -> Callable[[Path], None]:
    def prepare(data: Path) -> None:
        path = data / name
        path.touch()
        path.chmod(mode)

    return prepare


def link(name: str, target: str) -> Callable[[Path], None]:
    def prepare(data: Path) -> None:
        (data / name).unlink(missing_ok=True)
        (data / name).symlink_to(target)

    return prepare


NEWEST = "journal/000000002.jsonl"

START = {
    "the folder is a file": (replace_by_file("."), "data cannot be used: "),
    "the folder is read-only": (forbid(".", 0o500), "cannot be used: Permission denied"),
    "the folder is closed": (forbid(".", 0o000), "cannot be used: Permission denied"),
    "the journal is a file": (replace_by_file("journal"), "cannot be used: "),
    "users.json is a folder": (replace_by_folder("users.json"), "cannot be used: Is a directory"),
    "chats.json is a folder": (replace_by_folder("chats.json"), "cannot be used: Is a directory"),
    "users.json is a pipe": (replace_by_pipe("users.json"), "cannot be used: It is no regular file"),
    "chats.json is a pipe": (replace_by_pipe("chats.json"), "cannot be used: It is no regular file"),
    "a journal file is a pipe": (replace_by_pipe(NEWEST), "cannot be used: It is no regular file"),
    "the lock is a pipe": (replace_by_pipe("store.lock"), "cannot be used: It is no regular file"),
    "the key is a pipe": (replace_by_pipe("secret.key"), "secret.key cannot be used: It is no regular file"),
    "users.json is a device": (link("users.json", "/dev/zero"), "cannot be used: It is no regular file"),
    "users.json is closed": (forbid("users.json", 0o000), "cannot be used: Permission denied"),
    "chats.json is closed": (forbid("chats.json", 0o000), "cannot be used: Permission denied"),
    "users.json links to nothing": (
        link("users.json", "nothing.json"),
        "users.json is missing|nothing.json is missing",
    ),
    "users.json links into no folder": (
        link("users.json", "/no/such/folder/users.json"),
        "missing|cannot be used",
    ),
    "users.json links to itself": (link("users.json", "users.json"), "json is missing"),
    "chats.json links in a circle": (link("chats.json", "chats.json"), "json is missing"),
    "the lock is a folder": (replace_by_folder("store.lock"), "cannot be used: "),
    "the lock is closed": (forbid("store.lock", 0o000), "cannot be used: Permission denied"),
    "the key is closed": (forbid("secret.key", 0o000), "secret.key cannot be used: Permission denied"),
    "the key is a folder": (replace_by_folder("secret.key"), "secret.key cannot be used: Is a directory"),
}


def remaining(data: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in data.glob("*.json") if path.is_file()}


@pytest.mark.parametrize("name", START)
def test_a_folder_that_cannot_be_used_is_one_clear_sentence_at_the_start(
    top: Path, lesser: Lesser, name: str
) -> None:
    prepare, sentence = START[name]
    if name == "the folder is a file":
        shutil.rmtree(top / "data")
        (top / "data").write_text("x")
    else:
        prepare(top / "data")
    if os.geteuid() == 0:
        give(top)
    before = remaining(top / "data")

    answer = lesser.ask("open", top / "data")

    assert answer.get("status") in (500, 503), answer
    assert "\n" not in answer["refused"]
    assert any(each in answer["refused"] for each in sentence.split("|")), answer["refused"]
    assert remaining(top / "data") == before


def test_the_folder_of_another_user_is_one_clear_sentence_at_the_start(top: Path, lesser: Lesser) -> None:
    if os.geteuid() != 0:
        (top / "data").chmod(0o000)
    else:
        os.chown(top / "data", 0, 0)

    assert "cannot be used: Permission denied" in lesser.ask("open", top / "data")["refused"]


@pytest.mark.parametrize("name", ["journal/000000002.jsonl", "users.json", "chats.json"])
def test_a_file_of_another_user_is_one_clear_sentence_at_the_start_and_for_a_command(
    top: Path, lesser: Lesser, name: str
) -> None:
    path = top / "data" / name
    before = remaining(top / "data")
    path.chmod(0o000)
    if os.geteuid() == 0:
        os.chown(path, 0, 0)

    refused = lesser.ask("open", top / "data")["refused"]
    exit_code, printed = lesser.ask("check", top / "data")
    path.chmod(0o600)

    assert f"cannot be used: Permission denied ({path})" in refused
    assert "\n" not in refused
    assert exit_code == 1
    assert printed == f"Error: {path} cannot be used: Permission denied. Mend that and try again.\n"
    assert remaining(top / "data") == before


@pytest.mark.parametrize("verb", ["check", "stats", "backup"])
def test_a_closed_folder_is_named_itself_by_every_command(top: Path, lesser: Lesser, verb: str) -> None:
    (top / "data").chmod(0o000)

    exit_code, printed = lesser.ask(verb, top / "data")

    assert exit_code == 1
    assert printed.count("\n") == 1
    assert f"{top / 'data'} cannot be used: Permission denied" in printed or (
        f"No copy was made: Permission denied ({top / 'data'})" in printed
    )


def test_a_missing_folder_and_its_parents_are_made_for_their_owner_alone(top: Path, lesser: Lesser) -> None:
    """The process runs with a umask that would let everybody in."""
    assert lesser.ask("open", top / "a" / "b" / "data") == "open"
    lesser.ask("add", "bob")
    lesser.ask("checkpoint")

    made = [path for path in (top / "a").rglob("*") if path.parent != top / "a"]
    assert {path.stat().st_mode & 0o777 for path in made if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in made if path.is_file()} == {0o600}
    assert {path.name for path in made} >= {"users.json", "chats.json", "secret.key", "store.lock", "journal"}


def test_a_folder_made_read_only_while_it_is_used_costs_nothing_and_recovers(
    top: Path, lesser: Lesser
) -> None:
    data = top / "data"
    assert lesser.ask("open", data) == "open"
    for folder in (data, data / "journal"):
        folder.chmod(0o500)

    added = lesser.ask("add", "bob")
    written = lesser.ask("checkpoint")
    names = lesser.ask("names")
    for folder in (data, data / "journal"):
        folder.chmod(0o700)

    assert added == "added"
    assert written["status"] == 503
    assert "may not write to its data folder" in written["refused"]
    assert names == ["alice", "bob"]
    assert lesser.ask("checkpoint") == "written"
    assert lesser.ask("add", "charlie") == "added"
    lesser.ask("close")
    with reopened(data) as store:
        assert [user.username for user in store.users.all()] == ["alice", "bob", "charlie"]


@pytest.mark.parametrize("gone", ["chats.json", "users.json", "quarantine", "secret.key"])
def test_a_file_removed_while_it_is_used_is_there_again_after_the_stop(top: Path, gone: str) -> None:
    data = top / "data"
    store = open_store(data)
    (data / "quarantine").mkdir(exist_ok=True)
    (data / "secret.key").touch()
    path = data / gone
    path.rmdir() if path.is_dir() else path.unlink()
    store.close()

    with reopened(data) as after:
        [alice] = after.users.all()
        assert len(after.chats.list(alice.id)) == 1


@pytest.mark.parametrize("gone", [".", "journal"])
def test_a_folder_removed_while_it_is_used_is_refused_once_and_written_anew_by_itself(
    top: Path, lesser: Lesser, gone: str
) -> None:
    data = top / "data"
    assert lesser.ask("open", data) == "open"
    lesser.ask("add", "bob")
    shutil.rmtree(data / gone)

    refused = lesser.ask("add", "charlie")
    eventually(lambda: lesser.ask("add", "dora") == "added")

    assert refused["status"] == 503
    assert "was not saved" in refused["refused"]
    shutil.copytree(data, top / "killed")
    with reopened(top / "killed") as store:
        assert [user.username for user in store.users.all()] == ["alice", "bob", "dora"]


def test_data_files_behind_links_are_followed_and_the_links_stay(top: Path, lesser: Lesser) -> None:
    data, elsewhere = top / "data", top / "elsewhere"
    elsewhere.mkdir()
    for name in ("users.json", "chats.json"):
        (data / name).rename(elsewhere / name)
        (data / name).symlink_to(elsewhere / name)
    give(top)

    assert lesser.ask("open", data) == "open"
    lesser.ask("add", "bob")
    assert lesser.ask("checkpoint") == "written"
    lesser.ask("close")

    assert (data / "users.json").is_symlink()
    assert b'"bob"' in (elsewhere / "users.json").read_bytes()
