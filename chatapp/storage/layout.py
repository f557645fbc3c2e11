"""Where things are in a data folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chatapp.storage.lines import Kind


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of the store under one folder."""

    folder: Path

    @property
    def users(self) -> Path:
        """users.json; where a symbolic link points, so that the link survives a rename."""
        return _target(self.folder / "users.json")

    @property
    def chats(self) -> Path:
        """chats.json; likewise."""
        return _target(self.folder / "chats.json")

    @property
    def journal(self) -> Path:
        return self.folder / "journal"

    @property
    def previous(self) -> Path:
        """users.json and chats.json as they were before the last checkpoint."""
        return self.folder / "previous"

    def previous_of(self, kind: Kind) -> Path:
        """The file before the newest of this kind."""
        return self.previous / f"{kind}.json"

    @property
    def quarantine(self) -> Path:
        return self.folder / "quarantine"

    @property
    def backups(self) -> Path:
        """What was replaced on purpose: by a restore, a repair or an import."""
        return self.folder / "backups"

    @property
    def restoring(self) -> Path:
        """A whole set of files that is about to take the place of the present ones."""
        return self.folder / "restoring"

    @property
    def restoring_aside(self) -> Path:
        """The same while it is being written."""
        return self.folder / "restoring.tmp"

    @property
    def has_links(self) -> bool:
        """True when users.json or chats.json is a symbolic link to another place."""
        folder = self.folder.resolve()
        return self.users != folder / "users.json" or self.chats != folder / "chats.json"


def _target(path: Path) -> Path:
    """Return where symbolic links lead; the path itself when they lead in a circle, so that opening it says so."""
    try:
        return path.resolve()
    except (RuntimeError, OSError):
        return path
