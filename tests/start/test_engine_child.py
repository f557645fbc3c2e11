"""The embedded engine beside the site: started, started again, and missing."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
import requests

from tests.start.conftest import StartServer
from tests.start.processes import TOP, Server, children_of, command_line, eventually, lives

pytestmark = [pytest.mark.start, pytest.mark.engine]


def engine_of(server: Server) -> int | None:
    pids = children_of(server.process.pid)
    return next((pid for pid in pids if "chatapp.engine" in command_line(pid) and lives(pid)), None)


def engine_is_reached(server: Server) -> bool:
    return bool(requests.get(f"{server.url}/health", timeout=5).json()["ollama"] == "reachable")


def test_the_engine_is_used_and_ends_with_the_site(start_server: StartServer) -> None:
    server = start_server(ENGINE="always").wait_until_ready()
    eventually(lambda: engine_is_reached(server))
    family = server.family()

    server.signal(signal.SIGTERM)

    assert "Models come from the embedded engine." in server.out
    assert server.wait(10) == 0
    assert [pid for pid in family if lives(pid)] == []


def test_an_engine_that_crashes_comes_back_at_the_same_address(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server(ENGINE="always").wait_until_ready()
    eventually(lambda: engine_is_reached(server))
    address = (tmp_path / "data" / "engine" / "address").read_text()
    crashed = engine_of(server)
    assert crashed is not None

    os.kill(crashed, signal.SIGKILL)

    eventually(lambda: "The embedded engine has ended (signal 9); it starts again in 1 s." in server.err)
    assert server.answers()
    eventually(lambda: engine_is_reached(server))
    assert (tmp_path / "data" / "engine" / "address").read_text() == address


def test_a_second_server_that_is_refused_leaves_the_first_ones_engine_alone(
    start_server: StartServer, tmp_path: Path
) -> None:
    first = start_server(ENGINE="always").wait_until_ready()
    eventually(lambda: engine_is_reached(first))
    folder = tmp_path / "data" / "engine"
    before = {name: (folder / name).read_text() for name in ("address", "state")}

    refused = start_server(ENGINE="always")

    assert refused.wait(10) == 1
    assert {name: (folder / name).read_text() for name in before} == before
    assert engine_is_reached(first)


def test_the_engine_ends_when_the_supervisor_is_killed(start_server: StartServer) -> None:
    server = start_server(ENGINE="always").wait_until_ready()
    eventually(lambda: engine_is_reached(server))
    family = server.family()

    os.kill(server.process.pid, signal.SIGKILL)
    server.wait(10)

    eventually(lambda: not any(map(lives, family)))


@pytest.fixture
def sources_without_engine(tmp_path: Path) -> Path:
    """A copy of the sources whose engine needs a package that cannot be had."""
    copy = tmp_path / "sources"
    for name in ("chatapp", "templates", "static"):
        shutil.copytree(TOP / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("wsgi.py", "gunicorn.conf.py"):
        shutil.copy2(TOP / name, copy / name)
    (copy / "requirements-engine.txt").write_text("no-such-package-anywhere==1\n")
    return copy


def test_the_site_runs_where_the_engine_cannot_be_installed(
    start_server: StartServer, sources_without_engine: Path
) -> None:
    settings = {"ENGINE": "always", "PIP_NO_INDEX": "1", "PYTHONPATH": str(sources_without_engine)}

    server = start_server(**settings).wait_until_ready()

    eventually(lambda: "cannot be installed here" in server.err, timeout_s=30)
    assert server.err == (
        "The embedded engine cannot be installed here: "
        "No matching distribution found for no-such-package-anywhere==1. "
        "Install Ollama (https://ollama.com/download) or set OLLAMA_URL; the site runs meanwhile.\n"
    )
    assert "Installing the embedded engine; the site opens meanwhile." in server.out
    assert server.answers()


def test_a_stop_while_the_engine_is_being_installed_ends_the_installation(
    start_server: StartServer, sources_without_engine: Path
) -> None:
    # An index that never answers keeps pip busy.
    settings = {
        "ENGINE": "always",
        "PIP_INDEX_URL": "http://192.0.2.1/simple",
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_DEFAULT_TIMEOUT": "60",
        "PYTHONPATH": str(sources_without_engine),
    }
    server = start_server(**settings).wait_until_ready()
    family = server.family()

    server.signal(signal.SIGINT)

    assert server.wait(10) == 0
    assert [pid for pid in family if lives(pid)] == []
