"""How long a stop takes: ``python -m bench.stop [--times 5]``.

From SIGTERM until the last process is gone: with nothing to do, and with a reply that would go on for minutes and
somebody who follows it. Such a reply gets five seconds before it is saved as interrupted.
"""

from __future__ import annotations

import argparse
import signal
import time

from bench.measured import conditions, fake_ollama, line, new_folder, running
from tests.start.processes import Person, Server, lives

_POLL_S = 0.005


def stop_s(server: Server) -> float:
    family = server.family()
    started_s = time.monotonic()
    server.signal(signal.SIGTERM)
    server.wait(60)
    while any(map(lives, family)):
        time.sleep(_POLL_S)
    return time.monotonic() - started_s


def with_a_stream_s(ollama_url: str) -> float:
    with new_folder(ollama_url) as folder, running(folder) as server:
        person = Person(server, "alice")
        asked = person.ask(person.new_chat(), "Hello")
        with person.follow(asked["events_url"]) as stream:
            lines = stream.iter_lines(1)
            while b"piece" not in next(lines):
                pass
            taken_s = stop_s(server)
            assert b"event: interrupted" in list(lines), "the follower was not told the end"
        return taken_s


def idle_s(ollama_url: str) -> float:
    with new_folder(ollama_url) as folder, running(folder) as server:
        Person(server, "alice")
        return stop_s(server)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=5)
    arguments = parser.parse_args()
    print(conditions())
    with fake_ollama(tokens=10_000, tokens_per_s=50) as ollama_url:
        idle = [idle_s(ollama_url) for _ in range(arguments.times)]
        streaming = [with_a_stream_s(ollama_url) for _ in range(arguments.times)]
    print(line("nothing to do", idle, "s"))
    print(line("a stream open", streaming, "s"))


if __name__ == "__main__":
    main()
