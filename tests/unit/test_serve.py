"""The supervisor's parts: where models come from, what stops a start, what is printed, how programs are kept."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chatapp.config import Config
from chatapp.errors import ConfigError, StoreLocked
from chatapp.supervisor import announce, preflight, status, web
from chatapp.supervisor.child import Command
from chatapp.supervisor.discovery import Upstream, choose, ollama_answers
from chatapp.supervisor.engine import is_installed, last_error
from chatapp.supervisor.kept import Kept

DEFAULT_URL = "http://127.0.0.1:11434"
ENGINE, NONE = Upstream("engine"), Upstream("none")
FOUND, PROGRAM = Upstream("found"), Upstream("program", program="/bin/ollama")
GIVEN, AT_HOST = Upstream("given", "http://a:1"), Upstream("given", "http://b:11434")
DISCOVERIES = [
    # settings, an Ollama answers, the program is there, what is chosen
    ({"OLLAMA_URL": "a:1", "OLLAMA_HOST": "b"}, True, True, GIVEN),
    ({"OLLAMA_HOST": "b"}, True, True, AT_HOST),
    ({"OLLAMA_URL": "a:1", "ENGINE": "never"}, False, False, GIVEN),
    ({"OLLAMA_URL": "a:1", "ENGINE": "always"}, True, True, ENGINE),
    ({"ENGINE": "always"}, True, True, ENGINE),
    ({}, True, True, FOUND),
    ({}, True, False, FOUND),
    ({}, False, True, PROGRAM),
    ({}, False, False, ENGINE),
    ({"ENGINE": "never"}, True, False, FOUND),
    ({"ENGINE": "never"}, False, True, PROGRAM),
    ({"ENGINE": "never"}, False, False, NONE),
]


@pytest.mark.parametrize(("environ", "answers", "installed", "chosen"), DISCOVERIES)
def test_models_come_from_the_first_source_there_is(
    environ: dict[str, str], answers: bool, installed: bool, chosen: Upstream
) -> None:
    config = Config.from_env(environ, None)

    upstream = choose(config, lambda _url: answers, lambda _name: "/bin/ollama" if installed else None)

    assert upstream == chosen


def test_only_the_default_address_is_probed() -> None:
    asked: list[str] = []

    def answers(url: str) -> bool:
        asked.append(url)
        return False

    choose(Config(), answers, lambda _name: None)

    assert asked == [DEFAULT_URL]


def test_nothing_answers_at_a_closed_port(free_port: int) -> None:
    assert not ollama_answers(f"http://127.0.0.1:{free_port}")


def test_a_listener_that_never_answers_is_no_ollama() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not ollama_answers(f"http://127.0.0.1:{silent.getsockname()[1]}")


@pytest.mark.parametrize("value", ["2", "8", "0", "-1", "many"])
def test_more_than_one_worker_is_refused(value: str) -> None:
    with pytest.raises(ConfigError) as refused:
        preflight.refuse_many_workers({"WEB_CONCURRENCY": value})

    assert refused.value.message == (
        f"WEB_CONCURRENCY={value} is not allowed: one process writes the data, so there is one worker. "
        "Unset it; MAX_STREAMS sets how much one worker does at a time."
    )


@pytest.mark.parametrize("environ", [{}, {"WEB_CONCURRENCY": ""}, {"WEB_CONCURRENCY": "1"}])
def test_one_worker_is_accepted(environ: dict[str, str]) -> None:
    preflight.refuse_many_workers(environ)


def test_a_busy_port_is_refused_with_the_cure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(ConfigError) as refused:
            preflight.open_listener(Config(port=port))

    assert refused.value.message == (
        f"Port {port} is already in use on 127.0.0.1: end the program that uses it, "
        f"or choose another port, for example PORT={port + 1} ./start.sh"
    )


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(ConfigError) as refused:
        preflight.open_listener(Config(host=host, port=5999))

    assert refused.value.message == (
        f"HOST={host} is not an address of this machine: use 127.0.0.1, or 0.0.0.0 for the network."
    )


def test_an_unknown_host_name_is_refused() -> None:
    with pytest.raises(ConfigError) as refused:
        preflight.open_listener(Config(host="no-such-host.invalid"))

    assert (
        refused.value.message
        == "HOST=no-such-host.invalid is not known here: give an address of this machine."
    )


def test_a_missing_data_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    preflight.prepare_folder(tmp_path / "a" / "b")

    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_file_in_place_of_the_data_folder_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "data"
    place.write_text("a file")

    with pytest.raises(ConfigError) as refused:
        preflight.prepare_folder(place)

    assert refused.value.message == (
        f"CHATAPP_DATA_DIR={place} cannot be written to: it is not a folder. "
        "Choose a folder that belongs to this user."
    )


def test_a_loop_of_links_in_place_of_the_data_folder_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "data"
    place.symlink_to(place)

    with pytest.raises(ConfigError, match=f"CHATAPP_DATA_DIR={place} cannot be written to: "):
        preflight.prepare_folder(place)


def test_the_web_server_learns_where_models_come_from() -> None:
    engine = web.environment({"PATH": "/bin"}, Upstream("engine", "http://127.0.0.1:1"))
    found = web.environment({"ENGINE": "auto"}, Upstream("found"))

    assert engine.items() >= {"PATH": "/bin", "OLLAMA_URL": "http://127.0.0.1:1", "ENGINE": "always"}.items()
    assert found.items() >= {"OLLAMA_URL": DEFAULT_URL, "ENGINE": "never"}.items()


@pytest.mark.parametrize(("given", "used"), [({}, "2"), ({"MALLOC_ARENA_MAX": "8"}, "8")])
def test_the_web_server_spends_little_memory_on_threads_unless_told_to(
    given: dict[str, str], used: str
) -> None:
    assert web.environment(given, Upstream("found"))["MALLOC_ARENA_MAX"] == used


def test_the_address_and_an_unused_setup_code_are_announced(tmp_path: Path) -> None:
    (tmp_path / "setup-code").write_text("abcd-1234\n")

    lines = list(
        announce.lines(Config(port=5001, data_dir=tmp_path), Upstream("given", "http://me:hidden@a:1"))
    )

    assert lines == [
        "chatapp is ready: http://127.0.0.1:5001",
        "Models come from Ollama at http://a:1.",
        "Setup code, asked for when the first account is made over the network: abcd-1234",
    ]


def test_an_address_of_version_six_is_announced_in_brackets(tmp_path: Path) -> None:
    lines = announce.lines(Config(host="::1", data_dir=tmp_path), ENGINE)

    assert list(lines) == ["chatapp is ready: http://[::1]:5000", "Models come from the embedded engine."]


def test_a_site_open_to_the_network_is_announced_with_its_address_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announce, "network_address", lambda: "192.0.2.7")

    lines = list(announce.lines(Config(host="0.0.0.0", data_dir=tmp_path), NONE))

    assert lines[:2] == ["chatapp is ready: http://127.0.0.1:5000", "On your network:  http://192.0.2.7:5000"]


def test_a_line_of_status_tells_ready_from_failed() -> None:
    assert status.parse(b"{}\n") == status.Status()
    assert status.parse(b'{"failure": "no room"}\n') == status.Status("no room")


@pytest.mark.parametrize("data", [b"", b"\n", b"nonsense\n", b"[]\n", b"\xff\n"])
def test_a_line_of_status_that_makes_no_sense_is_ignored(data: bytes) -> None:
    assert status.parse(data) is None


def test_an_error_of_the_application_becomes_one_line_for_the_supervisor(
    status_channel: socket.socket,
) -> None:
    status_channel.shutdown(socket.SHUT_WR)  # the worker waits until it is ended, or nobody is there

    with pytest.raises(SystemExit) as left, status.one_line_failures():
        raise StoreLocked("Another server uses this folder.")

    assert left.value.code == status.EXIT_NOT_STARTED
    assert status.parse(status_channel.recv(1000)) == status.Status("Another server uses this folder.")


def test_without_a_supervisor_the_line_goes_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), status.one_line_failures():
        raise StoreLocked("Another server uses this folder.")

    assert capfd.readouterr().err == "Another server uses this folder.\n"


def test_the_web_server_ends_when_the_supervisor_is_gone(status_channel: socket.socket) -> None:
    told, heard = os.pipe()
    status.end_with_supervisor(lambda: os.close(heard))

    status_channel.close()

    assert os.read(told, 1) == b""
    os.close(told)


def test_the_engine_is_installed_only_in_the_version_asked_for(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"

    requirements.write_text("# comment\nflask==0.1\n")
    assert not is_installed(requirements)
    requirements.write_text("no-such-package-anywhere==1\n")
    assert not is_installed(requirements)
    requirements.write_text(f"pytest=={pytest.__version__}  # comment\n")
    assert is_installed(requirements)


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (
            b"Looking\nERROR: No matching distribution found for x.\nsee above\n",
            "No matching distribution found for x",
        ),
        (b"killed\n", "killed"),
        (b"", "pip gave no reason"),
    ],
)
def test_the_reason_why_an_installation_failed_is_found_in_its_output(output: bytes, reason: str) -> None:
    assert last_error(output) == reason


def test_a_program_that_ends_is_started_again_after_a_growing_pause(house: FakeHouse) -> None:
    kept = house.keep()
    kept.start()

    for _ in range(7):
        house.end_last(1)
        house.let_time_pass()

    assert house.pauses_s == [1, 2, 4, 8, 16, 30, 30]
    assert len(house.started) == 8


def test_a_program_told_to_end_is_asked_first_killed_later_and_not_started_again(house: FakeHouse) -> None:
    kept = house.keep()
    kept.start()

    kept.end(patience_s=3)
    house.let_time_pass()
    house.end_last(-9)

    assert house.started[-1].signals == ["asked", "killed"]
    assert (house.pauses_s, len(house.started), house.gone) == ([3], 1, 1)


def test_a_program_told_to_end_during_the_pause_is_not_started_again(house: FakeHouse) -> None:
    kept = house.keep()
    kept.start()
    house.end_last(1)

    kept.end(patience_s=3)
    house.let_time_pass()

    assert (len(house.started), house.gone) == (1, 1)


def test_a_program_that_cannot_be_started_is_tried_again(house: FakeHouse) -> None:
    house.refusals = 2
    house.keep().start()

    house.let_time_pass()
    house.let_time_pass()

    assert (house.pauses_s, len(house.started), house.gone) == ([1, 2], 1, 0)


class FakeChild:
    def __init__(self, on_exit: Callable[[int], None]) -> None:
        self.signals: list[str] = []
        self.running = True
        self.on_exit = on_exit

    def ask_to_end(self) -> None:
        self.signals.append("asked")

    def kill(self) -> None:
        self.signals.append("killed")


class FakeHouse:
    """Stands in for the loop and the children: time passes, and programs end, only when told to."""

    def __init__(self) -> None:
        self.started: list[FakeChild] = []
        self.pauses_s: list[float] = []
        self.gone = 0
        self.refusals = 0
        self._due: list[Callable[[], None]] = []

    def keep(self) -> Kept:
        loop: Any = self
        return Kept(loop, loop, "The program", lambda: Command(("x",), {}), on_gone=self._count_gone)

    def start(self, _command: Command, on_exit: Callable[[int], None]) -> FakeChild:
        if self.refusals:
            self.refusals -= 1
            raise PermissionError(13, "Permission denied")
        self.started.append(FakeChild(on_exit))
        return self.started[-1]

    def after(self, delay_s: float, handler: Callable[[], None]) -> None:
        self.pauses_s.append(delay_s)
        self._due.append(handler)

    def let_time_pass(self) -> None:
        self._due.pop()()

    def end_last(self, code: int) -> None:
        self.started[-1].running = False
        self.started[-1].on_exit(code)

    def _count_gone(self) -> None:
        self.gone += 1


@pytest.fixture
def house() -> FakeHouse:
    return FakeHouse()


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def status_channel(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    here, there = socket.socketpair()
    monkeypatch.setenv(status.FD_VARIABLE, str(there.fileno()))
    with here, there:
        yield here
