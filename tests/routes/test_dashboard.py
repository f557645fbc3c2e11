"""The dashboard's list of chats: one's own, newest first."""

from __future__ import annotations

import re

from tests.cast import Browser


def new_chat(person: Browser, title: str) -> str:
    answer = person.send("/chat", {"model": "smollm2:135m", "title": title})
    assert answer.json is not None
    return str(answer.json["id"])


def own_chats(person: Browser) -> list[tuple[str, str]]:
    """Return address and title of every chat under the heading, none when there is no such heading."""
    section = person.get("/dashboard").get_data(as_text=True).partition('id="recent-title"')[2]
    links = re.findall(
        r'<a class="list__main"\s+href="([^"]+)">([^<]*)</a>', section.partition("</section>")[0]
    )
    return [(address, title) for address, title in links]


def test_everybody_finds_their_own_chats_there_and_nobody_elses(
    alice: Browser, bob: Browser, charlie: Browser
) -> None:
    first, second = new_chat(alice, "On rivers"), new_chat(alice, "On <b>towns</b>")
    third = new_chat(bob, "On mountains")

    assert own_chats(alice) == [
        (f"/chat/{second}", "On &lt;b&gt;towns&lt;/b&gt;"),
        (f"/chat/{first}", "On rivers"),
    ]
    assert own_chats(bob) == [(f"/chat/{third}", "On mountains")]
    assert own_chats(charlie) == []


def test_a_deleted_chat_is_not_among_them(alice: Browser) -> None:
    kept, deleted = new_chat(alice, "Kept"), new_chat(alice, "Deleted")

    alice.send(f"/chat/{deleted}/delete")

    assert own_chats(alice) == [(f"/chat/{kept}", "Kept")]
