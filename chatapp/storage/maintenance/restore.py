"""Putting another whole set of files in place of the present ones, so that a crash at any step leaves one of the two.

1. the new files are written to ``restoring.tmp`` and read as a start would read them
2. ``restoring.tmp`` becomes ``restoring``: from here on the new files count
3. the present files get a second name in ``backups/…``, then the new ones get a second name in the data folder
4. ``restoring`` becomes ``restoring.tmp`` again, and goes

A start finishes what was interrupted. A file has both of its names on the disk before it loses one of them, so no step
depends on the order in which the disk takes names; only a replaced one that cannot be read any more has one at a time.
"""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from chatapp.errors import Conflict, NotFound, StorageFailed, StoreDamaged
from chatapp.ids import now_utc
from chatapp.storage.files import Files, copy_file, read_whole, write_new
from chatapp.storage.journal import generation_path
from chatapp.storage.layout import Layout
from chatapp.storage.locks import FolderLock
from chatapp.storage.maintenance.backup import (
    SECRETS,
    check_is_finished,
    check_is_whole,
    copy_data,
    remove_copy,
)
from chatapp.storage.recovery import Recovered
from chatapp.storage.replay import generations

_SINGLE = ("chats.json", "users.json", *SECRETS)
_PREVIOUS = ("previous/chats.json", "previous/users.json")
_GOES_TO = "goes-to"
"""The file in ``restoring`` that names the folder for what is replaced."""
_IS_KEPT = "is-kept"
"""The file in ``restoring`` that says that all of that is there."""

_UNREADABLE = {errno.EIO, errno.EACCES, errno.EISDIR}


def restore(files: Files, layout: Layout, source: Path) -> tuple[Recovered, Path]:
    """Put the data of ``source``, a backup, in place of what the data folder holds.

    Returns what was put in place, and the folder where the replaced files are, which does not exist when there
    were none. Raises ``StoreLocked`` while a server has the folder, ``NotFound`` and ``StoreDamaged`` when
    ``source`` cannot be used, ``Conflict`` for symbolic links, other ``StorageFailed``; the present files are as
    they were then, or the next start finishes the restore.
    """
    with in_one_line(layout):
        _check_is_backup(files, source)
    with exclusive(files, layout) as stamp:
        if source.resolve() == layout.folder.resolve():
            raise Conflict(f"{source} is the data folder itself. Name a backup.")
        recovered = _copy(files, layout, source)
        kept = layout.backups / f"replaced-{stamp}"
        put_in_place(files, layout, kept)
        return recovered, kept


def _check_is_backup(files: Files, source: Path) -> None:
    try:
        check_is_whole(files, Layout(source))
    except NotFound:
        raise NotFound(
            f"There is no data in {source}. Name a folder that `flask store backup` made."
        ) from None


def _copy(files: Files, layout: Layout, source: Path) -> Recovered:
    try:
        return copy_data(files, Layout(source), layout.restoring_aside)
    except StoreDamaged as error:
        raise StoreDamaged(
            f"Nothing was restored: {error.detail}. Try another backup.", detail=error.detail
        ) from error


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
            f"{error.filename or layout.folder} cannot be used: {error.strerror or error}. Mend that and try again.",
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
    coming = _data_files(files, layout.restoring)
    if not files.exists(layout.restoring / _IS_KEPT):
        _keep_present(files, layout, coming)
        write_new(files, layout.restoring / _IS_KEPT, b"")
    _put_in(files, layout, coming)
    files.rename(layout.restoring, layout.restoring_aside)
    files.sync_folder(layout.folder)


def _data_files(files: Files, folder: Path) -> list[str]:
    """Return the names of the data files below a folder."""
    journal = [generation_path(folder / "journal", each) for each in generations(files, folder / "journal")]
    single = [*_PREVIOUS, *_SINGLE]
    return [f"journal/{path.name}" for path in journal] + [
        name for name in single if files.exists(folder / name)
    ]


def _goes_with_the_rest(name: str) -> bool:
    """Return whether a file makes sense only beside the others of its folder, so that none of an old set may stay."""
    return name.startswith("journal/") or name in _PREVIOUS


def _keep_present(files: Files, layout: Layout, coming: Collection[str]) -> None:
    """Give what will be replaced a name in the backups folder, durable."""
    leaving = [
        name for name in _data_files(files, layout.folder) if name in coming or _goes_with_the_rest(name)
    ]
    if not leaving:
        return
    kept = layout.backups / read_whole(files, layout.restoring / _GOES_TO).decode()
    folders = _folders_of(kept, leaving)
    for folder in folders:
        files.make_folder(folder)
    for name in leaving:
        files.remove(kept / name)
        _keep(files, layout.folder / name, kept / name)
    for folder in folders:
        files.sync_folder(folder)


def _folders_of(top: Path, names: Collection[str]) -> list[Path]:
    """Return the folders that files of these names are in, the journal's in any case, the top one last."""
    inner = {(top / name).parent for name in names} | {top / "journal"}
    return [*sorted(inner - {top}), top]


def _keep(files: Files, path: Path, kept: Path) -> None:
    """Give a file a second name. One that can be neither linked nor read moves: it is why the others come."""
    try:
        _name_also(files, path, kept)
    except OSError as error:
        if error.errno not in _UNREADABLE:
            raise
        files.remove(kept)
        files.rename(path, kept)


def _put_in(files: Files, layout: Layout, coming: Collection[str]) -> None:
    """Let the new files stand in the data folder, durable, and nothing beside them that goes with the old ones."""
    files.make_folder(layout.journal)
    for name in coming:
        aside = layout.folder / f"{name}.tmp"
        files.remove(aside)
        _name_also(files, layout.restoring / name, aside)
        files.rename(aside, layout.folder / name)
        files.remove(aside)  # renaming one name of a file over another of its names does nothing
    for name in _data_files(files, layout.folder):
        if _goes_with_the_rest(name) and name not in coming:
            files.remove(layout.folder / name)
    for folder in (layout.journal, layout.previous, layout.folder):
        if files.exists(folder):
            files.sync_folder(folder)


def _name_also(files: Files, path: Path, name: Path) -> None:
    """Give a file a second name, or copy it where there are no hard links."""
    try:
        files.link(path, name)
    except OSError:
        files.remove(name)
        fd = files.open(path)
        try:
            copy_file(files, fd, name)
        finally:
            files.close(fd)
