"""flask store and flask export, over a real data folder."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest

from chatapp.storage.files import Files
from chatapp.storage.json_store import JsonStore, open_store
from chatapp.storage.lines import encode_entry, split_entry
from tests.fakes.files import error
from tests.records import NOON, a_chat, a_message, a_reply, a_session, a_user
from tests.unit.conftest import Run

ALICE, CHAT = "alice-id", "chat-id"


@pytest.fixture
def server(data: Path) -> Iterator[JsonStore]:
    """A store as a running server holds it: one account, one chat of two messages, one more only in the journal."""
    store = open_store(data)
    store.users.add(a_user("alice", id=ALICE, sessions=(a_session("of a browser"),)))
    store.chats.add(a_chat(ALICE, id=CHAT, title="Äpfel", messages=(a_message("one"), a_message("two"))))
    store.checkpoint()
    store.chats.add_messages(ALICE, CHAT, [a_message("three")])
    yield store
    store.close()


@pytest.fixture
def stopped(server: JsonStore) -> None:
    server.close()


def test_what_is_kept_is_counted(run: Run, server: JsonStore, data: Path) -> None:
    lines = run("store", "stats").output.splitlines()

    counts = {
        name.strip(): int(count.replace(",", ""))
        for name, count in (line.rsplit(maxsplit=1) for line in lines)
    }
    sizes = {name: counts.pop(name) for name in list(counts) if name.startswith("bytes")}
    assert counts == {
        "users": 1, "chats": 1, "messages": 3, "journal files": 2, "records in them": 3, "last record": 3,
        "in quarantine": 0, "in backups": 0,
    }  # fmt: skip
    assert sizes["bytes of users.json"] == (data / "users.json").stat().st_size
    assert sizes["bytes of chats.json"] == (data / "chats.json").stat().st_size
    assert sizes["bytes of journal"] == sum(path.stat().st_size for path in (data / "journal").iterdir())
    assert sizes["bytes"] == sum(size for name, size in sizes.items() if name != "bytes")


def test_everything_that_is_not_as_it_should_be_is_told(run: Run, server: JsonStore, data: Path) -> None:
    server.chats.add(a_chat("nobody", messages=(a_message("hello"),)))
    server.chats.add(a_chat(ALICE, title="Doubled", messages=(a_message("twice"),)))
    server.close()
    lines = (data / "chats.json").read_bytes().replace(b"pfel", b"PFEL").split(b"\n")
    place = next(number for number, line in enumerate(lines) if b"Doubled" in line)
    lines[place] = with_its_messages_twice(lines[place])
    (data / "chats.json").write_bytes(b"\n".join(lines))

    checked = run("store", "check")

    assert checked.exit_code == 1
    edited, nobodys, doubled, verdict = checked.output.splitlines()
    assert nobodys == "Chats that belong to no account in users.json: 1. They are kept, but nobody sees them."
    assert edited.startswith("chats.json, byte ")
    assert "changed outside of chatapp" in edited
    assert doubled.endswith(" holds a message twice.")
    assert verdict == "Error: Not everything is as it should be; see above."


def with_its_messages_twice(line: bytes) -> bytes:
    """Return the line of a chat, whole, as a server that doubles messages would write it."""
    key, members = split_entry(line.removesuffix(b","))
    start, _, messages = members.removesuffix(b"]}").partition(b'"messages":[')
    doubled = start + b'"messages":[' + messages + b"," + messages + b"]}"
    return encode_entry(key, doubled) + line[len(line.removesuffix(b",")) :]


def test_a_copy_is_made_beside_a_running_server_and_put_back(run: Run, server: JsonStore, data: Path) -> None:
    copied = run("store", "backup", "copy")
    refused = run("store", "restore", "copy")
    server.chats.delete(ALICE, CHAT)
    server.close()
    restored = run("store", "restore", "copy")

    assert copied.output.startswith("Copied 1 user, 1 chat, 3 messages (")
    assert copied.output.endswith(" bytes) to copy.\n")
    assert (refused.exit_code, refused.output.count("\n")) == (1, 1)
    assert "Stop that one first" in refused.output
    assert restored.output.splitlines()[0].startswith("Restored 1 user, 1 chat, 3 messages (")
    [kept] = (data / "backups").iterdir()
    assert restored.output.splitlines()[1:] == [f"What was there before is in {kept}."]
    assert run("store", "check").output == "Sound: 1 user, 1 chat.\n"


def test_a_backup_moves_to_another_folder(
    run: Run, stopped: None, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("store", "backup", "copy")
    monkeypatch.setenv("CHATAPP_DATA_DIR", str(tmp_path / "elsewhere"))

    restored = run("store", "restore", "copy")

    assert restored.output.count("\n") == 1
    assert run("store", "check").output == "Sound: 1 user, 1 chat.\n"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("store", "backup", "data"), "data is not empty."),
        (
            ("store", "restore", "nowhere"),
            "There is no data in nowhere. Name a folder that `flask store backup` made.",
        ),
        (("store", "restore", "data"), "data is the data folder itself."),
        (("export", "--user", "nobody"), "There is no user named nobody."),
        (
            ("export", "--user", "alice", "--output", "nowhere/file.zip"),
            "nowhere/file.zip cannot be written: ",
        ),
        (("export", "--user", "alice", "--output", "data/users.json"), "data/users.json exists already."),
    ],
)
def test_a_refusal_is_one_line_and_changes_nothing(
    run: Run, stopped: None, data: Path, words: tuple[str, ...], line: str
) -> None:
    before = {path: path.read_bytes() for path in data.rglob("*.json*")}

    refused = run(*words)

    assert refused.exit_code == 1
    assert refused.output.startswith(f"Error: {line}")
    assert refused.output.count("\n") == 1
    assert {path: path.read_bytes() for path in data.rglob("*.json*")} == before


@pytest.mark.parametrize("command", ["check", "stats", "repair"])
def test_without_data_a_command_says_so(run: Run, command: str) -> None:
    refused = run("store", command)

    assert refused.exit_code == 1
    assert refused.output.startswith("Error: There is no data in ")
    assert "Start the server once, or set CHATAPP_DATA_DIR" in refused.output
    assert refused.output.count("\n") == 1


def test_a_sound_folder_needs_no_repair(run: Run, stopped: None) -> None:
    assert run("store", "repair").output == "Nothing to repair.\n"


def test_a_damaged_folder_is_repaired_and_says_what_became_of_it(run: Run, stopped: None, data: Path) -> None:
    shutil.rmtree(data / "journal")
    assert run("store", "check").exit_code == 1

    repaired = run("store", "repair")

    [originals] = (data / "backups").iterdir()
    assert repaired.exit_code == 0
    assert repaired.output.splitlines()[0].startswith("The journal is missing.")
    assert "Kept 1 user, 1 chat, 3 messages (" in repaired.output
    assert repaired.output.splitlines()[-1] == f"The files as they were found are in {originals}."
    assert run("store", "check").output == "Sound: 1 user, 1 chat.\n"


def test_a_copy_of_a_folder_with_a_damaged_chat_is_made_and_says_so(
    run: Run, stopped: None, data: Path
) -> None:
    content = (data / "chats.json").read_bytes()
    (data / "chats.json").write_bytes(content.replace(b'"one"', b'"on\0e"'))

    copied = run("store", "backup", "copy")

    assert copied.exit_code == 1
    assert copied.output.startswith("Copied 1 user, 0 chats")
    assert "chats.json, byte " in copied.output
    assert copied.output.splitlines()[-1].startswith("Error: The copy was made; ")


def test_a_copy_of_a_plain_folder_tells_of_its_files_by_their_names(run: Run, data: Path) -> None:
    data.mkdir()
    (data / "users.json").write_text('{"alice": {"role": "root"}}')
    (data / "chats.json").write_text("{}")

    copied = run("store", "backup", "copy")

    assert "users.json had a simpler layout." in copied.output
    assert "unfinished" not in copied.output
    assert Path("copy/users.json").read_bytes() == (data / "users.json").read_bytes()


def test_somebody_takes_everything_along(run: Run, server: JsonStore) -> None:
    server.users.add(a_user("bob"))
    server.chats.add(a_chat(ALICE, id="deleted-id", deleted_at=NOON))
    server.chats.add_messages(ALICE, CHAT, [a_reply("four", status="complete", model="smollm2:135m")])

    wrote = run("export", "--user", "Alice", "--output", "alice.zip")

    assert wrote.output == "Wrote 1 chat of alice to alice.zip.\n"
    assert Path("alice.zip").stat().st_mode & 0o777 == 0o600
    with ZipFile("alice.zip") as archive:
        assert archive.namelist() == ["account.json", f"chats/{CHAT}.json", f"chats/{CHAT}.md"]
        account = json.loads(archive.read("account.json"))
        chat = json.loads(archive.read(f"chats/{CHAT}.json"))
        text = archive.read(f"chats/{CHAT}.md").decode()
        everything = b"".join(archive.read(name) for name in archive.namelist())
    assert (account["username"], account["role"], len(account["sessions"])) == ("alice", "root", 1)
    assert [each["content"] for each in chat["messages"]] == ["one", "two", "three", "four"]
    assert text.startswith("# Äpfel\n")
    assert b"scrypt" not in everything
    assert b"of a browser" not in everything


def test_without_a_name_the_file_is_called_after_the_person_and_the_day(run: Run, server: JsonStore) -> None:
    wrote = run("export", "--user", "alice")

    [path] = Path().glob("alice-20??-??-??.zip")
    assert wrote.output == f"Wrote 1 chat of alice to {path}.\n"


def test_an_export_that_cannot_be_finished_leaves_no_file(
    run: Run, server: JsonStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_files: Files, _fd: int) -> None:
        raise error(errno.ENOSPC)

    monkeypatch.setattr(Files, "sync", full)

    wrote = run("export", "--user", "alice", "--output", "alice.zip")
    monkeypatch.undo()

    assert wrote.exit_code == 1
    assert wrote.output == "Error: alice.zip could not be written: No space left on device.\n"
    assert not Path("alice.zip").exists()


@pytest.mark.parametrize("name", ["users.json", "chats.json", "journal"])
@pytest.mark.parametrize("words", [("store", "check"), ("store", "repair"), ("store", "backup", "copy")])
def test_a_pipe_in_place_of_a_file_is_one_line(
    run: Run, stopped: None, data: Path, name: str, words: tuple[str, ...]
) -> None:
    path = data / name if (data / name).is_file() else max((data / name).iterdir())
    path.unlink()
    os.mkfifo(path)

    refused = run(*words)

    assert refused.exit_code == 1
    assert refused.output.count("\n") == 1
    assert path.name in refused.output
    assert "no regular file" in refused.output
