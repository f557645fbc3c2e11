"""Where a data folder is mounted from: on a network file system locks and syncs may promise more than they keep."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

from chatapp.storage.files import Files

log = logging.getLogger(__name__)

_MOUNTS = Path("/proc/self/mountinfo")
_MOST_BYTES = 1 << 20
_NETWORK = {
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "fuse.sshfs", "fuse.glusterfs", "fuse.rclone",
}  # fmt: skip


def warn_of_network(files: Files, folder: Path) -> None:
    """Log one line when the folder is on a network file system; say nothing where that cannot be found out."""
    with suppress(OSError):
        device = files.identity(folder)[0]
        kind = kind_of_mount(_read_mounts(files), device)
        if kind in _NETWORK:
            log.warning(
                "The data folder %s is on a network file system (%s). A power cut or a second server can do harm "
                "there that a local disk prevents: move the folder to a local disk.",
                folder,
                kind,
            )


def _read_mounts(files: Files) -> str:
    """Return the system's list of mounts; its size is only known by reading it."""
    fd = files.open(_MOUNTS)
    try:
        read = bytearray()
        while len(read) < _MOST_BYTES and (block := files.read(fd, _MOST_BYTES, len(read))):
            read += block
    finally:
        files.close(fd)
    return read.decode(errors="replace")


def kind_of_mount(mounts: str, device: int) -> str:
    """Return the type of the file system with this device number, ``""`` when it is not listed.

    A line is ``36 35 98:0 /root /mount options … - type source options``, see proc(5).
    """
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        if before.split(" ")[2:3] == [wanted] and after:
            return after.split(" ")[0]
    return ""
