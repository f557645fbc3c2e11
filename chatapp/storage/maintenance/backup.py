"""A whole copy of a data folder, made beside a running server: no lock is taken and nothing in the folder changes.

1. users.json and chats.json are opened; a checkpoint renames them away, which leaves the open files whole
2. the journal files from where the older of the two ends are opened, so that nothing of them disappears either
3. the journal is copied newest file first: a record in one file proves that the file before it is complete
4. the copy is read as a start would read it, and cut behind its last whole record
5. only then users.json gets its name: a copy that was interrupted is never taken for a whole one
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path

from chatapp.errors import Conflict, NotFound, StorageFailed, StoreDamaged
from chatapp.storage.files import Files, copy_file, read_blocks
from chatapp.storage.journal import generation_path
from chatapp.storage.keeping import cut_off
from chatapp.storage.layout import Layout
from chatapp.storage.lines import BadLine, Kind, check_record, decode_head
from chatapp.storage.recovery import Recovered, load
from chatapp.storage.replay import generations
from chatapp.storage.snapshot import untrusted

SECRETS = ("secret.key", "setup-code")
_TRIES = 5
_HEAD_BYTES = 1 << 16
_UNFINISHED = ".unfinished"


class _Unfinished(Layout):
    """A copy that is being made: users.json has another name until everything is there."""

    __slots__ = ()

    @property
    def users(self) -> Path:
        return self.folder / f"users.json{_UNFINISHED}"


def back_up(files: Files, layout: Layout, target: Path) -> Recovered:
    """Copy the data folder into ``target``, which must be new or empty, and return what the copy holds.

    The copy has every change that was acknowledged before the call. Raises ``NotFound`` when there is no data,
    ``Conflict`` when ``target`` is in use, ``StoreDamaged`` when the data cannot be trusted, other
    ``StorageFailed`` when something cannot be read or written; nothing is left in ``target`` then.
    """
    try:
        check_is_whole(files, layout)
        if files.names(target):
            raise Conflict(f"{target} is not empty. Name a folder that is empty or does not exist yet.")
        return copy_data(files, layout, target)
    except OSError as error:
        reason = f"{error.strerror or error} ({error.filename or target})"
        raise StorageFailed(f"No copy was made: {reason}.", detail=str(error)) from error


def copy_data(files: Files, layout: Layout, target: Path) -> Recovered:
    """Copy a data folder that was checked into ``target``, and return what the copy holds.

    Raises ``StoreDamaged`` with the reason as its ``detail``, ``OSError``, and ``Conflict`` when ``target`` is no
    folder; nothing is left in it then.
    """
    try:
        _make(files, target)
        return _copy_until_whole(files, layout, _Unfinished(target))
    except BaseException:
        with suppress(OSError):
            remove_copy(files, target)
        raise


def _make(files: Files, target: Path) -> None:
    try:
        files.make_folder(target)
    except (FileExistsError, NotADirectoryError):
        raise Conflict(f"{target} is not a folder. Name one that is empty or does not exist yet.") from None


def check_is_whole(files: Files, layout: Layout) -> None:
    """Raise ``StorageFailed`` or another error when the folder is none that can be read now.

    That is ``NotFound`` when it holds neither users nor chats, ``Conflict`` in the middle of a restore, and
    ``StoreDamaged`` for a copy that was never finished.
    """
    check_is_finished(files, layout)
    if files.exists(layout.restoring):
        raise Conflict(
            f"A restore of {layout.folder} was interrupted. Start the server: it finishes the restore first."
        )
    if not files.exists(layout.users) and not files.exists(layout.chats):
        raise no_data(layout)


def no_data(layout: Layout) -> NotFound:
    return NotFound(
        f"There is no data in {layout.folder}. Start the server once, "
        "or set CHATAPP_DATA_DIR to the folder that has the data."
    )


def check_is_finished(files: Files, layout: Layout) -> None:
    """Raise ``StoreDamaged`` when the folder is a copy whose making was cut short."""
    if _Unfinished(layout.folder).users.name in files.names(layout.folder):
        raise StoreDamaged(
            f"{layout.folder} is a copy that was not finished, so not everything is in it. Make the copy again."
        )


def remove_copy(files: Files, folder: Path) -> None:
    """Remove a folder of copied data files with what is in it; nothing happens when there is none."""
    if not files.exists(folder):
        return
    for inner in (folder / "journal", folder):
        for name in files.names(inner):
            if inner / name != folder / "journal":
                files.remove(inner / name)
        files.remove_folder(inner)


def _copy_until_whole(files: Files, layout: Layout, copy: _Unfinished) -> Recovered:
    """Copy; when a server swapped the files meanwhile so that they do not fit, begin again."""
    for _ in range(_TRIES - 1):
        try:
            return _copy(files, layout, copy)
        except (StoreDamaged, FileNotFoundError):
            remove_copy(files, copy.folder)
            files.make_folder(copy.folder)
    try:
        return _copy(files, layout, copy)
    except FileNotFoundError as error:
        what = f"{error.filename} is missing"
        raise StoreDamaged(f"No copy was made: {what}. Nothing was changed.", detail=what) from error
    except StoreDamaged as error:
        message, what = (
            text.replace(str(copy.users), str(layout.users)).replace(str(copy.folder), str(layout.folder))
            for text in (error.message, error.detail or error.message)
        )
        raise StoreDamaged(f"No copy was made. {message}", detail=what.removesuffix(".")) from error


def _copy(files: Files, layout: Layout, copy: _Unfinished) -> Recovered:
    with ExitStack() as opened:
        users, chats = _open(files, layout.users, opened), _open(files, layout.chats, opened)
        first = min(_generation(files, users, "users"), _generation(files, chats, "chats"))
        journal = _open_journal(files, layout, first, opened)
        known = _last_record(files, reversed(journal.values()))
        copy_file(files, users, copy.users)
        copy_file(files, chats, copy.folder / "chats.json")
        files.make_folder(copy.journal)
        for generation, fd in reversed(journal.items()):
            copy_file(files, fd, generation_path(copy.journal, generation))
    for name in SECRETS:
        if files.exists(layout.folder / name):
            _copy_secret(files, layout.folder / name, copy.folder / name)
    check_is_whole(files, layout)
    recovered = _check(files, copy, known)
    files.rename(copy.users, copy.folder / "users.json")
    users_file = recovered.files[0]
    users_file.remarks = [each.replace(copy.users.name, "users.json") for each in users_file.remarks]
    for folder in (copy.journal, copy.folder, copy.folder.parent):
        files.sync_folder(folder)
    return recovered


def _open(files: Files, path: Path, opened: ExitStack) -> int:
    fd = files.open(path)
    opened.callback(files.close, fd)
    return fd


def _generation(files: Files, fd: int, kind: Kind) -> int:
    """Return the journal file in which the records after a snapshot begin; 0 when its head cannot be read."""
    try:
        return decode_head(kind, files.read(fd, _HEAD_BYTES, 0).partition(b"\n")[0]).gen
    except ValueError:
        return 0


def _open_journal(files: Files, layout: Layout, first: int, opened: ExitStack) -> dict[int, int]:
    """Return descriptors of all generations from ``first`` on. Raises ``FileNotFoundError`` when it is gone."""
    present = [each for each in generations(files, layout.journal) if each >= first]
    if first and first not in present:
        raise FileNotFoundError(None, None, str(generation_path(layout.journal, first)))
    return {each: _open(files, generation_path(layout.journal, each), opened) for each in present}


def _last_record(files: Files, journal: Iterable[int]) -> int:
    """Return the number of the last whole record in open journal files, the newest first; 0 for none."""
    for fd in journal:
        for line in reversed(b"".join(read_blocks(files, fd)).split(b"\n")):
            with suppress(BadLine):
                check_record(line)
                return int(line.removeprefix(b'{"n":').partition(b",")[0])
    return 0


def _copy_secret(files: Files, path: Path, target: Path) -> None:
    with ExitStack() as opened:
        try:
            copy_file(files, _open(files, path, opened), target)
        except FileNotFoundError:
            return  # the setup code was used a moment ago


def _check(files: Files, copy: _Unfinished, known: int) -> Recovered:
    """Read the copy as a start would, and cut off what the server was just writing."""
    recovered = load(files, copy)
    if recovered.reader.last_number < known:
        raise untrusted(
            f"The journal in {copy.folder} does not reach record {known} any more", "Put back a backup."
        )
    if recovered.reader.torn:
        cut_off(files, recovered.reader.torn.path, recovered.reader.torn.offset)
    return recovered
