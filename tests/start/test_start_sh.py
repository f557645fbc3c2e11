"""start.sh as somebody runs it who has just fetched the sources: no environment yet, a path with spaces."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.ollama import FakeOllama
from tests.start import processes
from tests.start.processes import TOP, Server

pytestmark = [pytest.mark.start, pytest.mark.timeout(400)]

NEEDED = ("chatapp", "templates", "static", ".ci", "wsgi.py", "gunicorn.conf.py", "start.sh")


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A fresh copy of the sources in a folder whose name has spaces."""
    copy = tmp_path / "a folder with spaces"
    copy.mkdir()
    for path in (*(TOP / name for name in NEEDED), *TOP.glob("requirements*.txt")):
        if path.is_dir():
            shutil.copytree(path, copy / path.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(path, copy / path.name)
    return copy


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


@pytest.fixture
def ended() -> Iterator[list[Server]]:
    servers: list[Server] = []
    yield servers
    for server in servers:
        server.kill()


def test_the_first_start_installs_and_the_second_starts_at_once(
    sources: Path, elsewhere: Path, ended: list[Server], ollama: FakeOllama, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "START_TIMEOUT_S", 300.0)
    settings = {"OLLAMA_URL": ollama.url, "PYTHONPATH": "", "PYTHON": sys.executable, "LOG_LEVEL": "error"}
    command = (str(sources / "start.sh"),)

    ended.append(Server(elsewhere, settings, command).wait_until_ready())
    first = ended[0].out
    ended[0].signal(signal.SIGTERM)
    assert ended[0].wait(10) == 0
    monkeypatch.setattr(processes, "START_TIMEOUT_S", 10.0)
    ended.append(Server(elsewhere, settings, command).wait_until_ready())

    assert "Installing the packages of requirements.txt ..." in first
    assert "Installing" not in ended[1].out
    assert (sources / "data" / "users.json").exists()
    assert list(elsewhere.glob("data")) == []


def test_a_changed_list_of_packages_is_installed_again(sources: Path) -> None:
    (sources / "requirements.txt").write_text("# nothing yet\n")
    steps = ". ./.ci/environment.sh; make_environment; install_if_changed requirements.txt"

    said = [run(["bash", "-euc", steps], sources).stdout for _ in range(2)]
    (sources / "requirements.txt").write_text("# still nothing, but another\n")
    said.append(run(["bash", "-euc", steps], sources).stdout)

    assert ["Installing" in text for text in said] == [True, False, True]


@pytest.mark.parametrize(
    ("python", "line"),
    [
        ("/bin/false", "PYTHON=/bin/false is not Python 3.11 or newer. Unset it, or name a newer one.\n"),
        (
            "no-such-python",
            "PYTHON=no-such-python is not Python 3.11 or newer. Unset it, or name a newer one.\n",
        ),
    ],
)
def test_a_python_that_is_too_old_ends_the_start_with_one_line(sources: Path, python: str, line: str) -> None:
    ended = run(["./start.sh"], sources, PYTHON=python)

    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", line)
    assert not (sources / ".venv").exists()


def test_without_any_python_the_line_says_what_is_needed(sources: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "dirname", "env"):
        (tools / name).symlink_to(str(shutil.which(name)))

    ended = run(["./start.sh"], sources, PATH=str(tools), PYTHON="")

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        "chatapp needs Python 3.11 or newer. Install it, or name it: PYTHON=/path/to/python3.12 ./start.sh\n"
    )


def run(command: list[str], folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHON": sys.executable, **settings}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=300)
