"""The command line, over a real data folder and a scriptable Ollama."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import pytest
from flask import Flask

from chatapp import cli
from chatapp.storage.json_store import open_store
from tests.fakes import scripts
from tests.fakes.ollama import FakeOllama
from tests.unit.conftest import Run

PASSWORD = "correct horse battery"


def test_the_first_account_becomes_root_and_the_next_does_not(run: Run) -> None:
    first = run("user", "create", "alice", input=f"{PASSWORD}\n{PASSWORD}\n")
    second = run("user", "create", "bob", "--password", PASSWORD)

    assert first.output.splitlines()[-1] == "alice was made; the role is root."
    assert second.output == "bob was made; the role is user.\n"


def test_accounts_are_listed(run: Run) -> None:
    run("user", "create", "alice", "--password", PASSWORD)
    run("user", "create", "bob", "--password", PASSWORD)

    listed = run("user", "list").output.splitlines()

    assert [line.split()[:2] for line in listed] == [["alice", "root"], ["bob", "user"]]


def test_a_password_can_be_set_anew(run: Run, data: Path) -> None:
    run("user", "create", "alice", "--password", PASSWORD)
    before = open_store(data)
    old_hash = before.users.all()[0].password_hash
    before.close()

    answer = run("user", "reset-password", "Alice", "--password", "another good one")

    after = open_store(data)
    assert answer.output == "alice has a new password.\n"
    assert after.users.all()[0].password_hash != old_hash
    after.close()


def test_a_command_that_imports_a_plain_file_says_so(run: Run, data: Path) -> None:
    data.mkdir()
    (data / "users.json").write_text('{"alice": {"password": "secret"}}')

    answer = run("user", "reset-password", "alice", "--password", PASSWORD)

    assert answer.output.splitlines()[0] == "users.json had a simpler layout. Imported from it: 1 user."
    assert answer.output.splitlines()[-1] == "alice has a new password."


def test_somebody_is_made_root_and_the_last_root_stays(run: Run) -> None:
    run("user", "create", "alice", "--password", PASSWORD)
    run("user", "create", "bob", "--password", PASSWORD)

    answers = [
        run("user", "set-role", *words)
        for words in (("alice", "user"), ("BOB", "root"), ("alice", "user"), ("bob", "user"))
    ]

    assert [each.output for each in answers] == [
        "Error: alice is the only root. Make somebody else root first.\n",
        "The role of bob is root.\n",
        "The role of alice is user.\n",
        "Error: bob is the only root. Make somebody else root first.\n",
    ]
    assert [each.exit_code for each in answers] == [1, 0, 0, 1]


def test_an_unknown_role_is_refused(run: Run) -> None:
    assert run("user", "set-role", "alice", "king").exit_code == 2


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("user", "create", "a", "--password", PASSWORD), "A user name has 2 to 32 letters"),
        (("user", "create", "alice", "--password", "short"), "Choose a password of at least 8 characters."),
        (("user", "reset-password", "nobody", "--password", PASSWORD), "There is no user named nobody."),
        (("user", "set-role", "nobody", "root"), "There is no user named nobody."),
        (("user", "list"), "There is no data in "),
        (("store", "check"), "There is no data in "),
    ],
)
def test_a_refusal_is_one_line(run: Run, words: tuple[str, ...], line: str) -> None:
    refused = run(*words)

    assert refused.exit_code == 1
    assert refused.output.startswith(f"Error: {line}")
    assert refused.output.count("\n") == 1


def test_what_writes_is_refused_beside_a_running_server_and_what_reads_works(run: Run, data: Path) -> None:
    run("user", "create", "alice", "--password", PASSWORD)
    server = open_store(data)

    refused = run("user", "create", "bob", "--password", PASSWORD)
    listed = run("user", "list")
    checked = run("store", "check")
    server.close()

    assert refused.exit_code == 1
    assert refused.output.count("\n") == 1
    assert listed.output.startswith("alice ")
    assert checked.output == "Sound: 1 user, 0 chats.\n"


def test_a_damaged_file_is_reported_and_left_as_it_is(run: Run, data: Path) -> None:
    run("user", "create", "alice", "--password", PASSWORD)
    damaged = (data / "users.json").read_bytes().replace(b'"alice"', b'"alicf')
    (data / "users.json").write_bytes(damaged)

    checked = run("store", "check")

    assert checked.exit_code == 1
    assert "users.json" in checked.output
    assert (data / "users.json").read_bytes() == damaged


def test_a_missing_file_is_reported(run: Run, data: Path) -> None:
    run("user", "create", "alice", "--password", PASSWORD)
    (data / "chats.json").unlink()

    checked = run("store", "check")

    assert checked.exit_code == 1
    assert checked.output.startswith(
        f"Error: {data / 'chats.json'} is missing. Nothing was changed. Put it back "
    )
    assert checked.output.count("\n") == 1


def test_a_full_disk_is_one_line(run: Run, data: Path) -> None:
    run("user", "create", "alice", "--password", PASSWORD)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, before[1]))
    try:
        refused = run("user", "create", "bob", "--password", PASSWORD)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)

    assert refused.exit_code == 1
    assert refused.output.count("\n") == 1
    assert refused.output.startswith("Error: The server's disk is full, so this was not saved.")


def test_models_are_listed_pulled_and_deleted(
    run: Run, ollama: FakeOllama, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_URL", ollama.url)
    ollama.next("/api/pull", scripts.lines({"status": "pulling manifest"}, {"status": "success"}))
    ollama.next("/api/delete", scripts.answer(200))

    listed = run("models", "list")
    pulled = run("models", "pull", "smollm2:135m")
    deleted = run("models", "delete", "smollm2:135m")

    assert listed.exit_code == 0
    assert pulled.output == "pulling manifest\nsmollm2:135m is installed.\n"
    assert deleted.output == "smollm2:135m is deleted.\n"


def test_the_engine_of_a_running_server_is_found(
    run: Run, data: Path, ollama: FakeOllama, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OLLAMA_URL", raising=False)
    (data / "engine").mkdir(parents=True)
    (data / "engine" / "address").write_text(ollama.url + "\n")

    run("models", "list")

    assert len(ollama.calls_to("/api/tags")) == 1


def test_settings_are_shown_without_secrets(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "hidden-0123456789abcdefghijklmnop")
    monkeypatch.setenv("OLLAMA_URL", "http://me:hidden@host:1")
    monkeypatch.setenv("CORS_ORIGINS", "https://a.example https://b.example")

    shown = run("config").output

    assert "hidden" not in shown
    assert "http://host:1" in shown
    assert "https://a.example, https://b.example" in shown


def test_a_wrong_setting_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "abc")

    shown = run("config")

    assert shown.exit_code == 1
    assert shown.output == "Error: PORT=abc is not allowed: it must be a whole number from 1 to 65535.\n"


def test_the_addresses_of_all_pages_are_known_but_none_is_served(run: Run, app: Flask) -> None:
    commands = cli.create_app()

    answer = commands.test_client().get("/login")

    assert (answer.status_code, answer.text) == (503, "Start the site with ./start.sh\n")
    rules = {(rule.rule, rule.endpoint) for rule in app.url_map.iter_rules() if rule.endpoint != "static"}
    assert rules <= {(rule.rule, rule.endpoint) for rule in commands.url_map.iter_rules()}
