"""The settings of the whole site in a folder that is repaired."""

from __future__ import annotations

from pathlib import Path

from chatapp.storage.files import Files
from chatapp.storage.layout import Layout
from chatapp.storage.maintenance.salvage import salvage
from tests.records import a_user
from tests.unit.storage.killed import reopened


def test_site_settings_survive_a_repair(tmp_path: Path) -> None:
    with reopened(tmp_path / "data") as store:
        store._users.site = {"name": "The lab"}
        store.users.add(a_user("alice"))
    chats = tmp_path / "data" / "chats.json"
    chats.write_bytes(chats.read_bytes()[:-4])

    assert salvage(Files(), Layout(tmp_path / "data"))

    with reopened(tmp_path / "data") as after:
        assert after._users.site == {"name": "The lab"}
