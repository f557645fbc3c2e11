"""Exchanges recorded from a real Ollama, as measure for the engine's answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.engine.process import Answer, EngineProcess

_TRACES = Path(__file__).parent.parent / "traces"


class Recording:
    def __init__(self, name: str) -> None:
        exchange = json.loads((_TRACES / f"{name}.json").read_text("utf-8"))
        self.request = exchange["request"]
        self.response = exchange["response"]
        self._lines = _TRACES / f"{name}.ndjson"

    @property
    def status(self) -> int:
        return int(self.response["status"])

    @property
    def body(self) -> str:
        return str(self.response["body"])

    @property
    def json(self) -> Any:
        return self.response["body_json"]

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._lines.read_text("utf-8").splitlines()]

    @property
    def headers(self) -> dict[str, str]:
        return dict(self.response["headers"])

    def ask_again(self, engine: EngineProcess) -> Answer:
        """Send the recorded request to the engine. Only the port in ``Host`` and the length are made new."""
        headers = {k: v for k, v in self.request["headers"].items() if k != "Content-Length"}
        headers["Host"] = headers["Host"].replace("11434", str(engine.port))
        body = self.request["body"]
        content = body.encode() if isinstance(body, str) else body
        return engine.ask(self.request["method"], self.request["path"], content, headers)


def shape(value: Any) -> Any:
    """Return keys and types only, so that two answers about different things can be compared."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return (
        "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__
    )
