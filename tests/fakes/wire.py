"""One answer as the scripts of the scriptable Ollama write it: bytes, pauses, and ways to break off."""

from __future__ import annotations

import json
import select
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

_POLL_S = 0.05


class ClientLeft(Exception):
    """The client closed its connection before the answer was complete."""


@dataclass
class Call:
    """One request that was received. ``client_left`` is set when the client hangs up too early."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    client_left: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def json(self) -> Any:
        """The body as JSON, or ``{}`` when it is not."""
        try:
            return json.loads(self.body)
        except ValueError:
            return {}


class Wire:
    """The server's side of one connection. Every method but the constructor may raise :class:`ClientLeft`."""

    def __init__(self, connection: socket.socket, call: Call, closing: threading.Event) -> None:
        self.call = call
        self._connection = connection
        self._closing = closing
        self._chunked = False

    def begin(
        self,
        status: int = 200,
        content_type: str = "application/x-ndjson",
        *,
        length: int | None = None,
        chunked: bool = True,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """Send status and headers: with a length, chunked, or neither (the end is the connection's)."""
        self._chunked = chunked and length is None
        fields = [("Content-Type", content_type), ("Connection", "close"), *headers]
        if length is not None:
            fields.append(("Content-Length", str(length)))
        elif self._chunked:
            fields.append(("Transfer-Encoding", "chunked"))
        head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in fields if value) + "\r\n"
        self.raw(head.encode())

    def send(self, data: bytes) -> None:
        """Send part of the body, as one HTTP chunk where the answer is chunked."""
        self.raw(b"%x\r\n%s\r\n" % (len(data), data) if self._chunked and data else data)

    def line(self, value: Any) -> None:
        """Send one object as a line."""
        self.send(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")

    def end(self) -> None:
        """Complete the answer as HTTP wants it."""
        if self._chunked:
            self.raw(b"0\r\n\r\n")

    def raw(self, data: bytes) -> None:
        """Send bytes past HTTP's framing."""
        try:
            self._connection.sendall(data)
        except OSError as error:
            raise ClientLeft from error

    def fin(self) -> None:
        """Close the connection in the orderly way, wherever the answer is."""
        self._connection.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Break the connection off hard, as the death of a process does."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.close()

    def pause(self, seconds: float) -> None:
        """Wait, but no longer than the client does."""
        self.pause_until(time.monotonic() + seconds)

    def pause_until(self, deadline_s: float) -> None:
        """Wait until the monotonic clock says ``deadline_s``, but no longer than the client does."""
        while (left_s := deadline_s - time.monotonic()) > 0:
            self._look(min(left_s, _POLL_S))

    def wait_for(self, event: threading.Event) -> None:
        """Wait for ``event``, but no longer than the client does."""
        while not event.is_set():
            self._look(_POLL_S)

    def stall(self) -> None:
        """Say nothing until the client leaves."""
        while True:
            self._look(_POLL_S)

    def _look(self, seconds: float) -> None:
        poller = select.poll()
        poller.register(self._connection, select.POLLIN | select.POLLRDHUP)
        if self._closing.is_set() or (poller.poll(seconds * 1000) and self._is_gone()):
            raise ClientLeft

    def _is_gone(self) -> bool:
        try:
            return self._connection.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True
