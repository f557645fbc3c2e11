"""The frame of a line: what was written comes back, and no flipped bit goes unnoticed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from chatapp.storage.lines import (
    BadLine,
    Head,
    check_record,
    decode_head,
    encode_entry,
    encode_head,
    encode_record,
    split_entry,
)

USERS_HEAD = Head(
    "users", seq=1842, gen=7, count=2, site={"name": 'The "lab"', "nested": {"crc": "00000000"}}
)
CHATS_HEAD = Head("chats", seq=0, gen=1, count=0)


def flipped(line: bytes) -> list[bytes]:
    """Every line that differs from ``line`` in one bit."""
    return [
        line[:place] + bytes([line[place] ^ (1 << bit)]) + line[place + 1 :]
        for place in range(len(line))
        for bit in range(8)
    ]


def is_refused(read: Callable[[bytes], Any], line: bytes) -> bool:
    try:
        read(line)
    except ValueError:
        return True
    return False


@pytest.mark.parametrize("head", [USERS_HEAD, CHATS_HEAD], ids=["users", "chats"])
def test_a_head_comes_back_as_it_was(head: Head) -> None:
    assert decode_head(head.kind, encode_head(head)) == head


def test_a_head_begins_a_valid_json_document() -> None:
    document = json.loads(encode_head(USERS_HEAD) + b"}}")

    assert document["format"] == "users/1"
    assert document["users"] == {}


def test_no_flipped_bit_in_a_head_goes_unnoticed() -> None:
    accepted = [
        line
        for line in flipped(encode_head(USERS_HEAD))
        if not is_refused(lambda x: decode_head("users", x), line)
    ]

    assert accepted == []


def test_a_head_of_another_kind_is_refused() -> None:
    with pytest.raises(BadLine, match="another version of chatapp, or is another file"):
        decode_head("chats", encode_head(USERS_HEAD))


def test_a_plain_json_file_is_refused_as_no_data_file() -> None:
    with pytest.raises(BadLine, match="does not begin as a data file"):
        decode_head("chats", b'{"01kagx":{"messages":[]}}')


def test_an_entry_comes_back_as_it_was() -> None:
    entry = encode_entry('a "key" \\ ü', b'"owner_id":"1","messages":[]}')

    assert split_entry(entry) == ('a "key" \\ ü', b'"owner_id":"1","messages":[]}')


def test_an_entry_is_valid_json_with_its_checksum_first() -> None:
    value = json.loads(b"{" + encode_entry("key", b'"a":1}') + b"}")["key"]

    assert list(value) == ["crc", "a"]


def test_no_flipped_bit_in_an_entry_goes_unnoticed() -> None:
    line = encode_entry("key", b'"owner_id":"1","messages":[]}')

    assert [each for each in flipped(line) if not is_refused(split_entry, each)] == []


def test_no_flipped_bit_in_a_record_goes_unnoticed() -> None:
    line = encode_record(7, 5, "2026-11-20T12:00:00.000Z", b'"op":"chat.del","id":"x"').removesuffix(b"\n")

    assert [each for each in flipped(line) if not is_refused(check_record, each)] == []


def test_a_record_is_valid_json() -> None:
    line = encode_record(7, 5, "2026-11-20T12:00:00.000Z", b'"op":"chat.del","id":"x"')

    check_record(line.removesuffix(b"\n"))
    assert json.loads(line)["n"] == 7
    assert json.loads(line)["b"] == 5


@pytest.mark.parametrize("line", [b"", b"{}", b'"', b'"key":{"crc":"', b'"key":{"crc":"00000000",'])
def test_what_is_too_short_for_an_entry_is_refused(line: bytes) -> None:
    with pytest.raises(BadLine):
        split_entry(line)
