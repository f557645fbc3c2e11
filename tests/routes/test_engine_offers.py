"""What the dashboard offers where the embedded engine answers, which can fetch one small model only."""

from __future__ import annotations

import pytest

from tests.cast import Browser, services_of
from tests.fakes import scripts
from tests.fakes.ollama import FakeOllama


@pytest.fixture(autouse=True)
def engine(ollama: FakeOllama) -> None:
    """Answer as the embedded engine does, with nothing installed."""
    ollama.always("/api/version", scripts.lines({"version": "0.33.0", "engine": "chatapp"}))
    ollama.believable.models.clear()


def test_its_own_model_comes_first_with_the_size_of_its_own_download(alice: Browser) -> None:
    first, second, *_ = (alice.get("/models/list").json or {})["available"]

    assert first == {
        "name": "smollm2:135m",
        "size_bytes": 92_871_040,
        "note": first["note"],
        "fetchable": True,
    }
    assert not second["fetchable"]


def test_a_model_it_cannot_fetch_is_refused_with_what_to_do(alice: Browser, ollama: FakeOllama) -> None:
    assert alice.submit("/model/download", name="llama3.2:1b").status_code == 303
    job = services_of(alice.app).jobs.of_kind("pull")[0]
    assert job.wait_ended(5)

    assert "can download smollm2:135m only" in alice.get("/dashboard").get_data(as_text=True)
    assert ollama.calls_to("/api/pull") == []


def test_a_failed_download_stays_listed_until_it_is_dismissed(alice: Browser, ollama: FakeOllama) -> None:
    ollama.always("/api/pull", scripts.error(400, "invalid model name"))
    alice.send("/model/download/smollm2:135m")
    job = services_of(alice.app).jobs.of_kind("pull")[0]
    assert job.wait_ended(5)
    assert [pull["state"] for pull in (alice.get("/models/list").json or {})["pulls"]] == ["failed"]

    alice.send("/model/cancel/smollm2:135m")

    assert (alice.get("/models/list").json or {})["pulls"] == []


def test_a_model_on_its_way_is_not_offered_twice(alice: Browser, ollama: FakeOllama) -> None:
    ollama.always("/api/pull", scripts.silence())
    alice.send("/model/download/smollm2:135m")

    library = alice.get("/dashboard").get_data(as_text=True).partition('id="models-library"')[2]

    assert "see Downloading" in library
    assert "/model/download/smollm2" not in library
    alice.send("/model/cancel/smollm2:135m")
