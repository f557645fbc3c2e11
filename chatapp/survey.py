"""Reading a data folder from outside, beside a running server: what is there, and whether it is sound."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

from chatapp.errors import NotFound, StorageFailed, StoreDamaged
from chatapp.models import User
from chatapp.storage.files import Files
from chatapp.storage.layout import Layout
from chatapp.storage.recovery import Recovered, load

_TRIES = 4
_PAUSE_S = 0.2


@dataclass(frozen=True, slots=True)
class Survey:
    """What a data folder holds. ``faults`` are lines for people, one for each thing that cannot be read."""

    users: tuple[User, ...]
    chats: int
    messages: int
    total_bytes: int
    faults: tuple[str, ...]


def survey(data_dir: Path) -> Survey:
    """Read a data folder, change nothing, and take no lock.

    Raises ``NotFound`` when there is no store, ``StoreDamaged`` when a file cannot be trusted, other
    ``StorageFailed`` when it cannot be read.
    """
    layout = Layout(data_dir)
    if not layout.users.exists() and not layout.chats.exists():
        raise NotFound(f"There is no data in {layout.folder}.")
    try:
        return _describe(_load_steadily(layout), layout)
    except FileNotFoundError as error:
        raise StoreDamaged(f"{error.filename} is missing. Nothing was changed.") from error
    except OSError as error:
        raise StorageFailed(f"{error.filename or data_dir} cannot be read: {error.strerror}.") from error


def _load_steadily(layout: Layout) -> Recovered:
    """Load; when that fails, perhaps because a running server swaps the files meanwhile, load again."""
    for _ in range(_TRIES - 1):
        with contextlib.suppress(StoreDamaged, FileNotFoundError):
            return load(Files(), layout)
        time.sleep(_PAUSE_S)
    return load(Files(), layout)


def _describe(recovered: Recovered, layout: Layout) -> Survey:
    users = recovered.users.all()
    faults = [
        f"{snapshot.path.name}, byte {broken.offset}: {broken.reason}"
        for snapshot in recovered.snapshots
        for broken in snapshot.broken_lines
    ]
    counts = []
    for chat_id in (chat_id for user in users for chat_id in recovered.chats.ids_of(user.id)):
        try:
            chat = recovered.chats.chat(chat_id)
        except StorageFailed as error:
            faults.append(error.message)
        else:
            counts.append(len(chat.messages) if chat is not None else 0)
    return Survey(users, len(counts), sum(counts), _total_bytes(layout), tuple(faults))


def _total_bytes(layout: Layout) -> int:
    files = (layout.users, layout.chats, *layout.journal.glob("*"))
    return sum(path.stat().st_size for path in files if path.exists())
