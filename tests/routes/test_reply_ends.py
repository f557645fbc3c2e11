"""The sentence under a reply that did not come to its own end: it promises text only where there is some."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cast import Browser, services_of
from tests.records import a_message, a_reply
from tests.routes.test_replies import new_chat

SCRIPT = Path(__file__).resolve().parents[2] / "static" / "js" / "reply.js"
STOPPED = "Stopped. What was written until then is kept."
INTERRUPTED = "The server stopped while this was being written. What was written until then is kept."
STOPPED_EMPTY = "Stopped before a word was written."
INTERRUPTED_EMPTY = "The server stopped before a word was written."


def end_of_reply(person: Browser, status: str, content: str, thinking: str) -> str:
    """Return what the page says under a stored reply; "" when that line is hidden."""
    chat_id = new_chat(person)
    question = a_message("Hello")
    reply = a_reply(content, status=status, thinking=thinking, parent_id=question.id)
    assert person.user is not None
    services_of(person.app).store.chats.add_messages(person.user.id, chat_id, [question, reply])
    page = person.get(f"/chat/{chat_id}").get_data(as_text=True)
    found = re.search(r'data-slot="end"( hidden)?>([^<]*)</p>', page)
    assert found is not None
    return "" if found[1] else found[2]


@pytest.mark.parametrize(
    ("status", "content", "thinking", "sentence"),
    [
        ("stopped", "Half a sen", "", STOPPED),
        ("stopped", "", "A thought", STOPPED),
        ("stopped", "", "", STOPPED_EMPTY),
        ("stopped", " \n", "", STOPPED_EMPTY),
        ("interrupted", "Half a sen", "", INTERRUPTED),
        ("interrupted", "", "A thought", INTERRUPTED),
        ("interrupted", "", "", INTERRUPTED_EMPTY),
        ("complete", "All of it.", "", ""),
        ("complete", "", "", ""),
    ],
)
def test_only_where_there_is_text_it_is_said_to_be_kept(
    alice: Browser, status: str, content: str, thinking: str, sentence: str
) -> None:
    assert end_of_reply(alice, status, content, thinking) == sentence


@pytest.mark.parametrize("sentence", [STOPPED, INTERRUPTED, STOPPED_EMPTY, INTERRUPTED_EMPTY])
def test_the_script_uses_the_same_words(sentence: str) -> None:
    assert f'"{sentence}"' in SCRIPT.read_text()
