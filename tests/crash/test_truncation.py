"""Each file of a data folder is cut at every byte, emptied, filled with zeros, or goes on with garbage.

The journal is cut at a drawn share of its bytes and around each end of a line in an everyday run, at all of them with
``--rounds 1000`` or more.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatapp.storage.secrets import SetupCodeFile, load_or_make_key
from tests.crash.conftest import ALL_FROM_ROUNDS
from tests.crash.damage import CODE, KEY, build, judge
from tests.crash.lives import held_by
from tests.memory_folder import memory_folder
from tests.records import a_user
from tests.unit.storage.killed import lay_out, reopened

pytestmark = [pytest.mark.crash, pytest.mark.timeout(0)]

DRAWN_LENGTHS = 250


@pytest.fixture
def top() -> Iterator[Path]:
    with memory_folder() as folder:
        yield folder


@pytest.mark.parametrize("name", ["users.json", "chats.json"])
def test_a_data_file_cut_at_any_byte_but_its_last_is_refused_and_left_alone(top: Path, name: str) -> None:
    whole = build(top / "built")
    content = whole.files[name]

    verdicts = Counter(
        judge(top / "data", whole, name, content[:length]) for length in range(1, len(content) - 1)
    )

    assert set(verdicts) == {"refused"}


def drawn_lengths(content: bytes, rounds: int, chance: random.Random) -> list[int]:
    """Return to which lengths a file is cut."""
    if rounds >= ALL_FROM_ROUNDS:
        return list(range(len(content)))
    ends = [place for place, byte in enumerate(content) if byte == ord("\n")]
    around = {place + step for place in [-1, *ends] for step in (-1, 0, 1, 2)}
    drawn = chance.sample(range(len(content)), min(DRAWN_LENGTHS, len(content)))
    return sorted({*around, *drawn} & set(range(len(content))))


def test_the_newest_journal_file_cut_at_any_byte_keeps_all_whole_groups(
    top: Path, rounds: int, chance: random.Random
) -> None:
    whole = build(top / "built")
    content = whole.files[whole.journal]

    for length in drawn_lengths(content, rounds, chance):
        lay_out(top / "data", whole.files | {whole.journal: content[:length]})
        with reopened(top / "data") as after:
            ends_between = (
                content[:length].endswith(b"\n") or content[length : length + 1] == b"\n" or not length
            )
            count = content[: length + 1].count(b"\n") if ends_between else content[:length].count(b"\n")
            assert held_by(after) == whole.groups[count], length
            assert bool(after.notices) == (not ends_between), length


def garbled(content: bytes) -> dict[str, bytes]:
    return {
        "zeros": b"\0" * len(content),
        "binary": bytes(range(256)) * 4,
        "zeros at the end": content + b"\0" * 512,
        "garbage at the end": content + b"\xff\xfe garbage",
        "the file twice": content + content,
        "the end is zeros": content[: len(content) // 2] + b"\0" * (len(content) - len(content) // 2),
        "the beginning is zeros": b"\0" * 16 + content[16:],
    }


@pytest.mark.parametrize("kind", ["users.json", "chats.json", "journal"])
def test_a_garbled_file_is_refused_or_what_is_cut_off_is_kept(top: Path, kind: str) -> None:
    whole = build(top / "built")
    name = whole.journal if kind == "journal" else kind

    for what, damaged in garbled(whole.files[name]).items():
        try:
            judge(top / "data", whole, name, damaged)
        except AssertionError as problem:
            problem.add_note(what)
            raise


@pytest.mark.parametrize("name", ["users.json", "chats.json"])
def test_an_emptied_file_never_becomes_an_empty_store(top: Path, name: str) -> None:
    whole = build(top / "built")

    assert judge(top / "data", whole, name, b"") == "refused"


@pytest.mark.parametrize("garbage", [b"", b"\0" * 600, b"{", b'{"format":"chats/1"', b"\xff" * 5000])
def test_what_is_left_of_an_unfinished_checkpoint_is_no_obstacle(top: Path, garbage: bytes) -> None:
    whole = build(top / "built")
    aside = {"users.json.tmp": garbage, "chats.json.tmp": garbage, "store.lock": garbage}
    lay_out(top / "data", whole.files | aside)

    with reopened(top / "data") as after:
        assert held_by(after) == whole.held
        assert after.notices == []
        after.users.add(a_user("charlie"))
        after.checkpoint()

    assert not list((top / "data").glob("*.tmp"))


@pytest.mark.parametrize("length", range(len(KEY)))
def test_a_part_of_the_signing_key_is_used_only_when_it_cannot_be_guessed(top: Path, length: int) -> None:
    (top / "secret.key").write_text(KEY[:length])

    key = load_or_make_key(top / "secret.key")

    assert (key == KEY[:length]) == (length >= 32)
    assert len(key) >= 32
    assert load_or_make_key(top / "secret.key") == key


@pytest.mark.parametrize("garbage", [b"\0" * 65, b"\xff" * 65, KEY.encode() + b"\0", b" " * 65, b""])
def test_a_garbled_signing_key_is_replaced_by_a_random_one(top: Path, garbage: bytes) -> None:
    path = top / "secret.key"
    path.write_bytes(garbage)

    keys = {load_or_make_key(path), load_or_make_key(path)}

    assert len(keys) == 1
    assert len(keys.pop()) == 64
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("length", range(len(CODE)))
def test_a_part_of_the_setup_code_opens_nothing_and_is_replaced(top: Path, length: int) -> None:
    path = top / "setup-code"
    path.write_text(CODE[:length])
    file = SetupCodeFile(path)

    assert not file.fits(CODE[:length])
    made = file.prepare()

    assert len(made) == len(CODE)
    assert file.fits(made)
