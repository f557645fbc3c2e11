"""One request to Ollama and its answer, which another thread can break off at any time.

Ollama sends nothing, not even headers, until a model is loaded and the first line is ready, so the waiting
that must be ended at once is mostly waiting for headers. requests hands out a response only after those;
therefore the socket is noted when it is made.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

from chatapp.ollama.failures import translated
from chatapp.ollama.types import Cancelled

_PIECE_BYTES = 65_536
_HEADERS = {
    "User-Agent": "chatapp",
    "Accept": "application/json, application/x-ndjson",
    "Accept-Encoding": "identity",
    "Connection": "close",
}


@dataclass(frozen=True, slots=True)
class Address:
    """Where Ollama is: ``url`` to be called, ``public_url`` (without credentials) to be shown.

    ``name`` is what people know it by; ``if_absent`` says what to tell them when nothing answers there.
    """

    url: str
    public_url: str
    name: str
    if_absent: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Request:
    """``read_timeout_s`` is the longest silence that is waited through, from the request to the last byte."""

    method: str
    path: str
    body: Mapping[str, Any] | None
    connect_timeout_s: float
    read_timeout_s: float


class Exchange:
    """Sends one request and reads one answer. For one thread, except :meth:`cancel`, which is for any.

    Whoever makes an exchange closes it.
    """

    def __init__(self, address: Address, request: Request) -> None:
        self._address = address
        self._request = request
        self._session = _session(self._note_socket)
        self._response: requests.Response | None = None
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._cancelled = False
        self._waited_s = request.read_timeout_s

    def open(self) -> int:
        """Send the request, wait for the headers and return the status.

        Raises:
            Cancelled: :meth:`cancel` was called.
            OllamaUnreachable, OllamaTimeout, OllamaBroken: there is no answer.
        """
        request = self._request
        with self._guarded():
            self._response = self._session.request(
                request.method,
                self._address.url + request.path,
                json=request.body,
                timeout=(request.connect_timeout_s, request.read_timeout_s),
                allow_redirects=False,
                stream=True,
            )
        return self._response.status_code

    def read(self) -> bytes:
        """Return the bytes that have arrived, at least one; ``b""`` at the end. Raises like :meth:`open`."""
        assert self._response is not None, "open() comes first"  # noqa: S101 - a slip in our own code
        with self._guarded():
            piece: bytes = self._response.raw.read1(_PIECE_BYTES)
        return piece

    def set_read_timeout(self, seconds: float) -> None:
        """Wait through another length of silence from now on."""
        self._waited_s = seconds
        with self._lock, suppress(OSError):
            if self._socket is not None:
                self._socket.settimeout(seconds)

    def cancel(self) -> None:
        """End the connection now. The thread that waits in open or read gets :class:`Cancelled` at once.

        Only while a connection is still being made does it take until the connect timeout; nothing has
        been sent to Ollama then. After the end of the answer this does nothing.
        """
        with self._lock:
            self._cancelled = True
            self._hang_up()

    def raise_if_cancelled(self) -> None:
        if self._cancelled:
            raise Cancelled

    def close(self) -> None:
        """Let go of the connection, whatever state it is in. May be called twice."""
        with self._lock:
            self._hang_up()
            self._socket = None
        if self._response is not None:
            self._response.close()
        self._session.close()

    def _note_socket(self, made: socket.socket) -> None:
        with self._lock:
            if not self._cancelled:
                self._socket = made
                return
        made.close()
        raise Cancelled

    def _hang_up(self) -> None:
        # close() would leave a thread that is reading blocked until Ollama's next line.
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        self.raise_if_cancelled()
        waiting = f"{self._address.name} stopped responding: nothing came for {self._waited_s:g} seconds. Try again."
        try:
            with translated(self._address.name, self._address.if_absent, waiting):
                yield
        except Exception:
            # A socket that is shut down under its reader makes it fail in many ways; none of them matters.
            self.raise_if_cancelled()
            raise
        self.raise_if_cancelled()


def _session(on_socket: Callable[[socket.socket], None]) -> requests.Session:
    """Return a session for one request: no proxies or passwords from the environment, no second tries."""
    session = requests.Session()
    session.trust_env = False
    session.headers = requests.structures.CaseInsensitiveDict(_HEADERS)
    adapter = _WatchedAdapter(on_socket)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


class _WatchedAdapter(HTTPAdapter):
    def __init__(self, on_socket: Callable[[socket.socket], None]) -> None:
        self._on_socket = on_socket
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        watched = _WatchedHTTPSConnection if pool.scheme == "https" else _WatchedHTTPConnection
        pool.ConnectionCls = partial(watched, on_socket=self._on_socket)
        return pool


class _WatchedHTTPConnection(HTTPConnection):
    def __init__(self, *args: Any, on_socket: Callable[[socket.socket], None], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._on_socket = on_socket

    def _new_conn(self) -> socket.socket:
        made = super()._new_conn()
        self._on_socket(made)
        return made


class _WatchedHTTPSConnection(HTTPSConnection):
    """TLS moves the connection into a second socket object, so both are noted."""

    def __init__(self, *args: Any, on_socket: Callable[[socket.socket], None], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._on_socket = on_socket

    def _new_conn(self) -> socket.socket:
        made = super()._new_conn()
        self._on_socket(made)
        return made

    def connect(self) -> None:
        super().connect()
        self._on_socket(self.sock)
