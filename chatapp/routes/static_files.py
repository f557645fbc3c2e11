"""Static files: one address for ever per content, and small over the wire.

Only static files are compressed. Pages hold a secret (the CSRF token) beside text that others can choose, and
compressing the two together gives the secret away (BREACH, CVE-2013-3587).
"""

from __future__ import annotations

import gzip
import hashlib
from functools import lru_cache
from pathlib import Path

from flask import Flask, Response, current_app, request

_FOREVER = "public, max-age=31536000, immutable"
_COMPRESSIBLE = frozenset({".css", ".js", ".svg"})


def url_path(folder: Path) -> str:
    """Return ``/static/v-<hash>`` for the files below ``folder``, so that browsers may keep them for ever."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(folder)).encode() + b"\0")
        digest.update(path.read_bytes())
    return f"/static/v-{digest.hexdigest()[:12]}"


def install(app: Flask) -> None:
    """Compress what static files can be, and let browsers keep them."""
    app.after_request(_finish)


def _finish(response: Response) -> Response:
    if request.endpoint != "static" or response.status_code not in (200, 304):
        return response
    response.headers["Cache-Control"] = _FOREVER
    path = Path(str(current_app.static_folder), (request.view_args or {})["filename"])
    if path.suffix in _COMPRESSIBLE:
        response.headers.add("Vary", "Accept-Encoding")
        if (
            response.status_code == 200
            and request.accept_encodings["gzip"] > 0
            and "Range" not in request.headers
        ):
            response.direct_passthrough = False
            response.close()
            response.set_data(_compressed(path))
            response.headers["Content-Encoding"] = "gzip"
    return response


@lru_cache(maxsize=64)
def _compressed(path: Path) -> bytes:
    """Return the file compressed; done once, since the files of a running server do not change."""
    return gzip.compress(path.read_bytes(), compresslevel=9, mtime=0)
