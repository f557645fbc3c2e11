"""Every call to the file system that the store makes, in one small object.

A test puts another object in its place, one that fails at the N-th call or forgets what was never synced.
Methods raise ``OSError`` as the operating system does; :func:`storage_error` is the one place where that becomes
an error for people.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from chatapp.errors import StorageFailed, StorageFull, StorageReadOnly

_READ_BYTES = 1 << 20
_WRITE_BYTES = 1 << 20
_DIRECT_BYTES = 1 << 16
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM}


class Files:
    """The real file system. Descriptors are plain numbers; whoever opened one closes it."""

    def make_folder(self, path: Path) -> None:
        """Make the folder and its parents, for its owner only; return when the disk has their names.

        A folder that exists is synced too: whoever made it may have been killed before its name was on the disk.
        """
        if not self.exists(path):
            if self.exists(path.parent):
                self._sync_name(path.parent)
            else:
                self.make_folder(path.parent)
        self.add_folder(path)
        self._sync_name(path)

    def _sync_name(self, folder: Path) -> None:
        """Sync the name of a folder, where the folder above can be synced: it may be read-only or another's."""
        try:
            self.sync_folder(folder.parent)
        except OSError as error:
            if error.errno not in _FORBIDDEN | {errno.EINVAL}:
                raise

    def add_folder(self, path: Path) -> None:
        """Make one folder for its owner only.

        An existing folder is closed to others where that is allowed: a mounted one may belong to somebody else.
        """
        path.mkdir(mode=0o700, exist_ok=True)
        if path.stat().st_mode & 0o077:
            with suppress(PermissionError):
                path.chmod(0o700)

    def names(self, folder: Path) -> list[str]:
        """Return the sorted names in a folder; ``[]`` when it does not exist."""
        return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []

    def exists(self, path: Path) -> bool:
        return path.exists()

    def create(self, path: Path) -> int:
        """Create a new file for its owner only and open it. Raises ``FileExistsError``."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def open(self, path: Path, *, writable: bool = False) -> int:
        """Open a file, or a folder to lock it. Raises ``OSError`` for pipes and devices: reading them may never end."""
        mode = os.O_RDWR if writable else os.O_RDONLY
        fd = os.open(path, mode | os.O_CLOEXEC | os.O_NONBLOCK)
        kind = os.fstat(fd).st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            os.close(fd)
            raise OSError(errno.EINVAL, "It is no regular file", str(path))
        return fd

    def close(self, fd: int) -> None:
        """Never raises: whatever had to reach the disk was synced before."""
        with suppress(OSError):
            os.close(fd)

    def read(self, fd: int, length: int, offset: int) -> bytes:
        """Return up to ``length`` bytes; fewer at the end of the file."""
        return os.pread(fd, length, offset)

    def write(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        """Write at ``offset`` and return how many bytes were taken, which may be fewer."""
        return os.pwrite(fd, data, offset)

    def cut(self, fd: int, length: int) -> None:
        os.ftruncate(fd, length)

    def sync(self, fd: int) -> None:
        """Return when the disk has what was written to ``fd``."""
        os.fdatasync(fd)

    def sync_folder(self, folder: Path) -> None:
        """Return when the disk has the names in ``folder``."""
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, source: Path, target: Path) -> None:
        source.replace(target)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name. Raises ``FileExistsError``, and ``OSError`` where there are no hard links."""
        target.hardlink_to(source)

    def remove(self, path: Path) -> None:
        """Remove a file; one that is already gone is fine."""
        path.unlink(missing_ok=True)

    def remove_folder(self, path: Path) -> None:
        """Remove an empty folder; one that is already gone is fine."""
        with suppress(FileNotFoundError):
            path.rmdir()

    def size_bytes(self, fd: int) -> int:
        return os.fstat(fd).st_size

    def identity(self, file: Path | int) -> tuple[int, int, int, int]:
        """Return device, number, size and time of change of a file: other ones once it is replaced or written to."""
        status = os.stat(file)  # noqa: PTH116 - a descriptor has no path
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns

    def lock(self, fd: int) -> bool:
        """Take the exclusive lock of an open file; ``False`` when another process has it."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def write_all(files: Files, fd: int, data: bytes, offset: int) -> None:
    """Write all of ``data`` at ``offset``, however little the system takes at a time."""
    view = memoryview(data)
    while view:
        taken = files.write(fd, view, offset)
        if taken <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        view, offset = view[taken:], offset + taken


def read_blocks(files: Files, fd: int, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
    """Yield the bytes from ``offset`` in blocks, to the end of the file or ``length`` bytes on."""
    end = files.size_bytes(fd) if length is None else offset + length
    while offset < end:
        block = files.read(fd, min(_READ_BYTES, end - offset), offset)
        if not block:
            raise OSError(errno.EIO, "the file ended early")
        yield block
        offset += len(block)


class SequentialWriter:
    """Appends to a new file in large blocks. ``position`` is where the next byte goes."""

    def __init__(self, files: Files, fd: int) -> None:
        self._files = files
        self._fd = fd
        self._block = bytearray()
        self._written_bytes = 0

    @property
    def position(self) -> int:
        return self._written_bytes + len(self._block)

    def write(self, data: bytes) -> None:
        if len(data) >= _DIRECT_BYTES:
            self.flush()
            write_all(self._files, self._fd, data, self._written_bytes)
            self._written_bytes += len(data)
            return
        self._block += data
        if len(self._block) >= _WRITE_BYTES:
            self.flush()

    def flush(self) -> None:
        write_all(self._files, self._fd, bytes(self._block), self._written_bytes)
        self._written_bytes += len(self._block)
        self._block.clear()


def read_whole(files: Files, path: Path) -> bytes:
    """Return the content of a file. Raises ``FileNotFoundError``."""
    fd = files.open(path)
    try:
        return b"".join(read_blocks(files, fd))
    finally:
        files.close(fd)


def write_new(files: Files, path: Path, data: bytes) -> None:
    """Create a file with this content, durable with its name. Raises ``FileExistsError``."""
    fd = files.create(path)
    try:
        write_all(files, fd, data, 0)
        files.sync(fd)
    finally:
        files.close(fd)
    files.sync_folder(path.parent)


def copy_file(files: Files, source: int, target: Path) -> None:
    """Copy an open file, as long as it is now, into a new one for its owner only; return when the disk has it.

    The name of the new file is not synced.
    """
    fd = files.create(target)
    try:
        out = SequentialWriter(files, fd)
        for block in read_blocks(files, source):
            out.write(block)
        out.flush()
        files.sync(fd)
    finally:
        files.close(fd)


def write_aside(files: Files, path: Path, data: bytes) -> None:
    """Make a file hold this, durable with its name; at any moment it is whole as it was or whole as it will be."""
    aside = path.with_name(path.name + ".tmp")
    files.remove(aside)
    write_new(files, aside, data)
    files.rename(aside, path)
    files.sync_folder(path.parent)


def storage_error(error: OSError) -> StorageFailed:
    """Return what to tell a person about a failed call to the file system."""
    detail = str(error)
    if error.errno in _FULL:
        return StorageFull(
            "The server's disk is full, so this was not saved. Free some space and try again.", detail=detail
        )
    if error.errno in _FORBIDDEN:
        return StorageReadOnly(
            "The server may not write to its data folder, so this was not saved. "
            "Check the folder's permissions and whether the disk is mounted read-only.",
            detail=detail,
        )
    return StorageFailed(
        "The server's disk reported an error, so this was not saved. Try again in a moment.", detail=detail
    )
