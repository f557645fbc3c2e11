"""One download as a job: tried again where that may help, ended where it cannot, believed only by the list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from chatapp.errors import (
    ChatAppError,
    ModelMissing,
    OllamaBroken,
    OllamaBusy,
    OllamaRefused,
    OllamaTimeout,
    OllamaUnreachable,
)
from chatapp.jobs.events import Event
from chatapp.jobs.job import Job
from chatapp.ollama.types import Cancelled, ModelInfo, PullStatus
from chatapp.services import puller
from chatapp.services.pull_turns import PullTurns
from chatapp.services.puller import Puller

NAME = "qwen3:0.6b"
SUCCESS = PullStatus(status="success", digest=None, total_bytes=None, completed_bytes=None)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(puller, "_FIRST_PAUSE_S", 0.001)


class Source:
    """An Ollama whose pulls go as told, one list of lines each; an exception among them is raised."""

    def __init__(self, *pulls: list[Any], installed: bool = True) -> None:
        self.pulls = list(pulls)
        self.asked = 0
        self.installed = installed

    def pull(self, name: str) -> Lines:
        self.asked += 1
        return Lines(self.pulls.pop(0))

    def tags(self) -> list[ModelInfo]:
        return [a_model(NAME.upper())] if self.installed else []


class Lines:
    def __init__(self, things: list[Any]) -> None:
        self.things = things

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        """There is no connection to close."""

    def __iter__(self) -> Iterator[PullStatus]:
        for thing in self.things:
            if isinstance(thing, Exception):
                raise thing
            yield thing

    def cancel(self) -> None:
        """The next thing is an exception."""


def a_model(name: str) -> ModelInfo:
    return ModelInfo(
        name=name,
        size_bytes=1,
        digest="",
        modified_at=None,
        parameter_size="",
        quantization_level="",
        family="",
        capabilities=(),
        context_length=None,
    )


def layer(completed: int) -> PullStatus:
    return PullStatus(status="pulling", digest="sha256:a", total_bytes=100, completed_bytes=completed)


def pulled(source: Source) -> list[Event]:
    job = Job("pull", NAME, "alice")
    Puller(job, NAME, source, PullTurns(), check=lambda: None).pull()
    return [event for event in job.follow() if event is not None]


@pytest.mark.parametrize(
    "failure",
    [
        OllamaBroken("x"),
        OllamaTimeout("x"),
        OllamaUnreachable("x"),
        OllamaBusy("x", detail="context canceled"),
    ],
)
def test_what_may_pass_is_tried_again(failure: ChatAppError) -> None:
    source = Source([layer(50), failure], [layer(60), failure], [layer(100), SUCCESS])

    events = pulled(source)

    assert source.asked == 3
    assert [event.data["attempt"] for event in events if event.name == "retrying"] == [1, 1]
    assert events[-1].name == "done"


@pytest.mark.parametrize(
    "failure", [ModelMissing("No such model."), OllamaRefused("No space."), OllamaBusy("Full.")]
)
def test_what_will_not_pass_ends_at_once(failure: ChatAppError) -> None:
    source = Source([failure])

    events = pulled(source)

    assert source.asked == 1
    assert (events[-1].name, events[-1].data["code"]) == ("failed", failure.code)
    assert events[-1].data["message"] == failure.message


def test_it_gives_up_after_five_more_tries() -> None:
    source = Source(*[[OllamaBroken("The line broke.")]] * 6)

    events = pulled(source)

    assert source.asked == 6
    assert events[-1].name == "failed"


def test_a_line_that_moves_between_its_breaks_is_never_given_up() -> None:
    """Forty gigabytes over a poor line break more than five times."""
    breaks = [[layer(done), OllamaBroken("The line broke.")] for done in range(1, 13)]
    source = Source(*breaks, [layer(100), SUCCESS])

    events = pulled(source)

    assert source.asked == 13
    assert events[-1].name == "done"


def test_success_is_believed_only_when_the_model_is_on_the_list() -> None:
    events = pulled(Source([layer(100), SUCCESS], installed=False))

    assert (events[-1].name, events[-1].data["code"]) == ("failed", "ollama_broken")
    assert NAME in events[-1].data["message"]


def test_a_cancel_ends_it_as_cancelled() -> None:
    events = pulled(Source([layer(10), Cancelled()]))

    assert events[-1].name == "cancelled"


def test_the_last_numbers_are_told_before_the_end() -> None:
    events = pulled(Source([layer(10), layer(20), layer(100), SUCCESS]))

    progress = [event.data for event in events if event.name == "progress"][-1]
    assert (progress["completed_bytes"], progress["total_bytes"]) == (100, 100)
