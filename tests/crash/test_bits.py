"""One bit is flipped at every byte of every file: never a silent change, never a traceback.

One drawn bit of each byte in an everyday run, all eight with ``--rounds 1000`` or more.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.conftest import ALL_FROM_ROUNDS
from tests.crash.damage import Whole, build, judge
from tests.memory_folder import memory_folder

pytestmark = [pytest.mark.crash, pytest.mark.timeout(0)]


@pytest.fixture
def top() -> Iterator[Path]:
    with memory_folder() as folder:
        yield folder


def flipped(content: bytes, place: int, bit: int) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 1 << bit
    return bytes(changed)


def flip_all(folder: Path, whole: Whole, name: str, bits_of: dict[int, list[int]]) -> Counter[str]:
    verdicts: Counter[str] = Counter()
    for place, bits in bits_of.items():
        for bit in bits:
            try:
                verdicts[judge(folder, whole, name, flipped(whole.files[name], place, bit))] += 1
            except Exception as problem:
                problem.add_note(f"{name}, byte {place}, bit {bit}")
                raise
    print(f"{name}: {dict(verdicts)}")
    return verdicts


@pytest.mark.parametrize("kind", ["users.json", "chats.json", "journal"])
def test_no_flipped_bit_changes_anything_silently(
    top: Path, kind: str, rounds: int, chance: random.Random
) -> None:
    whole = build(top / "built")
    name = whole.journal if kind == "journal" else kind
    bits_of = {
        place: list(range(8)) if rounds >= ALL_FROM_ROUNDS else [chance.randrange(8)]
        for place in range(len(whole.files[name]))
    }

    verdicts = flip_all(top / "data", whole, name, bits_of)

    assert verdicts.total() == sum(map(len, bits_of.values()))
    assert verdicts["refused"] > 0
    assert verdicts["noticed"] > (0.1 * verdicts.total() if kind == "journal" else 0)
