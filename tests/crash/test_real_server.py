"""kill -9 of the real server under load: what it acknowledged is there when it comes back, once and in order.

``pytest tests/crash/test_real_server.py --server-rounds 300`` for the long run;
``--seed`` repeats the moments of a run.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.crash.crowd import Record, Writer, complaints, events
from tests.fakes.ollama import FakeOllama
from tests.start.processes import Person, Server, eventually, lives

pytestmark = pytest.mark.crash

PEOPLE = ("alice", "bob", "charlie")
CHATS_EACH = 2
ROUNDS_PER_FOLDER = 20
GONE_WITHIN_S = 12.0
LONG_REPLY = "".join(f"word{number} " for number in range(400))
# What is promised. A piece waits for half a second; the rest is the machine's.
MAY_BE_MISSING_S = 1.0


class Site:
    """A real server over one folder that is killed and comes back at the same address."""

    def __init__(self, folder: Path, ollama: FakeOllama) -> None:
        self._folder = folder
        self._runs = 0
        self._settings = {
            "CHATAPP_DATA_DIR": str(folder / "data"),
            "OLLAMA_URL": ollama.url,
            "LOG_LEVEL": "error",
            "RATELIMIT_ENABLED": "false",
        }
        self.server = self._start()
        self._settings["PORT"] = str(self.server.port)

    def _start(self) -> Server:
        self._runs += 1
        folder = self._folder / f"run-{self._runs}"
        folder.mkdir(parents=True)
        return Server(folder, self._settings).wait_until_ready()

    def kill(self, victim: str) -> None:
        """Kill one of the processes, or all of them."""
        victims: dict[str, Callable[[], list[int]]] = {
            "worker": lambda: [self.server.worker()],
            "gunicorn": lambda: [self.server.gunicorn()],
            "supervisor": lambda: [self.server.process.pid],
            "everything": self.server.family,
        }
        for pid in victims[victim]():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def come_back(self, family: Sequence[int]) -> Server:
        """Return the server that answers now: the same where the supervisor lives, else a new one.

        ``family`` is the processes from before the kill.
        """
        time.sleep(0.05)
        if self.server.process.poll() is None:
            eventually(lambda: not lives(family[-1]) and self.server.answers(), GONE_WITHIN_S)
            return self.server
        eventually(lambda: not any(map(lives, family)), GONE_WITHIN_S)
        return self.restart()

    def remove(self) -> None:
        """End the server and remove its folder."""
        self.server.kill()
        shutil.rmtree(self._folder)

    def restart(self) -> Server:
        """Start once more over the same folder, at the same address."""
        self.server = self._start()
        return self.server


@pytest.fixture
def open_site(tmp_path: Path, ollama: FakeOllama) -> Iterator[Callable[[], Site]]:
    sites: list[Site] = []

    def opened() -> Site:
        sites.append(Site(tmp_path / f"site-{len(sites)}", ollama))
        return sites[-1]

    yield opened
    for site in sites:
        site.server.kill()


def a_crowd(server: Server, chance: random.Random) -> list[Writer]:
    return [
        Writer(person, f"{person_name}-{number}", random.Random(chance.random()))  # noqa: S311 - which way to ask
        for person_name in PEOPLE
        for person in [Person(server, person_name)]
        for number in range(CHATS_EACH)
    ]


def kill_under_load(site: Site, crowd: Sequence[Writer], victim: str, after_s: float) -> None:
    """Kill while everybody writes; return when the site is back and nobody writes any more."""
    killed = threading.Event()
    family = site.server.family()
    with ThreadPoolExecutor(len(crowd)) as threads:
        writing = [threads.submit(writer.write_until, killed) for writer in crowd]
        time.sleep(after_s)
        site.kill(victim)
        killed.set()
    for each in writing:
        each.result()
    server = site.come_back(family)
    for writer in crowd:
        writer.move_to(server)


def all_complaints(crowd: Sequence[Writer]) -> list[str]:
    return [each for writer in crowd for each in complaints(writer.promises, writer.stored())]


@pytest.mark.timeout(0)
def test_a_killed_server_keeps_every_acknowledged_message_once_and_in_order(
    open_site: Callable[[], Site], server_rounds: int, chance: random.Random
) -> None:
    acknowledged = 0
    victims = ["worker", "gunicorn", "supervisor", "everything"]
    for first in range(0, server_rounds, ROUNDS_PER_FOLDER):
        site = open_site()
        crowd = a_crowd(site.server, chance)
        for number in range(first, min(server_rounds, first + ROUNDS_PER_FOLDER)):
            victim, after_s = victims[number % len(victims)], chance.uniform(0.05, 0.8)
            kill_under_load(site, crowd, victim, after_s)
            assert all_complaints(crowd) == [], f"round {number}: {victim} after {after_s:.3f} s"
            for writer in crowd:
                writer.write_for_certain()
        acknowledged += sum(len(writer.promises.acknowledged) for writer in crowd)
        site.remove()
        print(f"{number + 1} kills, {acknowledged} acknowledged messages", flush=True)
    assert acknowledged > server_rounds * len(PEOPLE) * CHATS_EACH
    print(f"{server_rounds} kills, {acknowledged} acknowledged messages, nothing lost, nothing doubled")


def test_a_message_sent_again_after_the_kill_adds_nothing(
    open_site: Callable[[], Site], chance: random.Random
) -> None:
    site = open_site()
    crowd = a_crowd(site.server, chance)
    for writer in crowd:
        writer.write_for_certain()
    kill_under_load(site, crowd, "everything", 0.3)
    before = [writer.stored() for writer in crowd]

    answers = [writer.repeat() for writer in crowd]

    assert answers == [202] * len(crowd)
    assert [writer.stored() for writer in crowd] == before


@pytest.mark.parametrize("victim", ["worker", "everything"])
def test_a_killed_server_keeps_what_a_reply_had_but_for_its_last_second(
    open_site: Callable[[], Site], ollama: FakeOllama, chance: random.Random, victim: str
) -> None:
    ollama.believable.reply, ollama.believable.tokens_per_s = LONG_REPLY, 50
    site = open_site()
    alice = Person(site.server, "alice")
    chat_id = alice.new_chat()
    family = site.server.family()
    moment_s = time.monotonic() + chance.uniform(2.5, 4)
    killing = threading.Timer(moment_s - time.monotonic(), site.kill, [victim])
    killing.start()

    seen = pieces_until_broken(alice, chat_id)
    alice.server = site.come_back(family)

    question, reply = alice.messages(chat_id)
    due = "".join(text for at_s, text in seen if at_s < moment_s - MAY_BE_MISSING_S)
    assert question["content"] == "Tell me a story."
    assert reply["status"] == "interrupted"
    assert LONG_REPLY.startswith(reply["content"])
    assert reply["content"].startswith(due)
    assert due != ""


def pieces_until_broken(person: Person, chat_id: str) -> list[tuple[float, str]]:
    """Ask, follow until the connection breaks, and return each piece with its moment (monotonic seconds)."""
    seen = []
    with (
        contextlib.suppress(requests.RequestException),
        person.follow(person.ask(chat_id, "Tell me a story.")["events_url"]) as answer,
    ):
        for name, data in events(answer):
            if name == "piece":
                seen.append((time.monotonic(), data["text"]))
    return seen


def test_a_reply_that_ends_soon_after_the_signal_is_finished_and_kept_whole(
    open_site: Callable[[], Site], ollama: FakeOllama
) -> None:
    ollama.believable.reply, ollama.believable.tokens_per_s = "one two three four", 2
    site = open_site()
    alice = Person(site.server, "alice")
    chat_id = alice.new_chat()
    seen: list[tuple[str, Record]] = []
    with alice.follow(alice.ask(chat_id, "Count.")["events_url"]) as answer:
        for event in events(answer):
            if not any(name == "piece" for name, _ in seen) and event[0] == "piece":
                site.server.signal(signal.SIGTERM)
            seen.append(event)

    assert site.server.wait(10) == 0
    assert seen[-1][0] == "done"
    alice.server = site.restart()
    _, reply = alice.messages(chat_id)
    assert (reply["status"], reply["content"]) == ("complete", "one two three four")
