"""Messages since the last snapshot: shared by the states of a chat, none of which ever sees a newer one."""

from __future__ import annotations

from chatapp.storage.message_log import EMPTY_LOG, MessageLog


def grown(log: MessageLog, *ids: str) -> MessageLog:
    for each in ids:
        log = log.with_entry(len(log), each, each.encode())
    return log


def test_a_log_that_grows_is_the_same_log() -> None:
    log = grown(EMPTY_LOG, "a")

    assert grown(log, "b", "c") is log
    assert log.texts(3) == {"a": b"a", "b": b"b", "c": b"c"}


def test_the_shared_empty_log_stays_empty() -> None:
    grown(EMPTY_LOG, "a")

    assert len(EMPTY_LOG) == 0


def test_an_older_length_does_not_show_what_came_later() -> None:
    log = grown(EMPTY_LOG, "a", "b")

    log.with_entry(2, "a", b"newer").with_entry(3, "c", b"c")

    assert log.texts(2) == {"a": b"a", "b": b"b"}
    assert (log.get(2, "a"), log.get(2, "c")) == (b"a", None)
    assert (log.get(4, "a"), log.get(4, "c")) == (b"newer", b"c")


def test_two_ways_on_from_the_same_length_do_not_meet() -> None:
    log = grown(EMPTY_LOG, "a")
    one = log.with_entry(1, "b", b"one")

    other = log.with_entry(1, "b", b"other")

    assert one.texts(2) == {"a": b"a", "b": b"one"}
    assert other.texts(2) == {"a": b"a", "b": b"other"}


def test_texts_that_were_replaced_again_and_again_do_not_pile_up() -> None:
    """A long reply is replaced every half second while it grows."""
    log = grown(EMPTY_LOG, "question", "reply")
    for number in range(1_000):
        log = log.with_entry(len(log), "reply", b"%d" % number)

    assert len(log) < 50
    assert log.texts(len(log)) == {"question": b"question", "reply": b"999"}
    assert log.get(len(log), "reply") == b"999"
