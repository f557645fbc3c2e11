"""The log tells what people did, not every style sheet that a page brought along."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest

from chatapp import logs
from tests.cast import Browser


@pytest.fixture
def capsys(alice: Browser, capsys: pytest.CaptureFixture[str]) -> Iterator[pytest.CaptureFixture[str]]:
    """The log as a server writes it by default, for as long as the test runs."""
    logs.configure("info")
    yield capsys
    logs.configure("error")


def paths(captured: str) -> list[str]:
    return [json.loads(line)["path"] for line in captured.splitlines() if '"request"' in line]


def test_pages_and_refusals_are_logged(alice: Browser, capsys: pytest.CaptureFixture[str]) -> None:
    alice.get("/dashboard")
    alice.get("/nothing-here")

    assert paths(capsys.readouterr().err) == ["/dashboard", "/nothing-here"]


def test_static_files_and_health_checks_are_not(alice: Browser, capsys: pytest.CaptureFixture[str]) -> None:
    alice.get(f"{alice.app.static_url_path}/css/index.css")
    alice.get("/health")
    alice.get("/ready")

    assert paths(capsys.readouterr().err) == []


def test_a_terminal_that_is_gone_costs_no_request(alice: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = io.StringIO()
    gone.close()
    logs.configure("info")
    monkeypatch.setattr("sys.stderr", gone)

    assert alice.get("/dashboard").status_code == 200
