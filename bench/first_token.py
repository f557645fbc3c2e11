"""What the site adds to the time to the first token: ``python -m bench.first_token [--questions 200]``.

The same question, in turns: put to Ollama directly (here the scriptable one, which answers at once), and sent to the
site as a program does, the question on disk before Ollama is asked. Beside it a bare fdatasync in the same folder.
The first question of a chat also names the chat, which is one more thing to store.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

from bench.measured import bare_sync_ms, conditions, fake_ollama, new_folder, quantile, running
from tests.start.processes import Person

_MODEL = "smollm2:135m"
_QUESTION = "Why is the sky blue?"
_QUESTIONS_PER_CHAT = 10
_WARM_UP = 10

Headers = dict[str, str]


class Asker:
    """Puts questions to one address and takes the time until the first token, and until the end."""

    def __init__(self, url: str, headers: Headers, sign: bytes) -> None:
        self._place = urlsplit(url)
        self._headers = {"Content-Type": "application/json", **headers}
        self._sign = sign
        self._connection = HTTPConnection(self._place.hostname or "", self._place.port, timeout=30)

    def first_token_ms(self, path: str, body: object) -> float:
        """Return the milliseconds from the request to the first line that holds a token. Reads to the end."""
        data = json.dumps(body)
        started_s = time.perf_counter()
        self._connection.request("POST", path, data, self._headers)
        answer = self._connection.getresponse()
        assert answer.status == 200, answer.read()
        taken_ms = next(self._tokens(answer, started_s))
        answer.read()
        return taken_ms

    def _tokens(self, answer: HTTPResponse, started_s: float) -> Iterator[float]:
        for line in iter(answer.readline, b""):
            if self._sign in line:
                yield (time.perf_counter() - started_s) * 1000

    def close(self) -> None:
        self._connection.close()


class Site:
    """A program with an account that asks the site and reads the events of the reply."""

    def __init__(self, person: Person) -> None:
        self._person = person
        cookies = "; ".join(f"{name}={value}" for name, value in person.http.cookies.items())
        headers = {"Cookie": cookies, "X-CSRFToken": person.token, "Accept": "text/event-stream"}
        self._asker = Asker(person.server.url, headers, b"event: piece")

    def times_ms(self, count: int) -> list[float]:
        """Return the times of questions one after the other in a new chat."""
        path = f"/chat/{self._person.new_chat()}/message"
        return [self._asker.first_token_ms(path, {"content": _QUESTION}) for _ in range(count)]


class Direct:
    """A program that asks Ollama itself."""

    def __init__(self, ollama_url: str) -> None:
        self._url = ollama_url
        message = {"role": "user", "content": _QUESTION}
        self._body = {"model": _MODEL, "messages": [message], "stream": True}

    def time_ms(self) -> float:
        """Return the time of one question on a connection of its own."""
        with contextlib.closing(Asker(self._url, {}, b'"content"')) as asker:
            return asker.first_token_ms("/api/chat", self._body)


def report(name: str, times_ms: list[float]) -> None:
    print(f"{name:<36} p50 {statistics.median(times_ms):6.2f} ms   p99 {quantile(times_ms, 0.99):6.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--questions", type=int, default=200)
    arguments = parser.parse_args()
    print(conditions())
    direct, first, later, synced = [], [], [], []
    with (
        fake_ollama(tokens=5, tokens_per_s=1000) as ollama_url,
        new_folder(ollama_url) as folder,
        running(folder) as server,
    ):
        site, ollama = Site(Person(server, "alice")), Direct(ollama_url)
        site.times_ms(_WARM_UP)
        for _ in range(arguments.questions // (_QUESTIONS_PER_CHAT - 1)):
            times_ms = site.times_ms(_QUESTIONS_PER_CHAT)
            first.append(times_ms[0])
            later += times_ms[1:]
            direct += [ollama.time_ms() for _ in times_ms[1:]]
            synced += bare_sync_ms(Path(server.folder), len(times_ms) - 1)
    report("asking Ollama directly", direct)
    report("asking the site", later)
    report("asking the site, first of a chat", first)
    report("bare fdatasync", synced)
    added_ms = statistics.median(later) - statistics.median(direct)
    print(
        f"added at p50: {added_ms:.2f} ms; without one fdatasync: {added_ms - statistics.median(synced):.2f} ms"
    )


if __name__ == "__main__":
    main()
