"""Bytes → objects, however the bytes are cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.ollama.ndjson import LineDecoder, NotJson, json_object

_OBJECTS = st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3), max_size=6)


def decode(*pieces: bytes, max_line_bytes: int = 1_000_000) -> list[dict[str, Any]]:
    decoder = LineDecoder(max_line_bytes)
    found = [value for piece in pieces for value in decoder.feed(piece)]
    return found + list(decoder.finish())


@given(_OBJECTS, st.data())
def test_the_objects_are_the_same_wherever_the_bytes_are_cut(objects, data):
    whole = "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in objects).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]

    assert decode(*pieces) == objects


def test_an_object_is_there_as_soon_as_its_line_ends():
    decoder = LineDecoder()

    assert list(decoder.feed(b'{"a":1}')) == []
    assert list(decoder.feed(b'\n{"b":')) == [{"a": 1}]


@pytest.mark.parametrize("separator", ["\u0085", "\u2028", "\u2029", "\x0b", "\x0c", "\x1c", "\r"])
def test_only_a_newline_ends_a_line(separator):
    text = f"one{separator}two"
    line = json.dumps({"text": text}, ensure_ascii=False).encode() + b"\n"

    assert decode(line) == [{"text": text}]


def test_a_character_may_be_cut_at_any_byte():
    line = '{"text":"👩‍👩‍👧 é 你"}\n'.encode()

    assert decode(*[bytes([byte]) for byte in line]) == [{"text": "👩‍👩‍👧 é 你"}]


@pytest.mark.parametrize(
    "whole",
    [
        b'\xef\xbb\xbf{"a":1}\n{"b":2}\n',
        b'{"a":1}\r\n{"b":2}\r\n',
        b'\n\n{"a":1}\n\n \n\t\n{"b":2}\n\n',
        b'{"a":1}\n{"b":2}',
        b'{"a":1}\n{"b":2}\n  ',
    ],
    ids=["byte order mark", "CRLF", "blank lines", "no newline at the end", "spaces at the end"],
)
def test_harmless_oddities_are_passed_over(whole):
    assert decode(whole) == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize(
    "line",
    [
        b"<html>",
        b"data: {}",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"42",
        b'{"a":1}{"b":2}',
        b'{"a":\xff}',
        b'{"a":"\xc3"}',
        '{"a":1}'.encode("utf-16"),
        '{"a":1}'.encode("utf-16-le"),
        '{"a":1}'.encode("utf-32"),
        b'{"a":' + b"[" * 200_000,
        b'{"a":' + b"9" * 5_000 + b"}",
        b"\0\0\0",
    ],
    ids=lambda line: repr(line[:16]),
)
def test_a_line_that_is_no_object_is_refused_with_its_beginning(line):
    with pytest.raises(NotJson) as refused:
        decode(line + b"\n")

    assert refused.value.start
    assert len(refused.value.start) <= 200


def test_the_objects_before_a_bad_line_still_come():
    decoder = LineDecoder()
    objects = decoder.feed(b'{"a":1}\n{"b":2}\nrubbish\n')

    assert [next(objects), next(objects)] == [{"a": 1}, {"b": 2}]
    with pytest.raises(NotJson):
        next(objects)


def test_a_line_of_ten_megabytes_is_read():
    text = "x" * 10_000_000
    line = json.dumps({"text": text}).encode() + b"\n"

    assert decode(
        *[line[at : at + 65_536] for at in range(0, len(line), 65_536)], max_line_bytes=32_000_000
    ) == [{"text": text}]


def test_a_line_without_an_end_is_refused_at_the_cap():
    decoder = LineDecoder(max_line_bytes=1_000)
    assert list(decoder.feed(b'{"text":"' + b"x" * 900)) == []

    with pytest.raises(NotJson):
        list(decoder.feed(b"x" * 200))


def test_the_cap_counts_each_line_for_itself():
    line = json.dumps({"text": "x" * 80}).encode() + b"\n"

    assert len(decode(line * 50, max_line_bytes=100)) == 50


def test_a_long_line_in_many_pieces_is_joined_once():
    pieces = [b'{"text":"', *[b"x"] * 200_000, b'"}\n']

    assert decode(*pieces) == [{"text": "x" * 200_000}]


def test_a_whole_body_is_an_object_too():
    assert json_object(b' {"version":"0.33.0"}\n') == {"version": "0.33.0"}
