"""A lean Ollama for load: every chat gets 50 tokens a second, each with the moment at which it was sent.

``python -m bench.token_source --seconds 20`` prints its address. One thread serves all streams, so that hundreds of
them cost little beside the server that is measured. A token is ``@microseconds;`` of the monotonic clock, which all
processes of a machine share.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import json
import selectors
import socket
import time
from dataclasses import dataclass

MODEL = "smollm2:135m"
CLOCK_WRAPS_US = 1_000_000_000
TOKENS_PER_PARAGRAPH = 50
_SEND_TIMEOUT_S = 5.0
_TAGS = {"models": [{"name": MODEL, "model": MODEL, "size": 1, "digest": "0" * 64, "details": {}}]}
_ANSWERS = {b"/api/tags": _TAGS, b"/api/ps": _TAGS, b"/api/version": {"version": "0.33.0"}}
_HEAD = "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n{length}\r\n\r\n"
_LINE = '{{"model":"m","message":{{"role":"assistant","content":"@{us};{space}"}},"done":false}}\n'
_LAST_LINE = (
    b'{"model":"m","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop",'
    b'"prompt_eval_count":10,"eval_count":100,"eval_duration":2000000000}\n'
)


def now_us() -> int:
    """Return the clock that tokens carry."""
    return time.monotonic_ns() // 1000 % CLOCK_WRAPS_US


@dataclass
class Stream:
    """One answer that is being sent."""

    connection: socket.socket
    next_s: float
    end_s: float
    sent: int = 0

    def __lt__(self, other: Stream) -> bool:
        return self.next_s < other.next_s

    def send_token(self) -> None:
        """Send the token that is due. Raises ``OSError`` when nobody reads any more."""
        self.sent += 1
        space = r"\n\n" if self.sent % TOKENS_PER_PARAGRAPH == 0 else " "
        self.connection.sendall(chunk(_LINE.format(us=now_us(), space=space).encode()))

    def finish(self) -> None:
        self.connection.sendall(chunk(_LAST_LINE) + chunk(b""))


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class TokenSource:
    """Serves until the process is ended. One thread."""

    def __init__(self, tokens_per_s: float, seconds: float) -> None:
        self._between_s = 1 / tokens_per_s
        self._seconds = seconds
        self._selector = selectors.DefaultSelector()
        self._streams: list[Stream] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._selector.register(self._listener, selectors.EVENT_READ, None)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def serve(self) -> None:
        while True:
            wait_s = max(self._streams[0].next_s - time.monotonic(), 0) if self._streams else None
            for key, _ in self._selector.select(wait_s):
                self._accept() if key.data is None else self._read(key.data)
            self._send_what_is_due()

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.settimeout(_SEND_TIMEOUT_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(connection, selectors.EVENT_READ, connection)

    def _read(self, connection: socket.socket) -> None:
        """Answer a request, or let go of a connection that its client has closed."""
        self._selector.unregister(connection)
        with contextlib.suppress(OSError):
            request = connection.recv(1 << 20)
            head, _, body = request.partition(b"\r\n\r\n")
            while request and len(body) < content_length(head):
                body += connection.recv(1 << 20)
            if request:
                self._answer(connection, head.split(b" ", 2)[1])

    def _answer(self, connection: socket.socket, path: bytes) -> None:
        if path != b"/api/chat":
            body = json.dumps(_ANSWERS.get(path, {})).encode()
            length = f"Content-Length: {len(body)}"
            connection.sendall(_HEAD.format(kind="application/json", length=length).encode() + body)
            connection.close()
            return
        chunked = "Transfer-Encoding: chunked"
        connection.sendall(_HEAD.format(kind="application/x-ndjson", length=chunked).encode())
        now_s = time.monotonic()
        heapq.heappush(self._streams, Stream(connection, now_s, now_s + self._seconds))

    def _send_what_is_due(self) -> None:
        now_s = time.monotonic()
        while self._streams and self._streams[0].next_s <= now_s:
            stream = self._streams[0]
            try:
                over = now_s >= stream.end_s
                stream.finish() if over else stream.send_token()
            except OSError:
                over = True
            if over:
                heapq.heappop(self._streams).connection.close()
            else:
                stream.next_s += self._between_s
                heapq.heapreplace(self._streams, stream)


def content_length(head: bytes) -> int:
    lines = head.lower().split(b"\r\n")
    return next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens-per-s", type=float, default=50.0)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each reply goes on")
    arguments = parser.parse_args()
    source = TokenSource(arguments.tokens_per_s, arguments.seconds)
    print(source.url, flush=True)
    source.serve()


if __name__ == "__main__":
    main()
