"""The bar of a download: whatever Ollama says, it stays within its bounds and never runs backwards."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chatapp.ollama.types import PullStatus
from chatapp.services.pull_progress import PullProgress

COUNTS = st.none() | st.integers(0, 2**53)
LINES = st.lists(
    st.builds(
        PullStatus,
        status=st.sampled_from(["pulling manifest", "pulling abc", "verifying sha256 digest", ""]),
        digest=st.none() | st.sampled_from(["sha256:a", "sha256:b", "sha256:c"]),
        total_bytes=COUNTS,
        completed_bytes=COUNTS,
    ),
    max_size=30,
)


def line(completed: int | None, total: int | None, digest: str | None = "sha256:a") -> PullStatus:
    return PullStatus(status="pulling", digest=digest, total_bytes=total, completed_bytes=completed)


@given(LINES)
def test_no_lines_at_all_make_it_run_backwards_or_leave_its_bounds(lines: list[PullStatus]) -> None:
    progress = PullProgress()
    events = []
    for number, each in enumerate(lines):
        progress.add(each, float(number))
        events.append(progress.event())

    completed = [event["completed_bytes"] for event in events]
    percents = [event["percent"] for event in events if event["percent"] is not None]
    assert completed == sorted(completed)
    assert percents == sorted(percents)
    assert all(0 <= percent <= 99 for percent in percents)
    assert all(
        (event["total_bytes"] or event["completed_bytes"]) >= event["completed_bytes"] for event in events
    )
    assert all(event["eta_s"] is None or event["eta_s"] >= 0 for event in events)
    assert all(event["bytes_per_s"] is None or event["bytes_per_s"] >= 0 for event in events)


def test_layers_are_added_up() -> None:
    progress = PullProgress()
    progress.add(line(100, 100), 0)
    progress.add(line(50, 300, "sha256:b"), 1)

    event = progress.event()

    assert (event["completed_bytes"], event["total_bytes"], event["layer"]) == (150, 400, 2)


def test_a_layer_whose_last_bytes_were_not_told_is_whole_once_the_next_begins() -> None:
    progress = PullProgress()
    progress.add(line(60, 100), 0)
    progress.add(line(0, 10, "sha256:b"), 1)

    assert progress.completed_bytes == 100


def test_nothing_is_said_of_percent_and_time_before_a_size_is_known() -> None:
    progress = PullProgress()
    progress.add(line(None, None, None), 0)

    event = progress.event()

    assert (event["total_bytes"], event["percent"], event["eta_s"]) == (None, None, None)


def test_pace_and_time_left_follow_the_last_seconds() -> None:
    progress = PullProgress()
    for second in range(30):
        progress.add(line(second * 10, 1000), float(second))

    event = progress.event()

    assert (event["bytes_per_s"], event["eta_s"]) == (10, 71)


def test_a_hundred_percent_is_not_promised_before_the_end() -> None:
    progress = PullProgress()
    progress.add(line(100, 100), 0)

    assert progress.event()["percent"] == 99
