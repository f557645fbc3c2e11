"""How often a follower is woken: a burst is let through, the long run is bounded."""

from __future__ import annotations

from chatapp.jobs.pace import BURST, WAKES_PER_S, Pace


class Time:
    """A clock that moves only while somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.slept_s: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.now_s += seconds

    def pace(self) -> Pace:
        return Pace(now_s=lambda: self.now_s, sleep_s=self.sleep)


def test_the_first_wakes_are_not_held_back() -> None:
    time = Time()
    pace = time.pace()

    for _ in range(BURST):
        pace.wait()

    assert time.slept_s == []


def test_a_steady_stream_of_fifty_a_second_is_never_held_back() -> None:
    time = Time()
    pace = time.pace()

    for _ in range(1000):
        time.now_s += 0.02
        pace.wait()

    assert time.slept_s == []


def test_in_the_long_run_there_are_no_more_than_so_many_a_second() -> None:
    time = Time()
    pace = time.pace()

    for _ in range(BURST + 10 * WAKES_PER_S):
        pace.wait()

    assert 9.9 <= time.now_s - 100 <= 10.1


def test_nothing_waits_longer_than_forty_milliseconds() -> None:
    time = Time()
    pace = time.pace()

    for _ in range(1000):
        pace.wait()

    assert max(time.slept_s) <= 0.04


def test_after_a_quiet_moment_a_burst_is_let_through_again() -> None:
    time = Time()
    pace = time.pace()
    for _ in range(200):
        pace.wait()
    held_before = len(time.slept_s)
    time.now_s += 1

    for _ in range(BURST):
        pace.wait()

    assert len(time.slept_s) == held_before
