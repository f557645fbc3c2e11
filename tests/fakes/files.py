"""A file system that counts its calls and fails when it is told to."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chatapp.storage.files import Files

Fault = Callable[[str, str], OSError | None]
"""Given the name of the call and the name of the file (where it is known): the error to raise, or ``None``."""

_WATCHED = (
    "make_folder", "add_folder", "names", "exists", "create", "open", "read", "write", "cut", "sync", "sync_folder",
    "rename", "link", "remove", "remove_folder", "size_bytes", "identity", "lock",
)  # fmt: skip


def no_fault(_call: str, _name: str) -> None:
    """Let everything work."""


def error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def disk_full() -> OSError:
    return error(errno.ENOSPC)


class FaultyFiles(Files):
    """The real file system with faults.

    Args:
        syncs: ``False`` passes over ``sync``, which makes tests quick that do not pull the plug.
    """

    def __init__(self, *, syncs: bool = True) -> None:
        self.fault: Fault = no_fault
        self.calls: list[tuple[str, str]] = []
        self.most_bytes_per_write = 1 << 30
        self._syncs = syncs
        self._names: dict[int, str] = {}
        self._lock = threading.Lock()

    def watch(self, call: str, arguments: tuple[Any, ...]) -> None:
        """Note a call, and raise the error that is asked for."""
        name = self._name(arguments)
        with self._lock:
            self.calls.append((call, name))
        fault = self.fault(call, name)
        if fault is not None:
            raise fault

    def _name(self, arguments: tuple[Any, ...]) -> str:
        first = arguments[0] if arguments else ""
        return first.name if isinstance(first, Path) else self._names.get(int(first or -1), "")

    def create(self, path: Path) -> int:
        return self._opened(path, super().create(path))

    def open(self, path: Path, *, writable: bool = False) -> int:
        return self._opened(path, super().open(path, writable=writable))

    def _opened(self, path: Path, fd: int) -> int:
        self._names[fd] = path.name
        return fd

    def write(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        return super().write(fd, data[: self.most_bytes_per_write], offset)

    def sync(self, fd: int) -> None:
        if self._syncs:
            super().sync(fd)

    def sync_folder(self, folder: Path) -> None:
        if self._syncs:
            super().sync_folder(folder)


def _watched(call: str) -> Callable[..., Any]:
    unwatched = getattr(FaultyFiles, call)

    def method(self: FaultyFiles, *arguments: Any, **options: Any) -> Any:
        self.watch(call, arguments)
        return unwatched(self, *arguments, **options)

    return method


for _call in _WATCHED:
    setattr(FaultyFiles, _call, _watched(_call))
