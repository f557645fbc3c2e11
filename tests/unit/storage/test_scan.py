"""Finding entries in the lines of a file, whatever was damaged between them."""

from __future__ import annotations

import pytest

from chatapp.storage.lines import encode_entry
from chatapp.storage.scan import entries_in, lines_in
from chatapp.storage.snapshot import Damaged

ONE, TWO = encode_entry("one", b'"x":1}'), encode_entry("two", b'"x":2}')
BAD = ONE.replace(b'"x":1', b'"x":7')


def found(line: bytes) -> tuple[list[tuple[int, str]], list[tuple[int, bytes]]]:
    """Return place and key of what is found in a line that begins at byte 100, and what is left of it."""
    broken: list[Damaged] = []
    entries = [(offset - 100, key) for offset, _, key, _ in entries_in(100, line, broken)]
    return entries, [(each.offset - 100, each.content) for each in broken]


@pytest.mark.parametrize(
    ("blocks", "lines"),
    [
        ([b"a\nbc\n"], [(0, b"a"), (2, b"bc")]),
        ([b"a", b"b", b"\nc", b"d"], [(0, b"ab"), (3, b"cd")]),
        ([b"\n\n"], [(0, b""), (1, b"")]),
        ([b"", b""], []),
    ],
)
def test_lines_are_found_however_they_come(blocks: list[bytes], lines: list[tuple[int, bytes]]) -> None:
    assert list(lines_in(blocks)) == lines


@pytest.mark.parametrize("end", [b"", b","])
def test_a_whole_line_is_one_entry(end: bytes) -> None:
    assert found(ONE + end) == ([(0, "one")], [])


@pytest.mark.parametrize("between", [b",\x0b", b",", b"", b"X"])
def test_entries_in_one_line_are_all_found(between: bytes) -> None:
    assert found(ONE + between + TWO) == ([(0, "one"), (len(ONE + between), "two")], [])


def test_what_stands_before_an_entry_costs_only_itself() -> None:
    assert found(b'"half of an ent' + ONE) == ([(15, "one")], [(0, b'"half of an ent')])


def test_a_damaged_entry_costs_only_itself_and_not_what_separates_it() -> None:
    assert found(BAD + b",\x0b" + TWO) == ([(len(BAD) + 2, "two")], [(0, BAD + b",")])
    assert found(BAD + TWO) == ([(len(BAD), "two")], [(0, BAD)])
    assert found(TWO + b"," + BAD) == ([(0, "two")], [(len(TWO) + 1, BAD)])


@pytest.mark.parametrize("line", [BAD, b"\t" + ONE, ONE + b" ", b"no entry"])
def test_a_line_that_somebody_changed_is_left_to_be_read_as_json(line: bytes) -> None:
    assert found(line) == ([], [(0, line)])
