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


# -- what Debian and old machines lack

MAKE_ENVIRONMENT = ["bash", "-euc", ". ./.ci/environment.sh; make_environment"]
PACKAGE = "python{}.{}-venv".format(*sys.version_info)


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bare_python(tmp_path: Path) -> Path:
    """A Python whose package for virtual environments is missing until the file ``installed`` is there."""
    return program(
        tmp_path / "tools" / "bare-python",
        'case "$*" in "-c import ensurepip, venv" | "-m venv "*)\n'
        f'    test -e "{tmp_path}/installed" || exit 1 ;;\nesac\n'
        f'exec "{sys.executable}" "$@"',
    )


@pytest.fixture
def apt_calls(tmp_path: Path) -> Path:
    """What an ``apt-get`` that installs at once was asked for."""
    calls = tmp_path / "apt-calls"
    program(tmp_path / "tools" / "apt-get", f'echo "$@" >>"{calls}"\ntouch "{tmp_path}/installed"')
    return calls


def as_user(number: int, tools: Path) -> str:
    """Return a PATH on which ``id`` tells this number and the rest comes from the system."""
    program(tools / "id", f"echo {number}")
    return f"{tools}:/usr/bin:/bin"


def test_root_gets_the_missing_package_for_virtual_environments(
    sources: Path, bare_python: Path, apt_calls: Path
) -> None:
    path = as_user(0, bare_python.parent)

    ended = run(MAKE_ENVIRONMENT, sources, PYTHON=str(bare_python), PATH=path)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[0] == f"Installing {PACKAGE} ..."
    assert [line.split()[-1] for line in apt_calls.read_text().splitlines()] == [PACKAGE]
    assert (sources / ".venv" / "bin" / "python").exists()


def test_anybody_else_is_told_the_one_line_to_type(sources: Path, bare_python: Path, apt_calls: Path) -> None:
    path = as_user(1000, bare_python.parent)

    ended = run(MAKE_ENVIRONMENT, sources, PYTHON=str(bare_python), PATH=path)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"One package is missing. Type: sudo apt-get install -y {PACKAGE}\n"
    assert not apt_calls.exists()
    assert not (sources / ".venv").exists()


def test_where_there_is_no_apt_the_missing_package_is_named(sources: Path, bare_python: Path) -> None:
    for name in ("bash", "dirname", "env"):
        (bare_python.parent / name).symlink_to(str(shutil.which(name)))

    ended = run(MAKE_ENVIRONMENT, sources, PYTHON=str(bare_python), PATH=str(bare_python.parent))

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "This Python cannot make virtual environments: install its venv package.\n"


@pytest.mark.parametrize(
    ("version", "upgrades"), [("23.0.1", 1), ("24.0", 1), ("24.1", 0), ("24.1.2", 0), ("26.0", 0)]
)
def test_a_pip_that_cannot_tell_how_far_a_download_is_is_brought_up_to_date_first(
    sources: Path, tmp_path: Path, version: str, upgrades: int
) -> None:
    pip, calls = tmp_path / "modules" / "pip", tmp_path / "pip-calls"
    pip.mkdir(parents=True)
    (pip / "__init__.py").write_text(f"__version__ = {version!r}\n")
    (pip / "__main__.py").write_text(
        f"import sys\nwith open({str(calls)!r}, 'a') as calls:\n    print(*sys.argv[1:], file=calls)\n"
    )
    program(sources / ".venv" / "bin" / "python", f'exec "{sys.executable}" "$@"')

    steps = ". ./.ci/environment.sh; install_if_changed requirements.txt"
    ended = run(["bash", "-euc", steps], sources, PYTHONPATH=str(pip.parent))

    asked = [line.partition("--no-input ")[2] for line in calls.read_text().splitlines()]
    assert ended.returncode == 0
    assert asked == ["--upgrade pip>=24.1"] * upgrades + ["-r requirements.txt"]


def run(command: list[str], folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHON": sys.executable, **settings}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=300)
