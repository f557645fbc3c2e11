"""Keeping the chats that were read last, and no more."""

from __future__ import annotations

from chatapp.storage.message_cache import IdCache, MessageCache
from tests.records import a_message


def test_what_was_put_in_comes_out() -> None:
    cache = MessageCache()
    messages = (a_message("one"),)

    cache.put("chat", messages)

    assert cache.get("chat") == messages
    assert cache.get("other") is None


def test_the_chat_used_longest_ago_is_forgotten_first() -> None:
    cache = MessageCache(budget_bytes=4_000)
    cache.put("a", (a_message(),))
    cache.put("b", (a_message(),))
    cache.get("a")

    cache.put("c", (a_message(),))

    assert cache.get("b") is None
    assert cache.get("a") is not None
    assert cache.get("c") is not None


def test_a_chat_beyond_the_budget_is_kept_alone() -> None:
    cache = MessageCache(budget_bytes=4_000)
    cache.put("small", (a_message(),))

    cache.put("large", (a_message("x" * 10_000),))

    assert cache.get("small") is None
    assert cache.get("large") is not None


def test_a_kept_chat_follows_its_messages() -> None:
    cache = MessageCache()
    one, two = a_message("one"), a_message("two")
    cache.put("chat", (one,))

    cache.add("chat", two)
    cache.add("chat", one.model_copy(update={"content": "ONE"}))

    assert [each.content for each in cache.get("chat") or ()] == ["ONE", "two"]


def test_a_chat_that_is_not_kept_is_not_begun_by_a_change() -> None:
    cache = MessageCache()

    cache.add("chat", a_message())

    assert cache.get("chat") is None


def test_dropping_gives_the_room_back() -> None:
    cache = MessageCache(budget_bytes=4_000)
    for _ in range(10):
        cache.put("chat", (a_message(),))
        cache.drop("chat")
    cache.put("a", (a_message(),))

    cache.put("b", (a_message(),))

    assert cache.get("a") is not None


def test_a_reply_that_grows_pushes_nobody_out() -> None:
    cache = MessageCache(budget_bytes=4_000)
    reply = a_message("x")
    cache.put("a", (a_message(),))
    cache.put("b", (reply,))

    for _ in range(20):
        cache.add("b", reply)

    assert cache.get("a") is not None


def test_ids_are_kept_with_those_that_come_later() -> None:
    cache = IdCache()
    cache.put("chat", {b"one"})

    cache.add("chat", b"two")
    cache.add("other", b"three")

    assert cache.get("chat") == {b"one", b"two"}
    assert cache.get("other") is None


def test_ids_of_the_chat_used_longest_ago_are_forgotten_first() -> None:
    cache = IdCache(most=4)
    cache.put("a", {b"1", b"2"})
    cache.put("b", {b"1"})
    cache.get("a")
    cache.add("a", b"3")

    cache.add("a", b"4")

    assert cache.get("b") is None
    assert cache.get("a") == {b"1", b"2", b"3", b"4"}


def test_dropped_ids_give_the_room_back() -> None:
    cache = IdCache(most=2)
    for _ in range(10):
        cache.put("a", {b"1"})
        cache.drop("a")
    cache.put("a", {b"1"})

    cache.put("b", {b"1"})

    assert cache.get("a") is not None
