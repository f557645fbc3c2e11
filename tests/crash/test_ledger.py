"""The judge of the crash tests notices what it is there to notice."""

from __future__ import annotations

import pytest

from chatapp.models import Chat
from tests.crash.ledger import Ledger
from tests.records import a_chat, a_message

ONE, TWO = a_message("1", id="one"), a_message("2", id="two")


@pytest.fixture
def ledger() -> Ledger:
    """Knows of a chat with two messages and of one that was deleted."""
    ledger = Ledger()
    for report in ("add kept one 1", "add kept two 2", "add gone three 3", "doom gone", "drop gone"):
        ledger.take(report)
    return ledger


def kept(*messages: object) -> Chat:
    return a_chat(id="kept", messages=messages)


def test_what_was_acknowledged_raises_no_complaint(ledger: Ledger) -> None:
    assert ledger.complaints([kept(ONE, TWO), a_chat(id="never acknowledged")]) == []


@pytest.mark.parametrize(
    ("chats", "complaint"),
    [
        ([], "kept is lost"),
        ([kept(ONE)], "kept is out of order"),
        ([kept(TWO, ONE)], "kept is out of order"),
        ([kept(ONE, TWO, TWO)], "kept has two twice"),
        ([kept(ONE, TWO.model_copy(update={"content": "x"}))], "kept two holds 'x'"),
        ([kept(ONE, TWO), a_chat(id="gone")], "gone came back"),
    ],
)
def test_every_kind_of_loss_is_noticed(ledger: Ledger, chats: list[Chat], complaint: str) -> None:
    assert complaint in ledger.complaints(chats)
