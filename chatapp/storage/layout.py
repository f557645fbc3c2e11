"""Where things are in a data folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of the store under one folder."""

    folder: Path

    @property
    def users(self) -> Path:
        """users.json; where a symbolic link points, so that the link survives a rename."""
        return (self.folder / "users.json").resolve()

    @property
    def chats(self) -> Path:
        """chats.json; likewise."""
        return (self.folder / "chats.json").resolve()

    @property
    def journal(self) -> Path:
        return self.folder / "journal"

    @property
    def quarantine(self) -> Path:
        return self.folder / "quarantine"
