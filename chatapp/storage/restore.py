"""Putting another whole set of files in place of the present ones, so that a crash at any step leaves one of the two.

1. the new files are written to ``restoring.tmp`` and read as a start would read them
2. ``restoring.tmp`` becomes ``restoring``: from here on the new files count
3. the present files move to ``backups/…``, the new ones to their places, ``restoring`` goes

A start finishes step 3 when it was interrupted; each of its moves is made only where it is still to be made.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chatapp.errors import Conflict, StorageFailed
from chatapp.ids import now_utc
from chatapp.storage.backup import SECRETS, back_up, check_is_finished, check_is_whole, remove_copy
from chatapp.storage.files import Files, read_whole, write_new
from chatapp.storage.layout import Layout
from chatapp.storage.locks import FolderLock
from chatapp.storage.recovery import Recovered

_MOVED = ("journal", *SECRETS, "chats.json", "users.json")
_GOES_TO = "goes-to"
"""The file in ``restoring`` that names the folder for what is replaced."""


def restore(files: Files, layout: Layout, source: Path) -> tuple[Recovered, Path]:
    """Put the data of ``source``, a backup, in place of what the data folder holds.

    Returns what was put in place, and the folder where the replaced files are, which does not exist when there
    were none. Raises ``StoreLocked`` while a server has the folder, ``NotFound`` and ``StoreDamaged`` when
    ``source`` cannot be used, ``Conflict`` for symbolic links, other ``StorageFailed``; the present files are as
    they were then, or the next start finishes the restore.
    """
    with in_one_line(layout):
        check_is_whole(files, Layout(source))
    with exclusive(files, layout) as stamp:
        if source.resolve() == layout.folder.resolve():
            raise Conflict(f"{source} is the data folder itself. Name a backup.")
        recovered = back_up(files, Layout(source), layout.restoring_aside)
        kept = layout.backups / f"replaced-{stamp}"
        put_in_place(files, layout, kept)
        return recovered, kept


@contextmanager
def exclusive(files: Files, layout: Layout) -> Iterator[str]:
    """Hold the data folder as a server would, and give a stamp for names of what is put aside.

    An earlier restore is finished first. Raises ``StoreLocked``, ``Conflict``, ``StorageFailed``.
    """
    with in_one_line(layout):
        files.make_folder(layout.folder)
        lock = FolderLock(files, layout.folder)
        try:
            finish_restore(files, layout)
            _check_no_links(layout)
            yield f"{now_utc():%Y%m%dT%H%M%S%f}Z"
        finally:
            lock.release()


@contextmanager
def in_one_line(layout: Layout) -> Iterator[None]:
    """Tell what the file system refuses in one line."""
    try:
        yield
    except OSError as error:
        raise StorageFailed(
            f"{error.filename or layout.folder}: {error.strerror or error}. Mend that and try again.",
            detail=str(error),
        ) from error


def _check_no_links(layout: Layout) -> None:
    if layout.has_links:
        raise Conflict(
            f"users.json or chats.json in {layout.folder} is a symbolic link, and the files would have to be put "
            "beside it. Put the file itself in place of the link, or set CHATAPP_DATA_DIR to another folder."
        )


def put_in_place(files: Files, layout: Layout, kept: Path) -> None:
    """Let the whole set of files in ``restoring.tmp`` replace the present ones, which move to ``kept``."""
    write_new(files, layout.restoring_aside / _GOES_TO, kept.name.encode())
    files.rename(layout.restoring_aside, layout.restoring)
    files.sync_folder(layout.folder)
    finish_restore(files, layout)


def finish_restore(files: Files, layout: Layout) -> None:
    """Finish a restore that was interrupted, or forget one that had not begun to count.

    Does nothing in a folder without either. Raises ``OSError``, and may be called again; raises ``StoreDamaged``
    for a folder that is a copy which was never finished.
    """
    check_is_finished(files, layout)
    if files.exists(layout.restoring):
        _swap(files, layout)
    remove_copy(files, layout.restoring_aside)


def _swap(files: Files, layout: Layout) -> None:
    """What is still in ``restoring`` has not been moved yet; what then has its name is the old one."""
    coming = [name for name in _MOVED if files.exists(layout.restoring / name)]
    leaving = [name for name in coming if files.exists(layout.folder / name)]
    if leaving:
        _move_away(files, layout, leaving)
    for name in coming:
        files.rename(layout.restoring / name, layout.folder / name)
    files.sync_folder(layout.folder)
    files.sync_folder(layout.restoring)
    remove_copy(files, layout.restoring)
    files.sync_folder(layout.folder)


def _move_away(files: Files, layout: Layout, names: list[str]) -> None:
    kept = layout.backups / read_whole(files, layout.restoring / _GOES_TO).decode()
    files.make_folder(kept)
    files.sync_folder(layout.backups)
    for name in names:
        files.rename(layout.folder / name, kept / name)
    files.sync_folder(kept)
    files.sync_folder(layout.folder)
