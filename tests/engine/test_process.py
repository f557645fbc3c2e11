"""The engine as a process: how it starts, what it opens, and when it ends."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine.process import ROOT, EngineProcess, question, wait_until

pytestmark = pytest.mark.engine


def listening_sockets(pid: int) -> tuple[set[int], set[str]]:
    """Return the TCP ports and the paths of unix sockets that this process listens on."""
    inodes = set()
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        # The connection of the question before this one may be closed while the list is read.
        with contextlib.suppress(FileNotFoundError):
            target = str(handle.readlink())
            inodes |= {target[8:-1]} if target.startswith("socket:[") else set()
    return _tcp_ports(pid, inodes), _unix_paths(pid, inodes)


def _tcp_ports(pid: int, inodes: set[str]) -> set[int]:
    rows = [line.split() for name in ("tcp", "tcp6") for line in _table(pid, name)]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A" and row[9] in inodes}


def _unix_paths(pid: int, inodes: set[str]) -> set[str]:
    rows = [line.split() for line in _table(pid, "unix")]
    return {row[7] for row in rows if len(row) > 7 and row[3] == "00010000" and row[6] in inodes}


def _table(pid: int, name: str) -> list[str]:
    return Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]


def test_help_says_what_it_is_and_every_option() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "chatapp.engine", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert told.returncode == 0
    for word in ("Ollama's HTTP API", "smollm2:135m", "--host", "--port", "--models", "--parent-pid"):
        assert word in told.stdout


def test_a_port_in_use_is_told_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        told = subprocess.run(
            [sys.executable, "-m", "chatapp.engine", "--models", str(tmp_path), "--port", port],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=30,
        )

    assert told.returncode == 1
    assert len(told.stderr.splitlines()) == 1
    assert "Address already in use" in told.stderr


def test_only_its_own_port_is_open_and_llamas_listener_cannot_be_reached(own_engine: EngineProcess) -> None:
    own_engine.chat("Hi", options={"num_predict": 1})

    ports, paths = listening_sockets(own_engine.child.pid)

    assert ports == {own_engine.port}
    assert len(paths) == 1
    assert not Path(paths.pop()).exists()


def test_the_model_is_not_imported_before_it_is_needed(empty_engine: EngineProcess) -> None:
    maps = Path(f"/proc/{empty_engine.child.pid}/maps").read_text()

    assert "xllamacpp" not in maps


def test_sigterm_ends_it_in_mid_reply(own_engine: EngineProcess) -> None:
    with own_engine.streaming(
        "/api/chat", question("Write a long story.", options={"num_predict": 4000})
    ) as lines:
        next(lines)
        own_engine.child.send_signal(signal.SIGTERM)
        code = own_engine.child.wait(2)

    assert code == 0


def test_it_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = (
        "import os, subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-m', 'chatapp.engine', '--models', {str(tmp_path)!r},"
        " '--parent-pid', str(os.getpid())])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    engine_pid = int(parent.stdout.readline())
    parent.stdout.readline()

    parent.kill()
    parent.wait()

    wait_until(lambda: not is_running(engine_pid), timeout_s=3)
    parent.stdout.close()


def is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_everything_is_back_after_a_kill(
    own_engine: EngineProcess, start_engine: Callable[..., EngineProcess], tmp_path: Path
) -> None:
    own_engine.chat("Hi", options={"num_predict": 1})
    before = own_engine.ask("GET", "/api/tags").json
    own_engine.child.kill()
    own_engine.child.wait()

    again = start_engine(tmp_path / "models", None, "--port", str(own_engine.port))

    assert again.ask("GET", "/api/tags").json == before
    assert again.chat("Hi", options={"num_predict": 1})[-1]["done"] is True


def test_a_connection_can_be_used_for_many_requests(engine: EngineProcess) -> None:
    connection = engine.connect()

    for path, body in (
        ("/api/version", None),
        ("/api/show", b'{"model":"nope"}'),
        ("/nope", b"x"),
        ("/api/ps", None),
    ):
        connection.request("POST" if body else "GET", path, body)
        response = connection.getresponse()
        response.read()

    assert response.status == 200
    connection.close()


def test_a_chunked_request_body_is_read(engine: EngineProcess) -> None:
    connection = engine.connect()
    pieces = iter([b'{"model":', b'"smollm2:135m"}'])

    connection.request("POST", "/api/show", pieces, {"Transfer-Encoding": "chunked"}, encode_chunked=True)

    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"[1]", "json: cannot unmarshal array into Go value of type api.Request"),
        (b'{"model":"x"', "unexpected EOF"),
        (b'{"model":"x', "unexpected EOF"),
        (b'{"model":NaN}', "invalid character 'N' looking for beginning of value"),
        (b"\xff\xfe", "invalid character '\ufffd' looking for beginning of value"),
        (b'{"model":"x"}}', "model 'x' not found"),
        (b'{"model":' + b"[" * 100_000, "exceeded max depth"),
        (b'{"model":null}', "model is required"),
        (b'{"model":"../../etc/passwd"}', "invalid model name"),
        (b'{"model":"http://host/a/b"}', "invalid model name"),
    ],
)
def test_bad_bodies_are_refused_in_words(body: bytes, error: str, engine: EngineProcess) -> None:
    answer = engine.post("/api/show", body)

    assert answer.json == {"error": error}
    assert 400 <= answer.status < 500


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(engine: EngineProcess) -> None:
    answer = engine.ask("POST", "/api/chat", None, {"Content-Length": str(1 << 40)})

    assert answer.status == 413


def test_a_body_cut_short_takes_nobody_with_it(engine: EngineProcess) -> None:
    connection = engine.connect()
    connection.request("POST", "/api/chat", b"{", {"Content-Length": "100"})
    connection.close()

    assert engine.ask("GET", "/api/version").json == {"version": "0.33.0", "engine": "chatapp"}


def test_many_idle_connections_do_not_keep_others_out(engine: EngineProcess) -> None:
    idle = [socket.create_connection(("127.0.0.1", engine.port)) for _ in range(60)]

    answer = engine.ask("GET", "/api/version")

    assert answer.status == 200
    for connection in idle:
        connection.close()


def test_its_announcement_is_one_line_of_json(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "chatapp.engine", "--models", str(tmp_path / "a folder" / "to be made")]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert child.stdout is not None
    first = child.stdout.readline()
    time.sleep(0.1)
    child.terminate()
    rest = child.stdout.read()
    child.wait()

    assert json.loads(first)["url"].startswith("http://127.0.0.1:")
    assert rest == ""
    child.stdout.close()
