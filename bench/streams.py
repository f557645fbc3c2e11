"""Many replies at once: ``python -m bench.streams [--streams 50 100 200 500] [--seconds 10]``.

Every stream is a question of its own, answered with 50 tokens a second by a lean Ollama in a process of its own. A
token's latency is the time from its sending there to its arrival here as an event: all of the site's road, and the
reader's own. Pages are asked for meanwhile, five a second. Everything shares the cores of one machine, so what the
site itself needs is printed beside.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import selectors
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection
from multiprocessing.connection import Connection
from pathlib import Path

from bench.measured import conditions, new_folder, program, quantile, running
from bench.token_source import CLOCK_WRAPS_US, now_us
from tests.start.processes import Person, Server

_PER_PERSON = 8
_STARTS_PER_S = 100
_SETTLE_S = 2.0
_PATIENCE_S = 30.0
_PAGE_EVERY_S = 0.2
_FRAME = re.compile(rb"event: (piece|done|failed|interrupted|stopped)\n(?:id: [^\n]*\n)?data: ([^\n]*)\n\n")
_TOKEN = re.compile(rb"@(\d+);")

Headers = dict[str, str]


@dataclass
class Reader:
    """One stream as its reader sees it."""

    connection: socket.socket
    asked_us: int = field(default_factory=now_us)
    unread: bytearray = field(default_factory=bytearray)
    tokens: list[tuple[int, int]] = field(default_factory=list)
    """Moment of sending and of arrival, in microseconds of the shared clock."""
    end: str = ""

    def read(self) -> bool:
        """Take what has arrived; return whether there may be more."""
        data = self.connection.recv(1 << 16)
        arrived_us = now_us()
        self.unread += data
        used = 0
        for frame in _FRAME.finditer(self.unread):
            used = frame.end()
            if frame[1] == b"piece":
                self.tokens += [(int(token), arrived_us) for token in _TOKEN.findall(frame[2])]
            else:
                self.end = frame[1].decode()
        del self.unread[:used]
        return bool(data) and not self.end


@dataclass(frozen=True)
class Asking:
    """One question that is ready to be sent."""

    path: str
    headers: Headers

    def send(self, port: int) -> Reader:
        body = json.dumps({"content": "Tell me a long story."})
        fields = {**self.headers, "Host": "127.0.0.1", "Content-Type": "application/json"}
        lines = [f"{name}: {value}" for name, value in fields.items()]
        head = "\r\n".join([f"POST {self.path} HTTP/1.1", *lines, f"Content-Length: {len(body)}"])
        connection = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S)
        connection.sendall(f"{head}\r\n\r\n{body}".encode())
        return Reader(connection)


def headers_of(person: Person, accept: str) -> Headers:
    cookies = "; ".join(f"{name}={value}" for name, value in person.http.cookies.items())
    return {"Cookie": cookies, "X-CSRFToken": person.token, "Accept": accept}


def prepare(server: Server, count: int) -> tuple[list[Asking], Headers]:
    """Make people and chats; return the questions, and the headers of somebody who looks at pages."""

    def questions_of(number: int) -> list[Asking]:
        person = Person(server, f"person-{number}")
        headers = headers_of(person, "text/event-stream")
        share = range(number, count, -(-count // _PER_PERSON))
        return [Asking(f"/chat/{person.new_chat()}/message", headers) for _ in share]

    with ThreadPoolExecutor(2) as threads:
        groups = list(threads.map(questions_of, range(-(-count // _PER_PERSON))))
    visitor = headers_of(Person(server, "visitor"), "text/html")
    return [asking for group in groups for asking in group], visitor


def read_all(askings: Sequence[Asking], port: int) -> list[Reader]:
    """Send the questions one after the other and read all streams to their ends."""
    selector = selectors.DefaultSelector()
    readers: list[Reader] = []
    begun_s = time.monotonic()
    open_streams = 0
    while len(readers) < len(askings) or open_streams:
        due = min(int((time.monotonic() - begun_s) * _STARTS_PER_S) + 1, len(askings))
        for asking in askings[len(readers) : due]:
            readers.append(asking.send(port))
            selector.register(readers[-1].connection, selectors.EVENT_READ, readers[-1])
            open_streams += 1
        for key, _ in selector.select(0.005 if len(readers) < len(askings) else _PATIENCE_S):
            if not key.data.read():
                selector.unregister(key.fileobj)
                open_streams -= 1
    return readers


def look_at_pages(port: int, headers: Headers, told: Connection) -> None:
    """Ask for the models page again and again until told to end; tell the milliseconds. A process of its own."""
    times_ms = []
    while not told.poll(_PAGE_EVERY_S):
        started_s = time.perf_counter()
        connection = HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)
        connection.request("GET", "/settings", headers=headers)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        assert answer.status == 200
        times_ms.append((time.perf_counter() - started_s) * 1000)
    told.send(times_ms)


def cpu_s(pid: int) -> float:
    """Return the processor time that a process has used, user and system (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def private_mb(pid: int) -> float:
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(row.split()[1]) for row in rows if row.startswith("Private_")) / 1000


def ms_between(from_us: int, to_us: int) -> float:
    return (to_us - from_us) % CLOCK_WRAPS_US / 1000


def latencies_ms(readers: Sequence[Reader], seconds: float) -> list[float]:
    """Return the latencies of the tokens that were sent from a while after the last question on."""
    begin_us = readers[-1].asked_us + int(_SETTLE_S * 1e6)
    window_us = int(seconds * 1e6)
    return [
        ms_between(sent_us, arrived_us)
        for reader in readers
        for sent_us, arrived_us in reader.tokens
        if (sent_us - begin_us) % CLOCK_WRAPS_US < window_us
    ]


def measure(streams: int, seconds: float) -> None:
    reply_s = streams / _STARTS_PER_S + _SETTLE_S + seconds + 1
    with (
        program("-m", "bench.token_source", "--seconds", str(reply_s)) as ollama_url,
        new_folder(ollama_url) as folder,
        running(folder) as server,
    ):
        askings, visitor = prepare(server, streams)
        here, there = multiprocessing.Pipe()
        pages = multiprocessing.Process(target=look_at_pages, args=(folder.port, visitor, there))
        pages.start()
        worker, begun_s = server.worker(), time.monotonic()
        before_s = cpu_s(worker)
        readers = read_all(askings, folder.port)
        share = (cpu_s(worker) - before_s) / (time.monotonic() - begun_s)
        here.send("end")
        pages_ms = here.recv()
        pages.join()
        report(streams, seconds, readers, pages_ms)
        print(f"  the worker: {share:.0%} of a core, {private_mb(worker):.0f} MB private")


def report(streams: int, seconds: float, readers: Sequence[Reader], pages_ms: Sequence[float]) -> None:
    good = [reader for reader in readers if reader.end == "done" and reader.tokens]
    if not good:
        print(f"{streams} streams: not one was answered; the first began {bytes(readers[0].unread[:200])!r}")
        return
    times_ms = latencies_ms(good, seconds)
    first_ms = [ms_between(reader.asked_us, reader.tokens[0][1]) for reader in good]
    print(f"{streams} streams: {streams - len(good)} errors, {len(times_ms) / seconds:,.0f} tokens/s arrived")
    print(f"  first token      {quantiles(first_ms)}")
    print(f"  token latency    {quantiles(times_ms)}")
    print(f"  a page meanwhile {quantiles(pages_ms)}")


def quantiles(times_ms: Sequence[float]) -> str:
    p50, p95, p99 = (quantile(times_ms, share) for share in (0.5, 0.95, 0.99))
    return f"p50 {p50:7.1f} ms   p95 {p95:7.1f} ms   p99 {p99:7.1f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=int, nargs="+", default=[50, 100, 200, 500])
    parser.add_argument("--seconds", type=float, default=10.0, help="how long tokens are counted")
    arguments = parser.parse_args()
    print(conditions())
    for streams in arguments.streams:
        measure(streams, arguments.seconds)


if __name__ == "__main__":
    main()
