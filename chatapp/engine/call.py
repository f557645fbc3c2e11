"""One HTTP exchange: what was asked, and the ways to answer it. Used by one thread."""

from __future__ import annotations

import select
import socket
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler

from chatapp.engine.wire import ApiError, ClientGone, Json, decode_body, encode

JSON = "application/json; charset=utf-8"
NDJSON = "application/x-ndjson"
MAX_BODY_BYTES = 64 << 20


class Call:
    """Wraps the standard library's handler, so that endpoints see requests and answers and no sockets."""

    def __init__(self, handler: BaseHTTPRequestHandler, cors: Mapping[str, str]) -> None:
        self._handler = handler
        self._cors = cors
        self._is_streaming = False
        self._body = b""
        self.status = 0

    def receive(self) -> None:
        """Take the body off the wire, whatever the answer will be: what is left there would be read as a request.

        Raises:
            ApiError: 400, it is cut short or badly framed; 413, it is too large. The connection is then closed.
        """
        try:
            self._body = _read_body(self._handler)
        except ApiError:
            self._handler.close_connection = True
            raise

    def body(self) -> Json:
        """Return the JSON object that was sent. Raises ApiError 400 when it is none."""
        return decode_body(self._body)

    def answer(self, value: Json, status: int = 200) -> None:
        self.send(status, encode(value), {"Content-Type": JSON})

    def send(self, status: int, content: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send a whole answer. To HEAD it goes without the content, to 204 without a length as well."""
        length = {} if status == 204 else {"Content-Length": str(len(content))}
        self._head(status, {**(headers or {}), **length})
        if self._handler.command != "HEAD":
            self._write(content)

    def line(self, value: Json) -> None:
        """Send one line of a stream; the first one begins it. Raises ClientGone when nobody is there any more."""
        if not self._is_streaming:
            self._head(200, {"Content-Type": NDJSON, "Transfer-Encoding": "chunked"})
            self._is_streaming = True
        content = encode(value) + b"\n"
        self._write(b"%x\r\n%b\r\n" % (len(content), content))

    def end(self) -> None:
        """End the stream in order, if one has begun."""
        if self._is_streaming:
            self._write(b"0\r\n\r\n")

    def fail(self, error: ApiError) -> None:
        """Say what went wrong, in the way that is still possible."""
        if self._is_streaming:
            self.line({"error": error.text})
            self.end()
        else:
            self.answer({"error": error.text}, error.status)

    def raise_if_abandoned(self) -> None:
        """Raise ClientGone when the client has closed its side. Costs two system calls; sends nothing."""
        watch = select.poll()
        watch.register(self._handler.connection, select.POLLIN)
        if watch.poll(0) and self._has_nothing_to_read():
            raise ClientGone

    def _has_nothing_to_read(self) -> bool:
        try:
            return not self._handler.connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.status = status
        self._handler.send_response_only(status)
        for name, value in {**headers, **self._cors, "Date": self._handler.date_time_string()}.items():
            self._handler.send_header(name, value)
        if self._handler.close_connection:
            self._handler.send_header("Connection", "close")
        try:
            self._handler.end_headers()
        except OSError:
            raise ClientGone from None

    def _write(self, content: bytes) -> None:
        try:
            self._handler.wfile.write(content)
        except OSError:
            raise ClientGone from None


def _read_body(handler: BaseHTTPRequestHandler) -> bytes:
    try:
        if handler.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return _read_chunks(handler)
        size_bytes = int(handler.headers.get("Content-Length") or 0)
        _refuse_too_large(size_bytes)
        return _read_exactly(handler, max(0, size_bytes))
    except ValueError:
        raise ApiError(400, "unexpected EOF") from None
    except OSError:
        raise ClientGone from None


def _read_chunks(handler: BaseHTTPRequestHandler) -> bytes:
    body = bytearray()
    while size_bytes := int(handler.rfile.readline(100).split(b";")[0], 16):
        _refuse_too_large(len(body) + size_bytes)
        body += _read_exactly(handler, size_bytes)
        handler.rfile.readline(10)
    while handler.rfile.readline(1000).strip():
        pass  # trailers, which nothing here needs
    return bytes(body)


def _read_exactly(handler: BaseHTTPRequestHandler, size_bytes: int) -> bytes:
    content = handler.rfile.read(size_bytes)
    if len(content) < size_bytes:
        raise ClientGone
    return content


def _refuse_too_large(size_bytes: int) -> None:
    if size_bytes > MAX_BODY_BYTES:
        raise ApiError(413, "http: request body too large")
