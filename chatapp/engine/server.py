"""The HTTP server: a thread per connection, Ollama's routes, refusals and redirects. No endpoint lives here."""

from __future__ import annotations

import logging
import socket
import socketserver
import sys
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from chatapp.engine.access import host_is_allowed, origin_is_allowed
from chatapp.engine.call import Call
from chatapp.engine.wire import ApiError, ClientGone

Endpoint = Callable[[Call], None]
Routes = Mapping[str, Mapping[str, Endpoint]]

log = logging.getLogger(__name__)

_TEXT = {"Content-Type": "text/plain"}
_SILENCE_S = 120
_CORS_HEADERS = (
    "Authorization,Content-Type,User-Agent,Accept,X-Requested-With,Openai-Beta,X-Stainless-Arch,X-Stainless-Async,"
    "X-Stainless-Custom-Poll-Interval,X-Stainless-Helper-Method,X-Stainless-Lang,X-Stainless-Os,"
    "X-Stainless-Package-Version,X-Stainless-Poll-Helper,X-Stainless-Retry-Count,X-Stainless-Runtime,"
    "X-Stainless-Runtime-Version,X-Stainless-Timeout"
)
_PREFLIGHT = {
    "Access-Control-Allow-Headers": _CORS_HEADERS,
    "Access-Control-Allow-Methods": "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS",
    "Access-Control-Max-Age": "43200",
}


class EngineServer(ThreadingHTTPServer):
    """Serves ``routes`` (path → method → endpoint) on ``host``; port 0 takes a free one."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, routes: Routes) -> None:
        self.routes = routes
        self.host = host
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), _Handler)

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.server_address[1]}"

    def server_bind(self) -> None:
        # The standard library would ask the name service for this machine's full name here, which can take seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.host, self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 (the base class's signature)
        log.debug("a connection broke off: %s", sys.exception())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = _SILENCE_S  # for an idle connection, and for a reader that takes nothing
    server: EngineServer

    def _handle(self) -> None:
        started = time.monotonic()
        call = Call(self, self._cors())
        try:
            call.receive()
            self._dispatch(call)
        except ApiError as error:
            _tell(call, error)
        except ClientGone:
            self.close_connection = True
        except Exception:
            log.exception("%s %s failed", self.command, self.path)
            _tell(call, ApiError(500, "internal error in the engine, see its log"))
        finally:
            took_ms = (time.monotonic() - started) * 1000
            log.info("%s %s %s %.0f ms", self.command, self.path, call.status or "gone", took_ms)

    do_GET = do_HEAD = do_POST = do_DELETE = do_OPTIONS = do_PUT = do_PATCH = _handle  # noqa: N815 (its names)

    def _dispatch(self, call: Call) -> None:
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        # self.path has had its doubled slashes joined by the standard library already.
        path = self.requestline.split()[1].partition("?")[0]
        if not host_is_allowed(host, self.server.host) or not origin_is_allowed(origin, host):
            call.send(403, b"")
        elif self.command == "OPTIONS" and origin:
            call.send(204, b"", _PREFLIGHT)
        elif (tidy := _tidy(path)) != path and tidy in self.server.routes:
            self._redirect(call, path, tidy)
        else:
            self._route(call, path)

    def _redirect(self, call: Call, path: str, tidy: str) -> None:
        status, reason = (307, "Temporary Redirect")
        if self.command in ("GET", "HEAD") and not path.startswith("//"):
            status, reason = (301, "Moved Permanently")
        page = f'<a href="{tidy}">{reason}</a>.\n\n'.encode()
        call.send(status, page, {"Content-Type": "text/html; charset=utf-8", "Location": tidy})

    def _route(self, call: Call, path: str) -> None:
        methods = self.server.routes.get(path)
        if methods is None:
            call.send(404, b"404 page not found", _TEXT)
        elif self.command not in methods:
            call.send(405, b"405 method not allowed", {"Allow": ", ".join(methods), **_TEXT})
        else:
            methods[self.command](call)

    def _cors(self) -> dict[str, str]:
        origin = self.headers.get("Origin")
        host = self.headers.get("Host", "")
        if not origin or not origin_is_allowed(origin, host):
            return {}
        return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}

    def log_message(self, format: str, *arguments: Any) -> None:
        log.debug(format, *arguments)


def _tell(call: Call, error: ApiError) -> None:
    try:
        call.fail(error)
    except ClientGone:
        log.debug("nobody was left to be told: %s", error.text)


def _tidy(path: str) -> str:
    return "/" + "/".join(part for part in path.split("/") if part)
