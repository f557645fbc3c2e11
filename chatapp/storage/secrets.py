"""The two small secret files of the data folder: the signing key and the setup code. Both 0600."""

from __future__ import annotations

import errno
import hmac
import logging
import re
import secrets
from contextlib import suppress
from pathlib import Path

from chatapp.errors import StorageFailed
from chatapp.storage.files import Files, read_whole, write_aside

log = logging.getLogger(__name__)

_KEY = re.compile(r"[ -~]{32,}")
_CODE = re.compile(r"[0-9a-f]{4}(-[0-9a-f]{4}){3}")


def load_or_make_key(path: Path) -> str:
    """Return the signing key kept at ``path``, making it (64 hex digits) at the first start.

    What cannot be a key, such as half of one, is replaced: it could be guessed. Raises ``StorageFailed`` when the
    file cannot be read or written.
    """
    key = _read(path)
    if key and _KEY.fullmatch(key):
        return key
    if key is not None:
        log.warning("%s was damaged. A new key was made, so everybody has to sign in again.", path)
    return _write_new(path, secrets.token_hex(32))


class SetupCodeFile:
    """The setup code: made while there is no user, gone when the first one exists."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def prepare(self) -> str:
        """Return the code, making it when there is none yet. Raises ``StorageFailed``."""
        return self.read() or _write_new(self._path, "-".join(secrets.token_hex(2) for _ in range(4)))

    def read(self) -> str | None:
        """Return the code, or ``None`` when it was used, never made, or is only a part of one."""
        code = _read(self._path)
        return code if code and _CODE.fullmatch(code) else None

    def fits(self, code: str) -> bool:
        """Return whether this is the code; compared in constant time."""
        wanted = self.read()
        return wanted is not None and hmac.compare_digest(wanted.encode(), code.strip().lower().encode())

    def used(self) -> None:
        """Forget the code. Where the file cannot be removed it stays and is worth nothing."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def _read(path: Path) -> str | None:
    """Return the text of a file, ``None`` when there is none. Raises ``StorageFailed``."""
    try:
        return read_whole(Files(), path).decode("ascii", errors="replace").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: OSError) -> StorageFailed:
    cure = (
        "Free some space and start again."
        if error.errno in {errno.ENOSPC, errno.EDQUOT}
        else "Check that it is a file which belongs to this user, or remove it: the next start makes a new one."
    )
    return StorageFailed(f"{path} cannot be used: {error.strerror or error}. {cure}", detail=str(error))


def _write_new(path: Path, text: str) -> str:
    """Keep a secret, durable with its name; no reader ever sees half of it."""
    files = Files()
    try:
        files.make_folder(path.parent)
        write_aside(files, path, text.encode("ascii") + b"\n")
    except OSError as error:
        raise _unusable(path, error) from error
    return text
