"""A page never waits long for Ollama."""

from __future__ import annotations

import threading

import pytest

from chatapp.errors import OllamaTimeout, OllamaUnreachable
from chatapp.services.glance import Glance


def test_an_answer_in_time_is_returned() -> None:
    assert Glance().ask(lambda: "yes") == "yes"


def test_an_error_is_raised_where_it_was_asked() -> None:
    def fail() -> str:
        raise OllamaUnreachable("Ollama is not running.")

    with pytest.raises(OllamaUnreachable):
        Glance().ask(fail)


def test_a_question_that_hangs_is_given_up() -> None:
    release = threading.Event()

    with pytest.raises(OllamaTimeout):
        Glance(wait_s=0.02).ask(lambda: release.wait(10))
    release.set()


def test_many_hanging_questions_do_not_pile_up_threads() -> None:
    release, glance = threading.Event(), Glance(wait_s=0.01)
    before = threading.active_count()

    for _ in range(40):
        with pytest.raises(OllamaTimeout):
            glance.ask(lambda: release.wait(10))

    assert threading.active_count() - before <= 16
    release.set()
