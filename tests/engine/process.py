"""The real engine as a child process, and the plain HTTP that tests speak to it."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).parent.parent.parent
_TIMEOUT_S = 100


class Answer:
    """A whole answer."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def content_type(self) -> str:
        return self.headers.get("Content-Type", "")


class EngineProcess:
    """``python -m chatapp.engine`` over ``models``; ``environ`` is laid over this process's environment."""

    def __init__(self, models: Path, environ: Mapping[str, str] | None = None, *options: str) -> None:
        command = [
            sys.executable,
            "-m",
            "chatapp.engine",
            "--models",
            str(models),
            "--parent-pid",
            str(os.getpid()),
            *options,
        ]
        self.child = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **(environ or {})},
            text=True,
        )
        assert self.child.stdout is not None
        self.url = str(json.loads(self.child.stdout.readline())["url"])
        self.port = urlsplit(self.url).port or 0

    def stop(self) -> None:
        if self.child.poll() is None:
            self.child.terminate()
        self.child.wait(5)
        if self.child.stdout:
            self.child.stdout.close()

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=_TIMEOUT_S)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request and return the whole answer. ``body`` may be bytes, or anything that JSON can carry."""
        connection = self.connect()
        try:
            connection.request(method, path, _as_bytes(body), dict(headers or {}))
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def post(self, path: str, body: Any) -> Answer:
        return self.ask("POST", path, body)

    def lines(self, path: str, body: Any) -> list[dict[str, Any]]:
        """Return every line of a streamed answer."""
        with self.streaming(path, body) as lines:
            return list(lines)

    @contextmanager
    def streaming(self, path: str, body: Any) -> Iterator[Iterator[dict[str, Any]]]:
        """Give the lines of a streamed answer as they come; leaving the block hangs up."""
        connection = self.connect()
        try:
            connection.request("POST", path, _as_bytes(body))
            response = connection.getresponse()
            yield (json.loads(line) for line in response)
        finally:
            connection.close()

    def chat(self, content: str, **fields: Any) -> list[dict[str, Any]]:
        """Return the lines of one chat with the small model, with the same words for the same question every time."""
        return self.lines("/api/chat", question(content, **fields))


def question(content: str, **fields: Any) -> dict[str, Any]:
    options = {"temperature": 0, "seed": 1, **fields.pop("options", {})}
    return {
        "model": "smollm2:135m",
        "messages": [{"role": "user", "content": content}],
        "options": options,
        **fields,
    }


def text_of(lines: list[dict[str, Any]]) -> str:
    return "".join(line["message"]["content"] for line in lines)


def wait_until(is_true: Any, timeout_s: float = 10) -> None:
    """Return as soon as ``is_true()`` holds; fail when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def _as_bytes(body: Any) -> bytes | None:
    if body is None or isinstance(body, bytes):
        return body
    return json.dumps(body).encode()
