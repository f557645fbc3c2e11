"""Where to go after signing in: only ever a page of this site."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_MAX_LENGTH = 2000


def safe_next(target: str | None) -> str:
    """Return the target when it is a plain path of this site, else ``/``.

    One slash first, no backslash, no control character, no host: browsers read ``//host`` and ``/\\host`` as another
    site.
    """
    if not target or len(target) > _MAX_LENGTH or re.search(r"[\x00-\x20\x7f\\]", target):
        return "/"
    if not target.startswith("/") or target.startswith("//"):
        return "/"
    try:
        parts = urlsplit(target)
    except ValueError:
        return "/"
    return target if not parts.scheme and not parts.netloc and "//" not in parts.path else "/"
