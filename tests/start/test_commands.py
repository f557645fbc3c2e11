"""The command line as people use it: real processes, beside a real server that is written to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import ZipFile

import pytest
import requests

from tests.start.conftest import StartServer
from tests.start.processes import TOP, Person, Server

pytestmark = pytest.mark.start

PASSWORD = "correct horse battery"
ENDED_WITHIN_S = 10.0
COPIES = 10
WRITERS = 3


def flask(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, with the data in ``data`` below it, found as ``.flaskenv`` says."""
    settings = {"CHATAPP_DATA_DIR": str(folder / "data"), "PYTHONPATH": str(TOP)}
    app = (TOP / ".flaskenv").read_text().strip().split("=")
    return subprocess.run(
        [sys.executable, "-m", "flask", *words],
        cwd=folder,
        env={**os.environ, **settings, app[0]: app[1]},
        capture_output=True,
        text=True,
        timeout=60,
    )


@dataclass
class Crowd:
    """People who write to one server until they are told to stop, and what it has acknowledged to them."""

    acknowledged: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def write(self, person: Person) -> None:
        while not self.ended.is_set():
            chat_id = person.new_chat()
            answer = person.ask(chat_id, "Good morning")
            self.acknowledged += [chat_id, answer["question_id"]]


@contextmanager
def writing(server: Server) -> Iterator[Crowd]:
    crowd = Crowd()
    people = [Person(server, f"person{number}") for number in range(WRITERS)]
    threads = [threading.Thread(target=crowd.write, args=[person]) for person in people]
    for thread in threads:
        thread.start()
    try:
        yield crowd
    finally:
        crowd.ended.set()
        for thread in threads:
            thread.join()


def test_every_command_about_the_data_works_beside_a_running_server_or_says_that_it_has_to_stop(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server(RATELIMIT_ENABLED="false").wait_until_ready()
    alice = Person(server, "alice")
    alice.ask(alice.new_chat(), "Good morning")

    reading = [
        flask(tmp_path, *words)
        for words in (
            ("store", "check"), ("store", "stats"), ("store", "backup", "copy"), ("user", "list"),
            ("export", "--user", "alice", "--output", "alice.zip"), ("config",),
        )
    ]  # fmt: skip
    refused = [
        flask(tmp_path, *words)
        for words in (
            ("store", "repair"), ("store", "restore", "copy"), ("user", "set-role", "alice", "user"),
            ("user", "create", "bob", "--password", PASSWORD),
            ("user", "reset-password", "alice", "--password", PASSWORD),
        )
    ]  # fmt: skip

    assert [(each.args, each.stderr) for each in reading if each.returncode != 0 or each.stderr] == []
    assert [each.returncode for each in refused] == [1] * len(refused)
    assert {each.stderr.count("\n") for each in refused} == {1}
    assert [each.stderr for each in refused if "Stop that one first" not in each.stderr] == []
    with ZipFile(tmp_path / "alice.zip") as archive:
        assert len(archive.namelist()) == 3
    assert server.answers()


def test_copies_of_a_server_under_load_hold_everything_that_was_acknowledged(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server(RATELIMIT_ENABLED="false").wait_until_ready()

    with writing(server) as crowd:
        for number in range(COPIES):
            known = list(crowd.acknowledged)
            made = flask(tmp_path, "store", "backup", f"copy-{number}")
            assert made.returncode == 0, made.stderr
            kept = held_by(tmp_path / f"copy-{number}")
            assert set(known) - kept == set()

    assert len(crowd.acknowledged) > COPIES


def held_by(copy: Path) -> set[str]:
    """Return the ids of the chats and messages in a copy, as its files hold them, the journal included."""
    chats = json.loads((copy / "chats.json").read_bytes())["chats"]
    held = {message["id"] for chat in chats.values() for message in chat["messages"]} | set(chats)
    for path in sorted((copy / "journal").iterdir()):
        for line in path.read_text().splitlines():
            record = json.loads(line)
            for each in record["ops"] if record["op"] == "tx" else [record]:
                if each["op"] == "msg.add":
                    held |= {each["msg"]["id"], each["chat"]}
    return held


def test_a_server_goes_on_with_a_backup_on_another_machine(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server().wait_until_ready()
    alice = Person(server, "alice")
    chat_id = alice.new_chat()
    asked = alice.ask(chat_id, "Good morning")
    alice.follow(asked["events_url"]).content  # noqa: B018 - until the reply has ended
    before = alice.messages(chat_id)
    assert flask(tmp_path, "store", "backup", "copy").returncode == 0
    server.signal(signal.SIGTERM)
    server.wait(ENDED_WITHIN_S)
    (tmp_path / "machine").mkdir()

    moved = flask(tmp_path / "machine", "store", "restore", str(tmp_path / "copy"))

    assert moved.returncode == 0, moved.stderr
    alice.server = start_server(CHATAPP_DATA_DIR=str(tmp_path / "machine/data")).wait_until_ready()
    assert alice.messages(chat_id) == before, "the cookie is still good, the chat is the same"


def test_a_folder_that_refuses_to_start_is_repaired_and_starts(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server().wait_until_ready()
    alice = Person(server, "alice")
    chat_id = alice.new_chat()
    alice.follow(alice.ask(chat_id, "Good morning")["events_url"]).content  # noqa: B018
    server.signal(signal.SIGTERM)
    server.wait(ENDED_WITHIN_S)
    before = (tmp_path / "data/users.json").read_bytes()
    (tmp_path / "data/users.json").write_bytes(before[: before.index(b"\n")])
    refused = start_server()
    assert refused.wait(ENDED_WITHIN_S) != 0
    assert "flask store repair" in refused.out + refused.err
    (tmp_path / "data/users.json").write_bytes(before.removesuffix(b"\n}}\n"))

    repaired = flask(tmp_path, "store", "repair")

    assert repaired.returncode == 0, repaired.stderr
    assert "Kept 1 user, 1 chat, 2 messages" in repaired.stdout
    alice.server = start_server().wait_until_ready()
    assert [each["role"] for each in alice.messages(chat_id)] == ["user", "assistant"]


def test_a_disk_that_is_full_leaves_no_half_copy(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server().wait_until_ready()
    Person(server, "alice")

    limited = subprocess.run(
        ["bash", "-c", f"ulimit -f 0; exec {sys.executable} -m flask store backup copy"],
        cwd=tmp_path,
        env={
            **os.environ,
            "CHATAPP_DATA_DIR": str(tmp_path / "data"),
            "PYTHONPATH": str(TOP),
            "FLASK_APP": "chatapp.cli",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert limited.returncode == 1, limited.stderr
    assert limited.stderr.startswith("Error: No copy was made: File too large")
    assert limited.stderr.count("\n") == 1
    assert not (tmp_path / "copy").exists()
    assert requests.get(f"{server.url}/ready", timeout=10).ok
