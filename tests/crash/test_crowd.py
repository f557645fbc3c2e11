"""The judge of the server's crash tests notices what it is there to notice."""

from __future__ import annotations

import pytest

from tests.crash.crowd import Promises, Record, complaints


def asked(message_id: str, **other: str) -> Record:
    return {"id": message_id, "role": "user", "content": message_id, "status": "complete", **other}


def replied(question_id: str, **other: str) -> Record:
    reply = {"id": f"reply-{question_id}", "role": "assistant", "content": "Yes.", "status": "complete"}
    return reply | {"parent_id": question_id, **other}


ONE, TWO, NEXT = ([asked(each), replied(each)] for each in ("one", "two", "next"))


@pytest.fixture
def promises() -> Promises:
    """Two messages were acknowledged, the end of one reply was told, one message is on its way."""
    return Promises(["one", "two"], "next", {"reply-one": ("complete", "Yes.")})


@pytest.mark.parametrize("on_its_way", [[], NEXT], ids=["not stored", "stored"])
def test_what_was_acknowledged_raises_no_complaint(promises: Promises, on_its_way: list[Record]) -> None:
    assert complaints(promises, [*ONE, *TWO, *on_its_way]) == []


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([], id="everything lost"),
        pytest.param(ONE, id="one message lost"),
        pytest.param([*TWO, *ONE], id="out of order"),
        pytest.param([*ONE, *TWO, *TWO], id="a message doubled"),
        pytest.param([*ONE, *TWO, replied("two", id="other")], id="a reply doubled"),
        pytest.param([*ONE, TWO[0]], id="a reply lost"),
        pytest.param([*ONE, *TWO, *NEXT, *NEXT], id="the message on its way doubled"),
        pytest.param([*ONE, asked("two", content="x"), TWO[1]], id="a question changed"),
        pytest.param([ONE[0], replied("one", content="No."), *TWO], id="a reply changed"),
        pytest.param([ONE[0], replied("one", status="interrupted"), *TWO], id="a reply taken back"),
        pytest.param([*ONE, TWO[0], replied("two", status="streaming")], id="a reply without end"),
    ],
)
def test_every_kind_of_loss_is_noticed(promises: Promises, messages: list[Record]) -> None:
    assert complaints(promises, messages) != []
