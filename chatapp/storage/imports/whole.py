"""Data files whose lines are not ours any more, read as one JSON document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from chatapp.errors import StoreDamaged
from chatapp.models import User
from chatapp.storage.files import Files
from chatapp.storage.imports.chats import Owners, read_chats
from chatapp.storage.imports.document import Ambiguous, NotJson, read_document
from chatapp.storage.imports.entries import Rejected, head_of, user_of
from chatapp.storage.imports.found import ChatsFile, UsersFile
from chatapp.storage.imports.users import read_users
from chatapp.storage.imports.values import counted, in_words
from chatapp.storage.lines import Head, Kind
from chatapp.storage.snapshot import Snapshot, damaged, untrusted

_OUR_BEGINNING = b'{"format":"'


def whole_users(files: Files, path: Path, refusal: StoreDamaged) -> UsersFile:
    """Read a users.json that another program wrote. Raises ``refusal`` or another ``StoreDamaged``."""
    snapshot, document = _open_document(files, path, "users", refusal)
    found = UsersFile(snapshot)
    with _refused(path):
        if _is_ours(document):
            snapshot.head = head_of("users", document)
            found.users = [_user(key, value) for key, value in _entries(document, "users")]
            found.remarks = [_rewritten(path)]
            found.note_count()
        else:
            plain = read_users(document)
            found.is_plain, found.users = True, plain.users
            found.remarks = _imported(path, found.count, "user") + plain.remarks
    found.check_distinct()
    return found


def whole_chats(files: Files, path: Path, users: Sequence[User], refusal: StoreDamaged) -> ChatsFile:
    """Read a chats.json that another program wrote. Raises ``refusal`` or another ``StoreDamaged``.

    Args:
        users: the accounts to which chats of a plain file can belong.
    """
    snapshot, document = _open_document(files, path, "chats", refusal)
    found = ChatsFile(snapshot)
    with _refused(path):
        if _is_ours(document):
            snapshot.head = head_of("chats", document)
            for key, value in _entries(document, "chats"):
                _hold(found, key, value)
            found.remarks = [_rewritten(path)]
            found.note_count()
        else:
            found.is_plain = True
            plain = read_chats(document, Owners(users))
            found.held, found.rejected = plain.held, plain.rejected
            found.remarks = _imported(path, len(found.held), "chat")
    return found


def _open_document(files: Files, path: Path, kind: Kind, refusal: StoreDamaged) -> tuple[Snapshot, Any]:
    """Return the file, open, and what it holds. Raises ``StoreDamaged`` when it is no JSON, or not for this version."""
    fd = files.open(path)
    try:
        snapshot = Snapshot(files, path, fd, Head(kind, 0, 0, 0), {})
    except BaseException:
        files.close(fd)
        raise
    try:
        document = read_document(files, fd)
    except NotJson as error:
        if isinstance(error, Ambiguous):
            raise damaged(path, 0, str(error)) from error
        if files.read(fd, len(_OUR_BEGINNING), 0) == _OUR_BEGINNING:
            raise refusal from error
        raise damaged(
            path, error.offset, f"it is no data file and no whole JSON document ({error})"
        ) from error
    if _is_ours(document) and document["format"] != f"{kind}/1":
        raise _of_another_format(path, kind, document)
    return snapshot, document


def _of_another_format(path: Path, kind: Kind, document: dict[str, Any]) -> StoreDamaged:
    """Return why a file is none of this kind: its writer meant another, or only the name of its format was damaged."""
    with suppress(ValueError):
        head_of(kind, document)
        return damaged(path, 0, "the name of its format was changed")
    return untrusted(
        f"{path} was written by another version of chatapp, or is another file: its format is {document['format']}",
        "Use that version, or put the right file back from a backup.",
    )


def _is_ours(document: Any) -> bool:
    return isinstance(document, dict) and isinstance(document.get("format"), str)


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    """Turn what is wrong with a document into the error that names the file."""
    try:
        yield
    except ValueError as error:
        raise damaged(path, 0, in_words(error)) from error


def _entries(document: dict[str, Any], kind: Kind) -> Iterator[tuple[str, Any]]:
    """Yield every entry and let go of it, so that a large document is never held twice."""
    entries = document[kind] if isinstance(document.get(kind), dict) else None
    if entries is None:
        raise ValueError(f"it holds no object of {kind}")
    for key in list(entries):
        yield key, entries.pop(key)


def _user(key: str, value: Any) -> User:
    try:
        if not isinstance(value, dict):
            raise ValueError("it is no object")
        return user_of(value)
    except ValueError as error:
        raise ValueError(f"its entry {key} is no user ({in_words(error)})") from error


def _hold(found: ChatsFile, key: str, value: Any) -> None:
    try:
        found.hold_entry(key, value)
    except ValueError as error:
        found.rejected.append(Rejected(key, value, in_words(error)))


def _rewritten(path: Path) -> str:
    return f"{path.name} was rewritten by another program; it is used as it stands now."


def _imported(path: Path, count: int, noun: str) -> list[str]:
    return [f"{path.name} had a simpler layout. Imported from it: {counted(count, noun)}."] if count else []
