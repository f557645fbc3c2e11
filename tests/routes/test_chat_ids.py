"""Chats by their address: strange ids, other people's chats, titles, deleting, exporting."""

from __future__ import annotations

import html
import json
import re
from urllib.parse import quote

import pytest

from chatapp.ids import new_id, now_utc
from chatapp.models import Chat, Message
from tests.cast import Browser, services_of, short
from tests.routes.test_replies import ask, new_chat, stored

STRANGE_IDS = [
    "0", "-1", "1e9", "null", "undefined", "NaN", "__proto__", "constructor", "\0", "../../users.json",
    "..\\..\\users.json", "x" * 300, "x" * 5000, "A" * 26, "0" * 26, "🦙", "\udcff", "\n", " ", ".", "..", "%00", "*",
    "?", "#", "a b", "<script>", "'", '"', "{{7*7}}", "$where", "01kagx2m9z5r8q3w7t1v6y4b0c%20",
]  # fmt: skip
LOOKS = ("", "/events", "/export.json", "/export.md")
CHANGES = ("message", "stop", "regenerate", "rename", "delete", "restore")


def add_long_chat(person: Browser, messages: int) -> str:
    """Store a chat of many messages at once and return its id."""
    assert person.user is not None
    now = now_utc()
    made: list[Message] = []
    for number in range(messages):
        made.append(
            Message(
                id=f"message-{number:08d}",
                parent_id=made[-1].id if made else None,
                role="assistant" if number % 2 else "user",
                content=f"Message number {number}",
                model="smollm2:135m",
                created_at=now,
            )
        )
    chat = Chat(
        id=new_id(),
        owner_id=person.user.id,
        created_at=now,
        updated_at=now,
        messages=tuple(made),
        title="Long",
    )
    services_of(person.app).store.chats.add(chat)
    return chat.id


@pytest.mark.parametrize("chat_id", STRANGE_IDS, ids=short)
def test_a_strange_id_is_a_chat_that_does_not_exist(alice: Browser, chat_id: str) -> None:
    quoted = quote(chat_id, safe="", errors="surrogateescape")

    looks = {alice.get(f"/chat/{quoted}{look}").status_code for look in LOOKS}
    changes = {
        alice.send(f"/chat/{quoted}/{change}", {"content": "x", "title": "x"}).status_code
        for change in CHANGES
    }

    assert looks <= {404, 308}
    assert changes == {404}


@pytest.mark.parametrize("change", ["upper", "space", "slash", "cut", "prefix"])
def test_an_id_that_is_nearly_right_is_not_right(alice: Browser, change: str) -> None:
    chat_id = new_chat(alice)
    near = {
        "upper": chat_id.upper(),
        "space": f"{chat_id}%20",
        "slash": f"{chat_id}/",
        "cut": chat_id[:-1],
        "prefix": f"0{chat_id}",
    }[change]

    assert alice.get(f"/chat/{near}").status_code == 404
    assert alice.get(f"/chat/{chat_id}").status_code == 200


def test_another_persons_chat_gives_the_same_page_as_a_missing_one(alice: Browser, bob: Browser) -> None:
    chat_id = new_chat(alice)
    ask(alice, chat_id)

    def page(of: str) -> str:
        answer = bob.get(f"/chat/{of}")
        assert answer.status_code == 404
        text = answer.get_data(as_text=True)
        return text.replace(answer.headers["X-Request-ID"], "").replace(of, "").partition('csrf-token"')[0]

    assert page(chat_id) == page("0" * 26)


def test_nobody_learns_of_a_chat_before_signing_in(alice: Browser, anonymous: Browser) -> None:
    chat_id = new_chat(alice)

    answers = [anonymous.get(f"/chat/{of}") for of in (chat_id, "0" * 26)]

    assert {answer.status_code for answer in answers} == {303}


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("change", [*CHANGES, "../../logout"])
def test_only_a_post_changes_a_chat(alice: Browser, method: str, change: str) -> None:
    chat_id = new_chat(alice)

    answer = alice.client.open(
        f"/chat/{chat_id}/{change}", method=method, headers={"X-CSRFToken": alice.token()}, buffered=True
    )

    assert answer.status_code in (404, 405)
    assert alice.get(f"/chat/{chat_id}").status_code == 200


def test_a_method_in_a_header_or_a_field_is_not_obeyed(alice: Browser) -> None:
    chat_id = new_chat(alice)

    alice.send(f"/chat/{chat_id}/rename", {"title": "x"}, **{"X-HTTP-Method-Override": "DELETE"})
    alice.submit(f"/chat/{chat_id}/rename", title="y", _method="DELETE")

    assert json.loads(alice.get(f"/chat/{chat_id}/export.json").data)["title"] == "y"


# -- message ids inside a chat


@pytest.mark.parametrize(
    "message_id", ["", "0", "x" * 64, "x" * 5000, "__proto__", "../x", "🦙", "\0"], ids=short
)
def test_a_strange_version_shows_the_newest_one(alice: Browser, message_id: str) -> None:
    chat_id = new_chat(alice)
    ask(alice, chat_id)

    page = alice.get(f"/chat/{chat_id}?at={quote(message_id)}")

    assert page.status_code == 200
    assert "Seine" in page.get_data(as_text=True)


def test_messages_of_another_chat_can_neither_be_followed_nor_regenerated_nor_shown(
    alice: Browser, bob: Browser
) -> None:
    chat_of_alice, chat_of_bob = new_chat(alice), new_chat(bob)
    secret = ask(alice, chat_of_alice, "Alice's secret question")
    ask(bob, chat_of_bob, "Bob's question")

    followed = bob.send(f"/chat/{chat_of_bob}/message", {"content": "x", "parent_id": secret["reply"]["id"]})
    regenerated = bob.send(f"/chat/{chat_of_bob}/regenerate", {"message_id": secret["reply"]["id"]})
    shown = bob.get(f"/chat/{chat_of_bob}?at={secret['question']['id']}")

    assert followed.status_code == 404
    assert regenerated.status_code == 404
    assert "secret" not in shown.get_data(as_text=True)
    assert len(stored(bob, chat_of_bob)) == 2


def test_only_a_reply_can_be_regenerated(alice: Browser) -> None:
    chat_id = new_chat(alice)
    empty = alice.send(f"/chat/{chat_id}/regenerate", {})
    question = ask(alice, chat_id)["question"]

    answer = alice.send(f"/chat/{chat_id}/regenerate", {"message_id": question["id"]})

    assert empty.status_code == 404
    assert answer.status_code == 404
    assert len(stored(alice, chat_id)) == 2


# -- titles


@pytest.mark.parametrize(
    ("title", "kept"),
    [
        ("  Two\n\tlines  ", "Two lines"),
        ("x" * 200, "x" * 200),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("</title><b>", "</title><b>"),
        ("{{7*7}} {% raw %}", "{{7*7}} {% raw %}"),
        ("a\u202eb 👩‍👩‍👧 e\u0301", "a\u202eb 👩‍👩‍👧 e\u0301"),
        ("a\x00b\x1b[31mc\x7fd", "a b [31mc d"),
        ("\u2028line", "line"),
    ],
)
def test_a_title_is_one_line_of_text(alice: Browser, title: str, kept: str) -> None:
    chat_id = new_chat(alice)

    answer = alice.send(f"/chat/{chat_id}/rename", {"title": title})

    page = alice.get(f"/chat/{chat_id}").get_data(as_text=True)
    assert answer.json == {"id": chat_id, "title": kept}
    assert "<script>alert" not in page
    assert "</title><b>" not in page
    assert "49" not in page.partition("<h1")[2].partition("</h1>")[0]


@pytest.mark.parametrize(
    "title", ["", "   ", "\n\t", "\0", "x" * 201, "x" * 10_000, None, 5, ["a"]], ids=short
)
def test_a_title_that_is_none_is_refused_and_the_old_one_stays(alice: Browser, title: object) -> None:
    chat_id = new_chat(alice)
    alice.send(f"/chat/{chat_id}/rename", {"title": "Before"})

    answer = alice.send(f"/chat/{chat_id}/rename", {"title": title})

    assert answer.status_code == 400
    assert (answer.json or {})["error"]["field"] == "title"
    assert json.loads(alice.get(f"/chat/{chat_id}/export.json").data)["title"] == "Before"


def test_a_refused_title_is_answered_with_the_page_of_its_chat(alice: Browser) -> None:
    chat_id = new_chat(alice)

    answer = alice.submit(f"/chat/{chat_id}/rename", title="x" * 300)

    assert answer.status_code == 400
    assert "at most 200 characters" in answer.get_data(as_text=True)


@pytest.mark.parametrize(
    "body", [{"title": "x" * 201}, {"title": 5}, {"model": "http://evil/x"}, {"content": " "}]
)
def test_a_refused_new_chat_leaves_no_chat_behind(alice: Browser, body: dict[str, object]) -> None:
    assert alice.send("/chat", body).status_code == 400
    assert alice.get("/").headers["Location"] == "/dashboard"


# -- deleting and bringing back


def test_a_deleted_chat_is_gone_from_every_address_and_comes_back_whole(alice: Browser) -> None:
    chat_id = new_chat(alice)
    before = ask(alice, chat_id)["reply"]["content"]
    alice.send(f"/chat/{chat_id}/delete")

    gone = {alice.get(f"/chat/{chat_id}{look}").status_code for look in LOOKS}
    gone |= {
        alice.send(f"/chat/{chat_id}/{change}", {"content": "x", "title": "x"}).status_code
        for change in ("message", "stop", "regenerate", "rename", "delete")
    }
    listed = chat_id in alice.get("/dashboard").get_data(as_text=True).partition("flash")[0]
    alice.send(f"/chat/{chat_id}/restore")

    assert gone == {404}
    assert not listed
    assert stored(alice, chat_id)[-1]["content"] == before


def test_bringing_back_what_was_not_deleted_changes_nothing(alice: Browser) -> None:
    chat_id = new_chat(alice)

    assert alice.send(f"/chat/{chat_id}/restore").status_code == 200
    assert alice.get(f"/chat/{chat_id}").status_code == 200


# -- long chats and exports


def test_a_chat_of_ten_thousand_messages_takes_no_more_and_its_page_opens(alice: Browser) -> None:
    chat_id = add_long_chat(alice, 10_000)

    answer = alice.send(f"/chat/{chat_id}/message", {"content": "One more"})

    assert answer.status_code == 413
    assert "10,000 messages" in (answer.json or {})["error"]["message"]
    assert alice.get(f"/chat/{chat_id}").status_code == 200


def test_a_long_chat_opens_at_its_end_and_leads_back_to_its_beginning(alice: Browser) -> None:
    address: str | None = f"/chat/{add_long_chat(alice, 250)}"
    pages = []
    while address:
        page = alice.get(address).get_data(as_text=True)
        pages.append([int(number) for number in re.findall(r"Message number (\d+)<", page)])
        link = re.search(r'href="([^"]+)">Earlier messages', page)
        address = html.unescape(link[1]) if link else None

    assert [set(numbers) for numbers in pages] == [set(range(150, 250)), set(range(50, 150)), set(range(50))]
    assert "Newest messages" in page


def test_a_question_from_an_earlier_page_follows_the_newest_message(alice: Browser) -> None:
    chat_id = add_long_chat(alice, 250)

    page = alice.get(f"/chat/{chat_id}?before=message-00000100").get_data(as_text=True)

    assert 'name="parent_id" value="message-00000249"' in page


def test_messages_that_follow_each_other_in_a_circle_still_make_a_page(alice: Browser) -> None:
    """Only a file that was edited by hand can hold such a chat."""
    assert alice.user is not None
    now = now_utc()
    circle = tuple(
        Message(id=own, parent_id=parent, role="assistant", content=own, created_at=now)
        for own, parent in (("aaaaaaaa", "bbbbbbbb"), ("bbbbbbbb", "aaaaaaaa"), ("cccccccc", "aaaaaaaa"))
    )
    chat = Chat(id=new_id(), owner_id=alice.user.id, created_at=now, updated_at=now, messages=circle)
    services_of(alice.app).store.chats.add(chat)

    assert alice.get(f"/chat/{chat.id}").status_code == 200
    assert alice.get(f"/chat/{chat.id}?at=bbbbbbbb").status_code == 200


def test_exports_are_files_that_no_browser_shows(alice: Browser) -> None:
    chat_id = new_chat(alice)
    ask(alice, chat_id, "<script>alert(1)</script>")

    for kind in ("json", "md"):
        answer = alice.get(f"/chat/{chat_id}/export.{kind}")
        assert answer.headers["Content-Disposition"] == f'attachment; filename="chat-{chat_id}.{kind}"'
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "charset=utf-8" in answer.headers["Content-Type"]
        assert "<script>alert(1)</script>" in answer.get_data(as_text=True)


def test_an_export_tells_nothing_about_the_owner(alice: Browser) -> None:
    chat_id = new_chat(alice)
    assert alice.user is not None

    assert alice.user.id not in alice.get(f"/chat/{chat_id}/export.json").get_data(as_text=True)
