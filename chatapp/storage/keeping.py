"""What is never thrown away: bytes that could not be read, and files as they were before they were replaced."""

from __future__ import annotations

import itertools
from pathlib import Path
from zlib import crc32

from chatapp.ids import now_utc
from chatapp.storage.files import Files, copy_file, write_aside
from chatapp.storage.layout import Layout


def put_aside(files: Files, layout: Layout, name: str, content: bytes) -> str:
    """Keep bytes in the quarantine folder and return their name there. The same bytes are kept once.

    They are written anew each time: what a start that was cut short has left may be no more than a beginning.
    """
    files.make_folder(layout.quarantine)
    path = layout.quarantine / f"{name}-{crc32(content):08x}"
    write_aside(files, path, content)
    return f"quarantine/{path.name}"


def keep_original(files: Files, layout: Layout, path: Path) -> str:
    """Copy a file into the backups folder, durable and for its owner only, and return its name there."""
    files.make_folder(layout.backups)
    target = free_name(files, layout.backups / f"{path.name}-{now_utc():%Y%m%dT%H%M%S%f}Z")
    aside = layout.backups / f"{path.name}.tmp"
    files.remove(aside)
    source = files.open(path)
    try:
        copy_file(files, source, aside)
    finally:
        files.close(source)
    files.rename(aside, target)
    files.sync_folder(layout.backups)
    return f"backups/{target.name}"


def free_name(files: Files, path: Path) -> Path:
    """Return a path that nothing has yet: this one, or one with a number, as when a clock shows a time again."""
    numbered = (path.with_name(f"{path.name}-{number}") for number in itertools.count(2))
    return next(each for each in itertools.chain([path], numbered) if not files.exists(each))


def cut_off(files: Files, path: Path, length: int) -> None:
    """Shorten a file to ``length`` bytes; return when the disk has it so."""
    fd = files.open(path, writable=True)
    try:
        files.cut(fd, length)
        files.sync(fd)
    finally:
        files.close(fd)
