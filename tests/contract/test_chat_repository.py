"""What every store promises about chats and messages."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from chatapp.errors import Conflict, NotFound
from chatapp.models import Chat, ChatSummary
from chatapp.storage.base import Store
from tests.records import NOON, a_chat, a_message, a_reply, minutes_after_noon
from tests.start.processes import eventually

ALICE = "alice-id"
BOB = "bob-id"


@pytest.fixture
def chat(store: Store) -> Chat:
    return store.chats.add(a_chat(ALICE, title="Weather"))


def content(store: Store, chat: Chat) -> list[str]:
    return [message.content for message in store.chats.get(chat.owner_id, chat.id).messages]


def test_a_stored_chat_is_returned_with_its_messages(store: Store) -> None:
    stored = store.chats.add(a_chat(ALICE, messages=(a_message("one"), a_message("two"))))

    assert store.chats.get(ALICE, stored.id) == stored
    assert content(store, stored) == ["one", "two"]


def test_an_unknown_chat_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound, match="This chat does not exist, or it is not yours"):
        store.chats.get(ALICE, "unknown")


def test_every_method_treats_a_foreign_chat_as_missing(store: Store, chat: Chat) -> None:
    question = a_message()
    attempts: list[Callable[[], object]] = [
        lambda: store.chats.get(BOB, chat.id),
        lambda: store.chats.update(BOB, chat.id, lambda summary: summary),
        lambda: store.chats.delete(BOB, chat.id),
        lambda: store.chats.add_messages(BOB, chat.id, [question]),
        lambda: store.chats.finish_message(BOB, chat.id, question),
    ]

    for attempt in attempts:
        with pytest.raises(NotFound, match="This chat does not exist, or it is not yours"):
            attempt()

    assert store.chats.get(ALICE, chat.id) == chat


def test_a_chat_id_is_stored_once_whoever_owns_it(store: Store, chat: Chat) -> None:
    with pytest.raises(Conflict):
        store.chats.add(a_chat(BOB, id=chat.id))

    assert store.chats.list(BOB) == []


def test_a_list_holds_ones_own_chats_latest_first(store: Store) -> None:
    for minutes, owner in ((1, ALICE), (3, ALICE), (2, ALICE), (9, BOB)):
        store.chats.add(a_chat(owner, title=f"{minutes}", updated_at=minutes_after_noon(minutes)))

    assert [summary.title for summary in store.chats.list(ALICE)] == ["3", "2", "1"]


def test_a_list_holds_no_messages(store: Store) -> None:
    store.chats.add(a_chat(ALICE, messages=(a_message(),)))

    assert "messages" not in dict(store.chats.list(ALICE)[0])


def test_a_list_of_nothing_is_empty(store: Store) -> None:
    assert store.chats.list(ALICE) == []


def test_an_update_changes_the_summary_and_keeps_the_messages(store: Store) -> None:
    chat = store.chats.add(a_chat(ALICE, messages=(a_message("one"),)))

    updated = store.chats.update(ALICE, chat.id, lambda summary: summary.model_copy(update={"title": "New"}))

    assert updated.title == "New"
    assert store.chats.list(ALICE) == [updated]
    assert store.chats.get(ALICE, chat.id).title == "New"
    assert content(store, chat) == ["one"]


def test_an_update_of_an_unknown_chat_is_refused(store: Store) -> None:
    with pytest.raises(NotFound):
        store.chats.update(ALICE, "unknown", lambda summary: summary)


def test_an_update_cannot_give_a_chat_away(store: Store, chat: Chat) -> None:
    store.chats.update(ALICE, chat.id, lambda summary: summary.model_copy(update={"owner_id": BOB}))

    assert [each.id for each in store.chats.list(ALICE)] == [chat.id]
    assert store.chats.list(BOB) == []


def test_fields_of_a_later_version_are_kept(store: Store) -> None:
    chat = store.chats.add(
        a_chat(ALICE, folder={"name": "Work", "messages": []}, messages=(a_message(mood="calm"),))
    )

    store.chats.update(ALICE, chat.id, lambda summary: summary.model_copy(update={"title": "New"}))
    store.chats.add_messages(ALICE, chat.id, [a_message()])

    stored = store.chats.get(ALICE, chat.id).model_dump()
    assert stored["folder"] == {"name": "Work", "messages": []}
    assert stored["messages"][0]["mood"] == "calm"


def test_an_update_never_touches_the_messages(store: Store) -> None:
    chat = store.chats.add(a_chat(ALICE, messages=(a_message("one"),)))

    store.chats.update(ALICE, chat.id, lambda _: a_chat(ALICE, title="New", messages=(a_message("two"),)))

    assert content(store, chat) == ["one"]
    assert store.chats.get(ALICE, chat.id).title == "New"


def test_a_deleted_chat_is_gone(store: Store, chat: Chat) -> None:
    store.chats.delete(ALICE, chat.id)

    assert store.chats.list(ALICE) == []
    with pytest.raises(NotFound):
        store.chats.get(ALICE, chat.id)


def test_a_chat_cannot_be_deleted_twice(store: Store, chat: Chat) -> None:
    store.chats.delete(ALICE, chat.id)

    with pytest.raises(NotFound):
        store.chats.delete(ALICE, chat.id)


def test_a_new_chat_in_the_place_of_a_deleted_one_is_empty(store: Store) -> None:
    chat = store.chats.add(a_chat(ALICE, messages=(a_message("one"),)))
    assert content(store, chat) == ["one"]
    store.chats.delete(ALICE, chat.id)

    store.chats.add(a_chat(ALICE, id=chat.id))

    assert content(store, chat) == []


def test_messages_are_appended_in_order(store: Store, chat: Chat) -> None:
    first = store.chats.add_messages(ALICE, chat.id, [a_message("one"), a_message("two")])
    store.chats.add_messages(ALICE, chat.id, [a_message("three")])

    assert [message.content for message in first] == ["one", "two"]
    assert content(store, chat) == ["one", "two", "three"]


def test_no_messages_change_nothing(store: Store, chat: Chat) -> None:
    assert list(store.chats.add_messages(ALICE, chat.id, [])) == []
    assert store.chats.get(ALICE, chat.id) == chat


def test_the_same_message_again_gives_the_stored_one_and_adds_nothing(store: Store, chat: Chat) -> None:
    [first] = store.chats.add_messages(ALICE, chat.id, [a_message("one", id="same-id-1")])

    again = store.chats.add_messages(ALICE, chat.id, [a_message("two", id="same-id-1"), a_message("three")])

    assert [message.content for message in again] == ["one", "three"]
    assert again[0] == first
    assert content(store, chat) == ["one", "three"]


def test_the_same_message_twice_in_one_call_is_added_once(store: Store, chat: Chat) -> None:
    stored = store.chats.add_messages(
        ALICE, chat.id, [a_message("one", id="same"), a_message("two", id="same")]
    )

    assert [message.content for message in stored] == ["one", "one"]
    assert content(store, chat) == ["one"]


def test_the_same_message_from_many_threads_is_added_once(store: Store, chat: Chat) -> None:
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda _: store.chats.add_messages(ALICE, chat.id, [a_message(id="same")]), range(20)))

    assert len(content(store, chat)) == 1


def test_the_same_id_in_another_chat_is_another_message(store: Store, chat: Chat) -> None:
    other = store.chats.add(a_chat(ALICE))
    store.chats.add_messages(ALICE, chat.id, [a_message("one", id="same-id-1")])

    store.chats.add_messages(ALICE, other.id, [a_message("two", id="same-id-1")])

    assert content(store, other) == ["two"]


def test_a_message_that_quotes_an_id_is_not_taken_for_it(store: Store, chat: Chat) -> None:
    store.chats.add_messages(
        ALICE, chat.id, [a_message('{"id":"other-id"}', options={"a": {"id": "other-id"}})]
    )

    store.chats.add_messages(ALICE, chat.id, [a_message("new", id="other-id")])

    assert content(store, chat)[-1] == "new"


def test_the_chat_follows_its_newest_message(store: Store, chat: Chat) -> None:
    store.chats.add_messages(ALICE, chat.id, [a_message(created_at=minutes_after_noon(7))])

    assert store.chats.get(ALICE, chat.id).updated_at == minutes_after_noon(7)
    assert store.chats.list(ALICE)[0].updated_at == minutes_after_noon(7)


def test_a_clock_that_runs_backwards_does_not_move_the_chat_back(store: Store, chat: Chat) -> None:
    store.chats.add_messages(ALICE, chat.id, [a_message(created_at=minutes_after_noon(-7))])

    assert store.chats.get(ALICE, chat.id).updated_at == NOON


def test_any_text_comes_back_as_it_was(store: Store, chat: Chat) -> None:
    text = 'line\nline\r\n"quoted" \\ \x00\x1f\x7f \u2028 é e\u0301 😀 \U000e0061 ,"messages":[ ,"crc":"00000000"}'

    store.chats.add_messages(
        ALICE, chat.id, [a_message(text, options={"stop": ["\n"], "seed": 7, "top_p": 0.9})]
    )

    [stored] = store.chats.get(ALICE, chat.id).messages
    assert (stored.content, stored.options) == (text, {"stop": ["\n"], "seed": 7, "top_p": 0.9})


def test_parts_of_a_finished_reply_do_not_come_back(store: Store, chat: Chat) -> None:
    [reply] = store.chats.add_messages(ALICE, chat.id, [a_reply()])
    store.chats.append_part(ALICE, chat.id, reply.id, 0, "Good mor")
    final = reply.model_copy(update={"content": "Good morning!", "status": "complete"})

    finished = store.chats.finish_message(ALICE, chat.id, final)
    store.chats.append_part(ALICE, chat.id, reply.id, 13, " Late.")
    still_streaming = store.chats.interrupt_streaming()  # which first stores what waits
    store.chats.add_messages(ALICE, chat.id, [a_message("thanks")])

    assert finished.status == "complete"
    assert still_streaming == 0
    assert content(store, chat) == ["Good morning!", "thanks"]


def test_a_reply_keeps_its_place_when_it_is_finished(store: Store, chat: Chat) -> None:
    reply = a_reply()
    store.chats.add_messages(ALICE, chat.id, [reply, a_message("after")])

    store.chats.finish_message(
        ALICE, chat.id, reply.model_copy(update={"content": "done", "status": "complete"})
    )

    assert content(store, chat) == ["done", "after"]


def test_finishing_an_unknown_message_is_refused(store: Store, chat: Chat) -> None:
    with pytest.raises(NotFound):
        store.chats.finish_message(ALICE, chat.id, a_reply())


def test_parts_join_to_the_text_of_an_interrupted_reply(store: Store, chat: Chat) -> None:
    reply = a_reply(thinking="hm")
    store.chats.add_messages(ALICE, chat.id, [reply])
    for offset, text in ((0, "Grüß "), (5, "😀 Gott"), (5, "😀 Gott"), (0, "Grüß ")):
        store.chats.append_part(ALICE, chat.id, reply.id, offset, text)

    interrupted = store.chats.interrupt_streaming()

    message = store.chats.get(ALICE, chat.id).message(reply.id)
    assert message is not None
    assert (interrupted, message.status, message.content, message.thinking) == (
        1,
        "interrupted",
        "Grüß 😀 Gott",
        "hm",
    )


def test_a_part_that_does_not_connect_is_passed_over(store: Store, chat: Chat) -> None:
    reply = a_reply()
    store.chats.add_messages(ALICE, chat.id, [reply])
    store.chats.append_part(ALICE, chat.id, reply.id, 0, "One")
    store.chats.append_part(ALICE, chat.id, reply.id, 8, "three")

    store.chats.interrupt_streaming()

    assert content(store, chat) == ["One"]


def test_a_part_after_a_gap_in_what_is_stored_is_passed_over(store: Store, chat: Chat) -> None:
    [reply] = store.chats.add_messages(ALICE, chat.id, [a_reply("One")])
    store.chats.append_part(ALICE, chat.id, reply.id, 8, "three")

    store.chats.interrupt_streaming()

    assert content(store, chat) == ["One"]


def test_thoughts_and_content_grow_side_by_side(store: Store, chat: Chat) -> None:
    reply = a_reply()
    store.chats.add_messages(ALICE, chat.id, [reply])
    store.chats.append_part(ALICE, chat.id, reply.id, 0, "So 4 ", "thinking")
    store.chats.append_part(ALICE, chat.id, reply.id, 0, "Four")
    store.chats.append_part(ALICE, chat.id, reply.id, 5, "it is.", "thinking")

    store.chats.interrupt_streaming()

    [stored] = store.chats.get(ALICE, chat.id).messages
    assert (stored.thinking, stored.content) == ("So 4 it is.", "Four")


def test_what_was_added_is_seen_without_another_change(store: Store, chat: Chat) -> None:
    reply = a_reply()
    store.chats.add_messages(ALICE, chat.id, [reply])

    store.chats.append_part(ALICE, chat.id, reply.id, 0, "One")

    eventually(lambda: content(store, chat) == ["One"])


def test_parts_for_what_is_gone_are_passed_over(store: Store, chat: Chat) -> None:
    [reply] = store.chats.add_messages(ALICE, chat.id, [a_reply()])
    store.chats.append_part(ALICE, chat.id, "unknown", 0, "text")
    store.chats.append_part(ALICE, "unknown", "unknown", 0, "text")
    store.chats.append_part(BOB, chat.id, reply.id, 0, "text")

    store.chats.interrupt_streaming()

    assert content(store, chat) == [""]


def test_only_streaming_messages_are_interrupted(store: Store, chat: Chat) -> None:
    others = [a_reply("x", status=status) for status in ("complete", "stopped", "failed", "interrupted")]
    store.chats.add_messages(ALICE, chat.id, others)

    assert store.chats.interrupt_streaming() == 0
    assert list(store.chats.get(ALICE, chat.id).messages) == others


def test_fifty_threads_lose_and_double_nothing(store: Store) -> None:
    chats = [store.chats.add(a_chat(ALICE)) for _ in range(10)]

    def write(number: int) -> None:
        chat = chats[number % len(chats)]
        store.chats.add_messages(ALICE, chat.id, [a_message(f"{number}")])

    with ThreadPoolExecutor(50) as pool:
        list(pool.map(write, range(200)))

    written = [int(text) for chat in chats for text in content(store, chat)]
    assert sorted(written) == list(range(200))


def test_messages_and_a_change_of_the_chat_are_one_step(store: Store, chat: Chat) -> None:
    message = a_message("Hello")

    store.chats.add_messages(
        ALICE, chat.id, [message], lambda c: c.model_copy(update={"title": "Named", "owner_id": BOB})
    )

    stored = store.chats.get(ALICE, chat.id)
    assert stored.title == "Named"
    assert stored.messages == (message,)


def test_a_change_that_refuses_keeps_the_messages_out(store: Store, chat: Chat) -> None:
    def refuse(_: ChatSummary) -> ChatSummary:
        raise Conflict("Not now.")

    with pytest.raises(Conflict):
        store.chats.add_messages(ALICE, chat.id, [a_message("Hello")], refuse)

    assert store.chats.get(ALICE, chat.id).messages == ()


def test_a_message_that_is_there_already_changes_nothing_else(store: Store, chat: Chat) -> None:
    message = a_message("Hello")
    store.chats.add_messages(ALICE, chat.id, [message])

    store.chats.add_messages(ALICE, chat.id, [message], lambda c: c.model_copy(update={"title": "Late"}))

    assert store.chats.get(ALICE, chat.id).title == chat.title


def test_deleted_chats_of_everybody_are_found(store: Store, chat: Chat) -> None:
    """Those brought back and those removed for good are not, before and after the files are written."""
    others = [store.chats.add(a_chat(owner, deleted_at=NOON)) for owner in (ALICE, BOB, BOB)]
    store.chats.update(ALICE, chat.id, lambda c: c.model_copy(update={"deleted_at": NOON}))
    for _ in range(2):
        assert {each.id for each in store.chats.deleted()} == {chat.id, *(each.id for each in others)}
        store.checkpoint()

    store.chats.update(ALICE, chat.id, lambda c: c.model_copy(update={"deleted_at": None}))
    store.chats.delete(BOB, others[1].id)

    assert {each.id for each in store.chats.deleted()} == {others[0].id, others[2].id}


def test_a_reply_still_streaming_is_interrupted_after_a_checkpoint(store: Store, chat: Chat) -> None:
    store.chats.add_messages(ALICE, chat.id, [a_reply("Half")])
    store.checkpoint()

    assert store.chats.interrupt_streaming() == 1
