"""What the person at the terminal reads."""

from __future__ import annotations

import contextlib
import sys


def say(line: str) -> None:
    """Print one line at once. A terminal that has gone away changes nothing."""
    _write(sys.stdout, line)


def complain(line: str) -> None:
    """Print one line to standard error at once."""
    _write(sys.stderr, line)


def _write(stream: object, line: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        print(line, file=stream, flush=True)  # type: ignore[call-overload]
