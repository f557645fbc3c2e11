"""Reading a data folder from outside, beside a running server: what is there, and whether it is sound."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

from chatapp.errors import StorageFailed, StoreDamaged
from chatapp.models import User
from chatapp.storage.files import Files, read_blocks
from chatapp.storage.journal import generation_path
from chatapp.storage.layout import Layout
from chatapp.storage.maintenance.backup import check_is_whole
from chatapp.storage.maintenance.restore import in_one_line
from chatapp.storage.recovery import Recovered, load
from chatapp.storage.replay import generations
from chatapp.storage.snapshot import untrusted

_TRIES = 4
_PAUSE_S = 0.2


@dataclass(frozen=True, slots=True)
class Holdings:
    """What is kept. ``faults`` are lines for people, one for each thing that is not as the server leaves it.

    ``total_bytes`` is the size of users.json and chats.json.
    """

    users: tuple[User, ...]
    chats: int
    messages: int
    total_bytes: int
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Survey(Holdings):
    """What a data folder holds, and what its files are."""

    file_bytes: dict[str, int]
    """Name → size, of the two files and of the journal."""
    generations: int
    records: int
    """Lines in all journal files that are there, those that the two files hold as well included."""
    last_record: int
    quarantined: int
    backups: int


def survey(layout: Layout) -> Survey:
    """Read a data folder, change nothing, and take no lock.

    Raises ``NotFound`` when there is no store, ``StoreDamaged`` when a file cannot be trusted, other
    ``StorageFailed`` when it cannot be read.
    """
    recovered = load_beside(layout)
    found = holdings(recovered)
    with in_one_line(layout):
        files = Files()
        journal = [_journal_file(files, layout, each) for each in generations(files, layout.journal)]
        users, chats = recovered.snapshots
        return Survey(
            found.users, found.chats, found.messages, found.total_bytes, found.faults,
            file_bytes={
                "users.json": users.size_bytes, "chats.json": chats.size_bytes,
                "journal": sum(size for size, _ in journal),
            },
            generations=len(journal),
            records=sum(records for _, records in journal),
            last_record=recovered.reader.last_number,
            quarantined=len(files.names(layout.quarantine)),
            backups=len(files.names(layout.backups)),
        )  # fmt: skip


def load_beside(layout: Layout) -> Recovered:
    """Read a data folder that a running server may be changing. Raises as :func:`survey`."""
    with in_one_line(layout):
        check_is_whole(Files(), layout)
        try:
            return _load_steadily(layout)
        except FileNotFoundError as error:
            raise untrusted(
                f"{error.filename} is missing",
                "Put it back from a backup, or run `.venv/bin/flask store repair`.",
            ) from error


def _load_steadily(layout: Layout) -> Recovered:
    """Load; when that fails, perhaps because a running server swaps the files meanwhile, load again."""
    for _ in range(_TRIES - 1):
        with contextlib.suppress(StoreDamaged, FileNotFoundError):
            return load(Files(), layout)
        time.sleep(_PAUSE_S)
    return load(Files(), layout)


def _journal_file(files: Files, layout: Layout, generation: int) -> tuple[int, int]:
    """Return size and lines of a journal file; nothing when a server has just removed it."""
    try:
        fd = files.open(generation_path(layout.journal, generation))
    except FileNotFoundError:
        return 0, 0
    try:
        return files.size_bytes(fd), sum(block.count(b"\n") for block in read_blocks(files, fd))
    finally:
        files.close(fd)


def holdings(recovered: Recovered) -> Holdings:
    """Count what was read, and look at all of it."""
    chats = messages = 0
    faults = [*_file_faults(recovered), *recovered.remarks]
    for chat_id in recovered.chats.ids():
        try:
            chat = recovered.chats.chat(chat_id)
        except StorageFailed as error:
            faults.append(error.message)
            continue
        chats += 1
        kept = chat.messages if chat else ()
        messages += len(kept)
        if len({message.id for message in kept}) < len(kept):
            faults.append(f"The chat {chat_id} holds a message twice.")
    users = recovered.users.all()
    total_bytes = sum(snapshot.size_bytes for snapshot in recovered.snapshots)
    return Holdings(users, chats, messages, total_bytes, tuple(faults))


def _file_faults(recovered: Recovered) -> Iterator[str]:
    for snapshot in recovered.snapshots:
        for broken in snapshot.broken_lines:
            yield f"{snapshot.path.name}, byte {broken.offset}: {broken.reason}"
    for rejected in recovered.files[1].rejected:
        yield f"chats.json: the chat {rejected.key} cannot be used ({rejected.reason})."
    if recovered.orphans:
        yield f"{len(recovered.orphans)} changes in the journal belong to chats that are not in chats.json."
    nobodys = recovered.chats.count_without(recovered.users.ids())
    if nobodys and not recovered.is_changed:
        yield f"{nobodys} chats belong to no account in users.json: they are kept, nobody sees them."
