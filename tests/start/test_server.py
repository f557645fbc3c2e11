"""The whole server: how it starts, what stops a start, and how it ends."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import pytest
import requests

from tests.fakes import scripts
from tests.fakes.believable import REPLY
from tests.fakes.ollama import FakeOllama
from tests.fakes.wire import Wire
from tests.start.conftest import StartServer
from tests.start.processes import Person, Server, children_of, eventually, lives

pytestmark = pytest.mark.start

ENDED_WITHIN_S = 10.0
ENDLESS = [
    {"model": "m", "message": {"role": "assistant", "content": f"word{n} "}, "done": False} for n in range(5)
]
# Makes orphans fall to the server, as they fall to process 1.
AS_PROCESS_1 = (
    *(sys.executable, "-c"),
    "import ctypes, runpy; ctypes.CDLL(None).prctl(36, 1); runpy.run_module('chatapp.serve', run_name='__main__')",
)

# Starts the server and adopts whom it leaves behind.
AS_ADOPTER = (
    *(sys.executable, "-c"),
    "import ctypes, subprocess, sys, time; ctypes.CDLL(None).prctl(36, 1); "
    "subprocess.run([sys.executable, '-m', 'chatapp.serve']); time.sleep(60)",
)


def test_the_address_is_printed_once_the_site_answers(start_server: StartServer, ollama: FakeOllama) -> None:
    server = start_server().wait_until_ready()

    lines = server.out.splitlines()

    assert server.answers()
    assert lines[:2] == [f"chatapp is ready: {server.url}", f"Models come from Ollama at {ollama.url}."]
    assert lines[2].startswith("Setup code, asked for when the first account is made over the network: ")


def test_the_setup_code_is_printed_until_somebody_has_registered(start_server: StartServer) -> None:
    first = start_server().wait_until_ready()
    first.signal(signal.SIGTERM)
    first.wait(ENDED_WITHIN_S)
    second = start_server().wait_until_ready()
    Person(second, "alice")
    second.signal(signal.SIGTERM)
    second.wait(ENDED_WITHIN_S)
    third = start_server().wait_until_ready()

    codes = [
        [line for line in server.out.splitlines() if "Setup code" in line]
        for server in (first, second, third)
    ]

    assert len(codes[0]) == 1
    assert codes[1] == codes[0]
    assert codes[2] == []


def test_no_answer_tells_which_version_of_what_serves_it(start_server: StartServer) -> None:
    server = start_server().wait_until_ready()

    answer = requests.get(f"{server.url}/login", timeout=5)

    assert answer.headers["Server"] == "gunicorn"


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"PORT": "abc"}, "PORT=abc is not allowed: it must be a whole number from 1 to 65535."),
        ({"WEB_CONCURRENCY": "4"}, "WEB_CONCURRENCY=4 is not allowed: "),
        ({"CHATAPP_DATA_DIR": "/dev/null/data"}, "CHATAPP_DATA_DIR=/dev/null/data cannot be written to: "),
        ({"HOST": "192.0.2.1"}, "HOST=192.0.2.1 is not an address of this machine: "),
        ({"GUNICORN_CMD_ARGS": "--preload"}, "chatapp runs as one gthread worker without preload: "),
        ({"GUNICORN_CMD_ARGS": "--workers 2"}, "chatapp runs as one gthread worker without preload: "),
    ],
)
def test_a_setting_that_is_not_allowed_ends_the_start_with_one_line(
    start_server: StartServer, settings: dict[str, str], line: str
) -> None:
    server = start_server(**settings)

    assert server.wait(ENDED_WITHIN_S) == 1
    assert server.err.startswith(line)
    assert server.err.count("\n") == 1
    assert server.out == ""


def test_a_busy_port_ends_the_start_with_one_line_before_anything_is_started(
    start_server: StartServer, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = start_server(PORT=str(port))

        assert server.wait(ENDED_WITHIN_S) == 1

    assert server.err == (
        f"Port {port} is already in use on 127.0.0.1: end the program that uses it, "
        f"or choose another port, for example PORT={port + 1} ./start.sh\n"
    )
    assert not list((tmp_path / "data").iterdir())


def test_a_second_server_over_the_same_folder_is_refused_and_the_first_goes_on(
    start_server: StartServer,
) -> None:
    first = start_server().wait_until_ready()
    second = start_server()

    assert second.wait(ENDED_WITHIN_S) == 1
    assert second.err.count("\n") == 1
    assert "data" in second.err
    assert first.answers()


def test_a_damaged_data_file_ends_the_start_with_one_line_and_is_left_as_it_is(
    start_server: StartServer, tmp_path: Path
) -> None:
    users = tmp_path / "data" / "users.json"
    users.parent.mkdir()
    users.write_text("this is no file of users")

    server = start_server()

    assert server.wait(ENDED_WITHIN_S) == 1
    assert server.err.count("\n") == 1
    assert "users.json" in server.err
    assert users.read_text() == "this is no file of users"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_everything_in_order(start_server: StartServer, number: int) -> None:
    server = start_server().wait_until_ready()
    family = server.family()

    server.signal(number)

    assert server.wait(ENDED_WITHIN_S) == 0
    assert [pid for pid in family if lives(pid)] == []
    assert not server.answers()
    assert server.err == ""


def test_a_stop_tells_followers_the_end_and_keeps_what_the_reply_had(
    start_server: StartServer, ollama: FakeOllama
) -> None:
    ollama.always("/api/chat", scripts.lines(*ENDLESS, ending="stall"))
    server = start_server().wait_until_ready()
    alice = Person(server, "alice")
    chat_id = alice.new_chat()
    with alice.follow(alice.ask(chat_id, "Tell me a story.")["events_url"]) as stream:
        events = (line for line in stream.iter_lines(1) if line.startswith(b"event: "))
        seen = [next(events)]
        while b"piece" not in seen[-1]:
            seen.append(next(events))

        server.signal(signal.SIGINT)
        seen += list(events)

    assert server.wait(ENDED_WITHIN_S) == 0
    assert seen[-1] == b"event: interrupted"
    again = start_server(PORT=str(server.port)).wait_until_ready()
    alice.server = again
    question, reply = alice.messages(chat_id)
    assert question["content"] == "Tell me a story."
    assert reply["status"] == "interrupted"
    assert reply["content"].startswith("word0")


def test_a_reply_that_ends_soon_after_a_stop_is_kept_whole(
    start_server: StartServer, ollama: FakeOllama
) -> None:
    stopping = threading.Event()

    def script(wire: Wire) -> None:
        wire.begin()
        wire.line(scripts.piece("Half a sentence"))
        wire.wait_for(stopping)
        wire.pause(2)
        wire.line(scripts.piece(" and the rest."))
        wire.line(scripts.done())
        wire.end()

    ollama.next("/api/chat", script)
    server = start_server().wait_until_ready()
    alice = Person(server, "alice")
    chat_id = alice.new_chat()
    with alice.follow(alice.ask(chat_id, "Tell me a story.")["events_url"]) as stream:
        next(line for line in stream.iter_lines(1) if line == b"event: piece")
        server.signal(signal.SIGTERM)
        eventually(lambda: "Stopping" in server.out)
        stopping.set()

        assert server.wait(ENDED_WITHIN_S) == 0

    alice.server = start_server(PORT=str(server.port)).wait_until_ready()
    reply = alice.messages(chat_id)[-1]
    assert (reply["status"], reply["content"]) == ("complete", "Half a sentence and the rest.")


def test_what_is_asked_and_answered_soon_stands_in_the_file_of_chats(
    start_server: StartServer, tmp_path: Path
) -> None:
    alice = Person(start_server().wait_until_ready(), "alice")

    alice.ask(alice.new_chat(), "Which city is it?")

    chats = tmp_path / "data" / "chats.json"
    eventually(lambda: "Which city is it?" in chats.read_text() and REPLY[:20] in chats.read_text())


def test_a_second_signal_ends_everything_at_once(start_server: StartServer, ollama: FakeOllama) -> None:
    ollama.always("/api/chat", scripts.lines(*ENDLESS, ending="stall"))
    server = start_server().wait_until_ready()
    alice = Person(server, "alice")
    family = server.family()
    with alice.follow(alice.ask(alice.new_chat(), "Tell me a story.")["events_url"]) as stream:
        next(stream.iter_lines(1))
        server.signal(signal.SIGINT)
        eventually(lambda: "Stopping" in server.out)
        asked_s = time.monotonic()
        server.signal(signal.SIGINT)

        assert server.wait(ENDED_WITHIN_S) == 130

    assert time.monotonic() - asked_s < 3
    eventually(lambda: not any(map(lives, family)))


def test_everything_ends_when_the_supervisor_is_killed(start_server: StartServer) -> None:
    server = start_server().wait_until_ready()
    family = server.family()

    os.kill(server.process.pid, signal.SIGKILL)
    server.wait(ENDED_WITHIN_S)

    eventually(lambda: not any(map(lives, family)))


def test_a_worker_that_alone_is_left_ends_itself_and_nobody_else(start_server: StartServer) -> None:
    adopter = start_server(AS_ADOPTER).wait_until_ready()
    _, supervisor, gunicorn, worker = adopter.family()

    os.kill(worker, signal.SIGSTOP)
    os.kill(supervisor, signal.SIGKILL)
    os.kill(gunicorn, signal.SIGKILL)
    eventually(lambda: not lives(gunicorn))
    os.kill(worker, signal.SIGCONT)

    eventually(lambda: not lives(worker))
    assert adopter.process.poll() is None


@pytest.mark.parametrize("victim", [Server.worker, Server.gunicorn], ids=["worker", "gunicorn"])
def test_the_site_comes_back_when_a_part_of_it_is_killed(start_server: StartServer, victim: object) -> None:
    server = start_server().wait_until_ready()
    alice = Person(server, "alice")
    chat_id = alice.new_chat()
    killed = victim(server)  # type: ignore[operator]

    os.kill(killed, signal.SIGKILL)

    eventually(lambda: not lives(killed) and server.answers())
    assert alice.messages(chat_id) == []


def test_orphans_are_collected_as_process_1_must(start_server: StartServer) -> None:
    server = start_server(AS_PROCESS_1).wait_until_ready()
    worker = server.worker()

    os.kill(server.gunicorn(), signal.SIGKILL)

    eventually(lambda: not Path(f"/proc/{worker}").exists())
    eventually(server.answers)
    assert len(children_of(server.process.pid)) == 1


def test_a_signal_that_asks_for_another_worker_changes_nothing(start_server: StartServer) -> None:
    server = start_server().wait_until_ready()
    worker = server.worker()

    os.kill(server.gunicorn(), signal.SIGTTIN)
    time.sleep(1)

    assert children_of(server.gunicorn()) == [worker]
    assert server.answers()


def test_gunicorn_runs_it_without_the_supervisor_too(start_server: StartServer) -> None:
    top = Path(__file__).resolve().parents[2]
    config = str(top / "gunicorn.conf.py")
    server = start_server(
        (sys.executable, "-m", "gunicorn", "-c", config, "--pythonpath", str(top), "wsgi:app")
    )
    eventually(server.answers)

    server.signal(signal.SIGTERM)

    assert server.wait(ENDED_WITHIN_S) == 0
    assert "Traceback" not in server.err
