"""A data folder on a network file system is told about at the start."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chatapp.storage.mounts import kind_of_mount, warn_of_network
from tests.fakes.files import FaultyFiles, error

MOUNTS = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
41 27 0:45 / /mnt/with\\040space rw,relatime shared:2 master:1 - nfs4 server:/export rw,vers=4.2
42 27 0:46 / /mnt/share rw - cifs //server/share rw
broken line
"""


class FilesOn(FaultyFiles):
    """A folder on the file system with this device number, on a machine with these mounts."""

    def __init__(self, device: int) -> None:
        super().__init__()
        self._device = device

    def identity(self, file: Path | int) -> tuple[int, int, int, int]:
        return self._device, 1, 1, 1

    def read(self, _fd: int, length: int, offset: int) -> bytes:
        return MOUNTS.encode()[offset : offset + min(length, 100)]


@pytest.mark.parametrize(
    ("device", "kind"), [((254, 0), "ext4"), ((0, 45), "nfs4"), ((0, 46), "cifs"), ((7, 7), "")]
)
def test_the_type_of_a_file_system_is_found_by_its_device(device: tuple[int, int], kind: str) -> None:
    assert kind_of_mount(MOUNTS, os.makedev(*device)) == kind


@pytest.mark.parametrize(("device", "kind"), [((0, 45), "nfs4"), ((0, 46), "cifs")])
def test_a_folder_on_a_network_file_system_is_one_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, device: tuple[int, int], kind: str
) -> None:
    warn_of_network(FilesOn(os.makedev(*device)), tmp_path)

    [record] = caplog.records
    assert f"{tmp_path} is on a network file system ({kind})" in record.getMessage()


def test_a_local_folder_is_not_mentioned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    warn_of_network(FilesOn(os.makedev(254, 0)), tmp_path)

    assert caplog.records == []


def test_a_system_that_does_not_tell_its_mounts_is_no_obstacle(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = FaultyFiles()
    files.fault = lambda call, _: error(13) if call == "open" else None

    warn_of_network(files, tmp_path)

    assert caplog.records == []
