"""The two small secret files of the data folder: the signing key and the setup code. Both 0600."""

from __future__ import annotations

import hmac
import os
import secrets
from pathlib import Path


def load_or_make_key(path: Path) -> str:
    """Return the signing key kept at ``path``, making it (64 hex digits) at the first start."""
    try:
        key = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        key = ""
    return key if len(key) >= 32 else _write_new(path, secrets.token_hex(32))


class SetupCodeFile:
    """The setup code: made while there is no user, gone when the first one exists."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def prepare(self) -> str:
        """Return the code, making it when there is none yet."""
        return self.read() or _write_new(self._path, "-".join(secrets.token_hex(2) for _ in range(4)))

    def read(self) -> str | None:
        """Return the code, or ``None`` when it was used or never made."""
        try:
            return self._path.read_text(encoding="ascii").strip() or None
        except FileNotFoundError:
            return None

    def fits(self, code: str) -> bool:
        """Return whether this is the code; compared in constant time."""
        wanted = self.read()
        return wanted is not None and hmac.compare_digest(wanted.encode(), code.strip().lower().encode())

    def used(self) -> None:
        """Forget the code."""
        self._path.unlink(missing_ok=True)


def _write_new(path: Path, text: str) -> str:
    """Write a secret aside and move it into place, so that no reader ever sees half of it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".tmp")
    aside.unlink(missing_ok=True)
    with os.fdopen(
        os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii"
    ) as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    return text
