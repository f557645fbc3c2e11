"""Hashing and judging passwords.

scrypt with N=2^15, r=8, p=3 (OWASP ASVS 5.0, appendix C). A hash takes about 0.2 s and 32 MB, so only a few are
made at a time and the rest wait their turn.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

from werkzeug.security import check_password_hash, generate_password_hash

from chatapp.errors import Invalid, TooMany
from chatapp.ids import new_secret
from chatapp.offload import offload

T = TypeVar("T")

METHOD = "scrypt:32768:8:3"
MIN_CHARACTERS = 8
MAX_BYTES = 1024
_AT_ONCE = 2
_TURN_TIMEOUT_S = 10.0
_COMMON_COUNT = 3000
# Words that everybody who attacks this very site tries first.
_APP_WORDS = frozenset({"chatapp", "chatapp1", "chatapp123", "changeme", "ollama123", "letmein1"})

_turns = threading.BoundedSemaphore(_AT_ONCE)
_reading = threading.Lock()


def hash_password(password: str) -> str:
    """Return a salted hash. Raises ``TooMany`` when no turn came free within 10 s."""
    return _in_turn(lambda: generate_password_hash(password, METHOD))


def verify(password: str, stored_hash: str | None) -> bool:
    """Return whether the password fits. Without a hash the same time is spent and the answer is False.

    A hash that cannot be understood fits nothing. Raises ``TooMany`` when no turn came free within 10 s.
    """
    fits = _in_turn(lambda: _fits(password, stored_hash or _nobodys_hash(METHOD)))
    return fits and stored_hash is not None


def _fits(password: str, stored_hash: str) -> bool:
    try:
        return check_password_hash(stored_hash, password)
    except (ValueError, OverflowError):
        return False


def is_usable(password: str) -> bool:
    """Return whether the text could be a password at all, so that huge ones are never hashed.

    A NUL is refused because HMAC pads with it: to scrypt and PBKDF2 a password and the same with NULs behind are one.
    """
    return 0 < len(password) <= MAX_BYTES and len(password.encode()) <= MAX_BYTES and "\0" not in password


def needs_rehash(stored_hash: str) -> bool:
    """Return whether the hash was made by an older method (``pbkdf2:sha256`` is still accepted)."""
    return not stored_hash.startswith(METHOD + "$")


def check_new(password: str, username: str, *, field: str = "password") -> None:
    """Raise ``Invalid`` when the password may not be used: too short, too long, or one everybody tries."""
    if len(password) < MIN_CHARACTERS:
        raise Invalid(f"Choose a password of at least {MIN_CHARACTERS} characters.", field=field)
    if len(password.encode()) > MAX_BYTES:
        raise Invalid(f"Choose a password of at most {MAX_BYTES} bytes.", field=field)
    if "\0" in password:
        raise Invalid("A password cannot hold a NUL character.", field=field)
    folded = password.casefold()
    if folded == username.casefold():
        raise Invalid("Choose a password that is not your user name.", field=field)
    if folded in _APP_WORDS or folded in _common():
        raise Invalid("This password is one of the first that anybody tries. Choose another.", field=field)


def _in_turn(call: Callable[[], T]) -> T:
    if not _turns.acquire(timeout=_TURN_TIMEOUT_S):
        raise TooMany("Too many people are signing in right now. Try again in a moment.", retry_after_s=5)
    try:
        return offload(call)
    finally:
        _turns.release()


@lru_cache(maxsize=1)
def _nobodys_hash(method: str) -> str:
    return generate_password_hash(new_secret(), method)


def _common() -> frozenset[str]:
    with _reading:
        return _read_common()


@lru_cache(maxsize=1)
def _read_common() -> frozenset[str]:
    """Return the commonest passwords of zxcvbn's list. Loaded at the first use: most servers never register anybody.

    The library holds on to all its word lists, 12 MB, for as long as it stays imported, so it does not stay; it must
    not go while another thread imports it.
    """
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    common = frozenset(FREQUENCY_LISTS["passwords"][:_COMMON_COUNT])
    for name in [name for name in sys.modules if name.partition(".")[0] == "zxcvbn"]:
        del sys.modules[name]
    return common
