"""A folder with a bit of everything, and the judge of what a store makes of it after it was damaged."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from chatapp.errors import StorageFailed
from tests.crash.lives import ALICE, BOB, Held, held_by
from tests.records import a_chat, a_message, a_reply, a_session, a_user, minutes_after_noon
from tests.unit.storage.killed import contents, lay_out, reopened

KEY = "0123456789abcdef" * 4
CODE = "0123-4567-89ab-cdef"


@dataclass(frozen=True, slots=True)
class Whole:
    """A folder as a kill left it.

    Args:
        groups: what it held after each group of the newest journal file, before the first one included.
    """

    files: dict[str, bytes]
    groups: tuple[Held, ...]

    @property
    def journal(self) -> str:
        """The name of the journal file that holds changes which the other files do not."""
        return max(name for name, data in self.files.items() if name.startswith("journal/") and data)

    @property
    def held(self) -> Held:
        return self.groups[-1]


def build(folder: Path) -> Whole:
    """Fill a folder with two users and several chats, some in the files and some only in the journal."""
    with reopened(folder) as store:
        store.users.add(a_user("Jürgen", id=ALICE, sessions=(a_session("5e55", user_agent="Füchslein"),)))
        store.users.add(a_user("bob", id=BOB))
        store.chats.add(a_chat(ALICE, id="c1", title="Größe", messages=[a_message("Wie groß?", id="m1")]))
        store.chats.add_messages(ALICE, "c1", [a_reply(id="r1")])
        store.checkpoint()
        store.chats.finish_message(ALICE, "c1", a_reply('„Sehr" groß. 🌍', id="r1", status="complete"))
        store.chats.add(a_chat(BOB, id="c2", messages=[a_message('\\ "quoted" \n', id="m2")]))
        store.chats.add(a_chat(ALICE, id="c3"))
        store.checkpoint()
        held = [held_by(store)]
        store.chats.add(
            a_chat(ALICE, id="c4", messages=[a_message("one", id="m3"), a_message("two", id="m4")])
        )
        held.append(held_by(store))
        store.chats.add_messages(ALICE, "c3", [a_reply(id="r3", created_at=minutes_after_noon(1))])
        held.append(held_by(store))
        store.chats.append_part(ALICE, "c3", "r3", 0, "Für ")
        store._parts.flush()
        held.append(held_by(store))
        store.chats.update(BOB, "c2", lambda chat: chat.model_copy(update={"title": "ß", "later_field": [1]}))
        held.append(held_by(store))
        left = contents(folder)
    return Whole(left | {"secret.key": f"{KEY}\n".encode(), "setup-code": f"{CODE}\n".encode()}, tuple(held))


def judge(folder: Path, whole: Whole, name: str, damaged: bytes) -> str:
    """Open the folder with one damaged file and return what became of it; raises AssertionError for anything silent.

    ``refused``: one line, nothing touched. ``harmless``: everything is as it was. ``noticed``: something is not, root
    is told, and the damaged bytes are kept.
    """
    files = whole.files | {name: damaged}
    _prepare(folder, files)
    opened = _open(folder)
    if isinstance(opened, StorageFailed):
        assert name in opened.message or folder.name in opened.message, opened.message
        assert "\n" not in opened.message
        assert contents(folder) == files, "a refused folder was changed"
        return "refused"
    held, notices = opened
    if held == whole.held:
        return "harmless"
    assert notices != [], "changed silently"
    assert differences(held, whole.held) <= 1 or name == whole.journal, "more than one thing changed"
    if name == whole.journal:
        assert held in whole.groups[:-1], "not the state after a group"
    assert _are_kept(folder, damaged, whole.files[name]), "the damaged bytes were thrown away"
    return "noticed"


def _open(folder: Path) -> tuple[Held, list[str]] | StorageFailed:
    """Return what the store holds and its lines for root, or the refusal."""
    try:
        with reopened(folder) as store:
            return held_by(store), list(store.notices)
    except StorageFailed as refusal:
        return refusal


def _prepare(folder: Path, files: dict[str, bytes]) -> None:
    """Make the folder hold these files, and take away what an earlier start put aside."""
    for name in ("quarantine", "backups"):
        shutil.rmtree(folder / name, ignore_errors=True)
    lay_out(folder, files)


def differences(held: Held, wanted: Held) -> int:
    """Return in how many users and chats two stores differ.

    One that is there under another id counts once, a chat of a changed user does not count again.
    """
    return max(_differences(held.users, wanted.users), _differences(held.chats, wanted.chats))


def _differences(held: Mapping[str, object], wanted: Mapping[str, object]) -> int:
    harmed = sum(held.get(each) != wanted[each] for each in wanted)
    return max(harmed, len(held.keys() - wanted))


def _are_kept(folder: Path, damaged: bytes, whole: bytes) -> bool:
    """Return whether the line in which two files begin to differ is kept beside the folder's files.

    It may be in pieces, each named after its place: what stood before something that looks like an entry, and that.
    """
    place = first_difference(damaged, whole)
    start = damaged.rfind(b"\n", 0, place) + 1
    end = damaged.find(b"\n", place)
    line = damaged[start : end if end >= 0 else len(damaged)].rstrip(b",")
    kept = b"".join(path.read_bytes() for path in sorted(_kept_files(folder), key=_place_of))
    return line in kept


def _kept_files(folder: Path) -> Iterable[Path]:
    return [
        path for name in ("quarantine", "backups") for path in (folder / name).rglob("*") if path.is_file()
    ]


def _place_of(path: Path) -> int:
    found = re.search(r"-(\d+)-[0-9a-f]{8}$", path.name)
    return int(found[1]) if found else -1


def first_difference(one: bytes, other: bytes) -> int:
    return next((at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), len(one))
