"""Changes as JSON and back."""

from __future__ import annotations

import json

import pytest

from chatapp.errors import Invalid
from chatapp.storage.chats import summary_of
from chatapp.storage.operations import (
    ChatDelete,
    ChatPut,
    MessageAdd,
    MessageDone,
    MessagePart,
    Operation,
    UserDelete,
    UserPut,
    decode,
    encode,
)
from tests.records import a_chat, a_message, a_session, a_user

ONE_OF_EACH: list[Operation] = [
    UserPut(a_user("Ünal", sessions=(a_session("one"),))),
    UserDelete('id "quoted"'),
    ChatPut(summary_of(a_chat(title="line\nbreak", folder="kept"))),
    ChatDelete("id"),
    MessageAdd("id", a_message("\x00 \u2028 😀")),
    MessagePart("id", "message", 12, 'text "quoted"\n'),
    MessagePart("id", "message", 0, "hm", "thinking"),
    MessageDone("id", a_message(options={"seed": 1})),
]


@pytest.mark.parametrize("operation", ONE_OF_EACH, ids=lambda each: type(each).__name__)
def test_an_operation_comes_back_as_it_was(operation: Operation) -> None:
    assert decode(b"{%s}" % encode([operation])) == (operation,)


def test_several_operations_are_one_transaction() -> None:
    line = b"{%s}" % encode(ONE_OF_EACH)

    assert json.loads(line)["op"] == "tx"
    assert decode(line) == tuple(ONE_OF_EACH)


def test_an_operation_is_one_line() -> None:
    assert all(b"\n" not in encode([operation]) for operation in ONE_OF_EACH)


@pytest.mark.parametrize(
    "operation",
    [
        MessageAdd("id", a_message("half \ud83d")),
        MessagePart("id", "message", 0, "half \ud83d"),
        MessageAdd("id", a_message(options={"seed": object()})),
    ],
    ids=["message", "part", "option"],
)
def test_what_json_cannot_hold_is_refused(operation: Operation) -> None:
    with pytest.raises(Invalid, match="cannot be stored"):
        encode([operation])


@pytest.mark.parametrize(
    "line",
    [
        b'{"op":"chat.fly","id":"x"}',
        b'{"op":"chat.del"}',
        b"{}",
        b"[]",
        b'{"op":"tx","ops":7}',
        b'{"op":"msg.add"',
    ],
)
def test_what_is_not_understood_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - every kind of ValueError
        decode(line)
