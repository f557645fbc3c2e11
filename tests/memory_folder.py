"""A folder that is quick to write to, for tests that open a store hundreds of times and never pull the plug."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_IN_MEMORY = "/dev/shm"  # noqa: S108 - only whether it is there; the folder in it gets a random name


@contextmanager
def memory_folder() -> Iterator[Path]:
    """Give an empty folder, in memory where the system has such a place, and remove it afterwards."""
    parent = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="chatapp-test-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
