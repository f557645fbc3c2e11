"""A scriptable Ollama: a real HTTP server on loopback that tests, browser tests and benchmarks point at.

Without scripts it is a small believable Ollama. With them it says exactly what a test wants, one answer at a
time (:meth:`FakeOllama.next`) or always (:meth:`FakeOllama.always`)::

    with FakeOllama() as ollama:
        ollama.next("/api/chat", scripts.play("chat-stream", piece_bytes=1))

As a program: ``python -m tests.fakes.ollama --port 0 --tokens-per-s 50 --tokens 200``; it prints its address.
"""

from __future__ import annotations

import argparse
import socket
import threading
from collections import defaultdict, deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.fakes.believable import BelievableOllama
from tests.fakes.scripts import Script
from tests.fakes.wire import Call, ClientLeft, Wire


class FakeOllama:
    """Serves from construction to :meth:`close`. May be asked from any thread.

    Args:
        port: 0 for a free one.
        host: the address to listen on.
        believable: what answers where no script does; its attributes may be changed at any time.
    """

    def __init__(
        self, *, port: int = 0, host: str = "127.0.0.1", believable: BelievableOllama | None = None
    ) -> None:
        self.believable = believable or BelievableOllama()
        self.calls: list[Call] = []
        self.client_left = threading.Event()
        self._next: dict[str, deque[Script]] = defaultdict(deque)
        self._always: dict[str, Script] = {}
        self._arrived = threading.Condition()
        self._server = _Server((host, port), _Handler)
        self._server.fake = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.005,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def next(self, path: str, *scripts: Script) -> None:
        """Answer the next requests for ``path`` with these, one each; they queue."""
        self._next[path].extend(scripts)

    def always(self, path: str, script: Script | None) -> None:
        """Answer every request for ``path`` with this from now on, or believably again with ``None``."""
        self._always.pop(path, None)
        if script is not None:
            self._always[path] = script

    def calls_to(self, path: str) -> list[Call]:
        """Return the requests for ``path`` so far, oldest first."""
        return [call for call in self.calls if call.path == path]

    def wait_for_call(self, path: str, *, count: int = 1, timeout_s: float = 5.0) -> Call:
        """Return the request number ``count`` for ``path``, waiting for it. Raises AssertionError in vain."""
        with self._arrived:
            in_time = self._arrived.wait_for(lambda: len(self.calls_to(path)) >= count, timeout_s)
        assert in_time, f"no request number {count} for {path} within {timeout_s} s"
        return self.calls_to(path)[count - 1]

    def close(self) -> None:
        """Stop, as Ollama does when it is stopped: answers break off."""
        self._server.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def note(self, call: Call) -> None:
        """Keep a request that arrived."""
        with self._arrived:
            self.calls.append(call)
            self._arrived.notify_all()

    def script_for(self, call: Call) -> Script:
        """Return what answers this request."""
        waiting = self._next[call.path]
        if waiting:
            return waiting.popleft()
        return self._always.get(call.path) or self.believable.answer


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 1024
    fake: FakeOllama

    def __init__(self, *arguments: Any) -> None:
        self.closing = threading.Event()
        super().__init__(*arguments)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent about clients that leave while they send."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 5

    def handle_request(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        call = Call(self.command, self.path, dict(self.headers.items()), self.rfile.read(length))
        self.close_connection = True
        fake = self.server.fake
        fake.note(call)
        try:
            fake.script_for(call)(Wire(self.connection, call, self.server.closing))
        except ClientLeft:
            call.client_left.set()
            fake.client_left.set()
        call.ended.set()

    do_GET = do_POST = do_DELETE = do_HEAD = do_OPTIONS = do_PUT = handle_request  # noqa: N815

    def finish(self) -> None:
        try:
            super().finish()
            self.connection.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def log_message(self, *_: Any) -> None:
        """Keep the test output clean."""


def main() -> None:
    """Serve believably until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.ollama", description=main.__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tokens-per-s", type=float, default=50.0)
    parser.add_argument("--tokens", type=int, help="reply with this many numbered tokens")
    parser.add_argument("--first-token-s", type=float, default=0.0)
    parser.add_argument("--pull-s", type=float, default=2.0)
    arguments = parser.parse_args()
    believable = BelievableOllama(tokens_per_s=arguments.tokens_per_s, first_token_s=arguments.first_token_s)
    believable.pull_s = arguments.pull_s
    if arguments.tokens:
        believable.reply = "".join(f"t{number} " for number in range(arguments.tokens))
    with FakeOllama(port=arguments.port, host=arguments.host, believable=believable) as ollama:
        print(ollama.url, flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
