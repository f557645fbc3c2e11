"""How long a start takes: ``python -m bench.start [--times 7]``.

From the moment the program is started to the first page answered in full, asked as a browser would that is opened at
once. Over an empty folder, and over one with an account and a chat.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import statistics
import subprocess
import sys
import time
from http.client import HTTPConnection

from bench.measured import Folder, conditions, fake_ollama, line, new_folder
from tests.start.processes import Person, Server

_ASK_AGAIN_S = 0.002
_PATIENCE_S = 60.0


def first_page_s(folder: Folder) -> tuple[float, Server]:
    """Start a server and return how long it took until a page was there, and the server."""
    started_s = time.monotonic()
    server = folder.start()
    while time.monotonic() < started_s + _PATIENCE_S:
        with contextlib.suppress(ConnectionRefusedError):
            assert page(folder.port) == 200
            return time.monotonic() - started_s, server
        time.sleep(_ASK_AGAIN_S)
    raise AssertionError(f"no page within {_PATIENCE_S:.0f} s: {server.err}")


def page(port: int) -> int:
    """Return the status of the log-in page, once all of it is here. Raises ``ConnectionRefusedError``."""
    connection = HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)
    with contextlib.closing(connection):
        connection.request("GET", "/login")
        answer = connection.getresponse()
        answer.read()
        return answer.status


def first_and_second_s(ollama_url: str) -> tuple[float, float]:
    """Start over an empty folder, make an account and a chat, end in order, start again."""
    with new_folder(ollama_url) as folder:
        first_s, server = first_page_s(folder)
        person = Person(server.wait_until_ready(), "alice")
        person.ask(person.new_chat(), "Hello")
        server.signal(signal.SIGTERM)
        server.wait(_PATIENCE_S)
        second_s, server = first_page_s(folder)
        server.wait_until_ready().kill()
        return first_s, second_s


def bare_python_s() -> float:
    started_s = time.monotonic()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.monotonic() - started_s


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=7)
    arguments = parser.parse_args()
    print(conditions())
    with fake_ollama(tokens=5, tokens_per_s=1000) as ollama_url:
        times = [(*first_and_second_s(ollama_url), bare_python_s()) for _ in range(arguments.times)]
    empty, filled, bare = zip(*times, strict=True)
    print(line("first page, empty folder", empty, "s"))
    print(line("first page, with data", filled, "s"))
    print(line("an empty Python program", bare, "s"))
    print(f"a start is {statistics.median(empty) / statistics.median(bare):.0f} empty Python programs long")


if __name__ == "__main__":
    main()
