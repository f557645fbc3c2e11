"""What a person is told while the built-in engine does not answer yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatapp import engine_state
from chatapp.errors import OllamaBroken, OllamaUnreachable
from chatapp.ollama.client import OllamaClient
from tests.fakes import scripts
from tests.fakes.ollama import FakeOllama

NOBODY_LISTENS = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (engine_state.INSTALLING, "being installed"),
        (engine_state.STARTED, "is starting"),
        ("The embedded engine cannot be installed here: no wheel.", "no wheel"),
    ],
)
def test_the_sentence_follows_what_the_supervisor_told(tmp_path: Path, state: str, said: str) -> None:
    engine_state.tell(tmp_path, state)

    assert said in engine_state.sentence(tmp_path)


def test_without_a_word_from_the_supervisor_the_engine_is_starting(tmp_path: Path) -> None:
    assert "is starting" in engine_state.sentence(tmp_path)


def test_an_engine_that_ends_in_the_middle_is_called_by_its_name() -> None:
    with FakeOllama() as fake:
        fake.always("/api/tags", scripts.hang_up())

        with pytest.raises(OllamaBroken, match="The built-in engine closed the connection"):
            OllamaClient(fake.url, name="The built-in engine").tags()


def test_a_client_that_reaches_nobody_says_that_sentence(tmp_path: Path) -> None:
    engine_state.tell(tmp_path, engine_state.INSTALLING)
    client = OllamaClient(NOBODY_LISTENS, if_absent=lambda: engine_state.sentence(tmp_path))

    with pytest.raises(OllamaUnreachable, match="being installed"):
        client.tags()
