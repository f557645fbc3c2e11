"""Two downloads at a time, in the order they came."""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass, field

from chatapp.services.pull_turns import PullTurns


@dataclass
class Download:
    """One download in a thread of its own: it holds its turn until it may go."""

    turns: PullTurns
    places: list[int] = field(default_factory=list)
    events: queue.Queue[str] = field(default_factory=queue.Queue)
    may_go: threading.Event = field(default_factory=threading.Event)
    given_up: bool = False

    def __post_init__(self) -> None:
        self.ticket = self.turns.join()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        with self.turns.turn(self.ticket, self._tell, lambda: self.given_up) as came:
            self.events.put("runs" if came else "gave up")
            self.may_go.wait(10)

    def _tell(self, place: int) -> None:
        self.places.append(place)
        self.events.put(f"place {place}")

    def next(self) -> str:
        return self.events.get(timeout=5)

    def finish(self) -> None:
        self.may_go.set()
        self.thread.join(5)


def test_two_run_and_the_others_wait_in_order() -> None:
    turns = PullTurns()
    first, second = Download(turns), Download(turns)
    assert (first.next(), second.next()) == ("runs", "runs")
    third = Download(turns)
    assert third.next() == "place 1"
    fourth = Download(turns)
    assert fourth.next() == "place 2"

    second.finish()

    assert third.next() == "runs"
    assert fourth.next() == "place 1"
    first.finish()
    assert fourth.next() == "runs"
    third.finish()
    fourth.finish()


def test_whoever_gives_up_leaves_the_line() -> None:
    turns = PullTurns(at_once=1)
    first = Download(turns)
    assert first.next() == "runs"
    second = Download(turns)
    assert second.next() == "place 1"
    third = Download(turns)
    assert third.next() == "place 2"

    second.given_up = True
    turns.wake()

    assert second.next() == "gave up"
    second.finish()
    assert third.next() == "place 1"
    first.finish()
    assert third.next() == "runs"
    third.finish()
