"""The only clock and the only source of randomness, so that tests can replace both.

Ids are 26 characters of Crockford's base 32 in lower case: 48 bits of time in milliseconds, then 80 random bits
(the ULID layout). They sort by time of making and say nothing about whom they belong to.
"""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
ID_LENGTH = 26


def new_id() -> str:
    """Return a new time-sortable id, for example ``01kagx2m9z5r8q3w7t1v6y4b0c``."""
    value = (int(time.time() * 1000) << 80) | secrets.randbits(80)
    return "".join(_ALPHABET[(value >> shift) & 31] for shift in range(125, -1, -5))


def new_secret() -> str:
    """Return 256 random bits as URL-safe text, for session ids, tokens and codes."""
    return secrets.token_urlsafe(32)


def now_utc() -> datetime:
    """Return the wall-clock time, UTC. For stamps that people read, never for measuring."""
    return datetime.now(UTC)


def now_s() -> float:
    """Return the wall-clock time in seconds since 1970."""
    return time.time()


def monotonic_s() -> float:
    """Return a clock in seconds that never runs backwards, for durations and deadlines."""
    return time.monotonic()
