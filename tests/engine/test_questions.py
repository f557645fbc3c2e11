"""What is asked, before any model is involved: options, durations, lengths."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.engine.history import Message, reply_room_tokens, shortened
from chatapp.engine.options import read_keep_alive_s, read_options
from chatapp.engine.wire import ApiError, Fields, decode_body


def keep_alive(value: Any) -> float | None:
    return read_keep_alive_s(Fields({"keep_alive": value}, "ChatRequest"))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        (0, 0),
        (300, 300),
        ("0", 0),
        ("10m", 600),
        ("1h30m", 5400),
        ("1.5s", 1.5),
        ("300ms", 0.3),
        (-1, math.inf),
        ("-5m", math.inf),
    ],
)
def test_keep_alive_takes_seconds_and_durations(value: Any, seconds: float | None) -> None:
    assert keep_alive(value) == seconds


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("soon", 'time: invalid duration "soon"'),
        ("300", 'time: missing unit in duration "300"'),
        ("", 'time: invalid duration ""'),
        ("5 m", 'time: invalid duration "5 m"'),
    ],
)
def test_keep_alive_refuses_other_words(value: Any, text: str) -> None:
    with pytest.raises(ApiError) as refused:
        keep_alive(value)

    assert (refused.value.status, refused.value.text) == (400, text)


@pytest.mark.parametrize("value", [True, [], {}])
def test_keep_alive_refuses_other_types(value: Any) -> None:
    with pytest.raises(ApiError):
        keep_alive(value)


def test_the_requests_options_win_over_the_models_and_these_over_the_defaults() -> None:
    options = read_options({"top_k": 7}, {"top_k": 5, "temperature": 0.1}, 8192)

    request = options.as_llama_request()

    assert (request["top_k"], request["temperature"], request["top_p"]) == (7, 0.1, 0.9)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"temperature": "hot"}, 'option "temperature" must be of type float32'),
        ({"temperature": True}, 'option "temperature" must be of type float32'),
        ({"top_k": "7"}, 'option "top_k" must be of type integer'),
        ({"num_ctx": [1]}, 'option "num_ctx" must be of type integer'),
        ({"stop": "word"}, 'option "stop" must be of type array'),
        ({"stop": [1]}, 'option "stop" must be of an array of strings'),
        ({"use_mmap": 1}, 'option "use_mmap" must be of type boolean'),
    ],
)
def test_an_option_of_a_wrong_type_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ApiError) as refused:
        read_options(options, {}, 8192)

    assert (refused.value.status, refused.value.text) == (500, text)


def test_unknown_and_empty_options_are_ignored() -> None:
    assert read_options({"nonsense": "x", "seed": None}, {}, 8192) == read_options({}, {}, 8192)


@given(
    st.dictionaries(
        st.sampled_from(
            ["temperature", "top_k", "num_ctx", "num_predict", "seed", "repeat_penalty", "min_p"]
        ),
        st.one_of(st.integers(), st.floats(allow_nan=False)),
    )
)
def test_no_number_is_too_odd_for_the_options(asked: dict[str, Any]) -> None:
    options = read_options(asked, {}, 8192)

    request = options.as_llama_request()

    assert 64 <= options.num_ctx <= 8192
    assert all(math.isfinite(value) for value in request.values())


def said(*lengths: int, role: str = "user") -> list[Message]:
    return [{"role": role, "content": "x" * length} for length in lengths]


def test_the_oldest_messages_go_first_and_the_systems_words_stay() -> None:
    messages = [{"role": "system", "content": "rules"}, *said(100, 200, 300, 400)]

    kept = shortened(messages, prompt_tokens=1000, room_tokens=800)

    assert kept[0]["role"] == "system"
    assert kept[1:] == messages[-(len(kept) - 1) :]
    assert len(kept) < len(messages)


def test_the_beginning_that_is_kept_stays_the_same_for_several_questions() -> None:
    chats = [said(*[100] * (20 + more)) for more in range(4)]

    dropped = [
        len(chat) - len(shortened(chat, prompt_tokens=2110 + 100 * more, room_tokens=2000))
        for more, chat in enumerate(chats)
    ]

    assert len(set(dropped)) == 1


def test_the_last_message_is_cut_in_the_middle_when_nothing_else_is_left() -> None:
    message = {"role": "user", "content": "begin" + "x" * 10_000 + "end"}

    kept = shortened([message], prompt_tokens=5000, room_tokens=500)

    assert kept[0]["content"].startswith("begin")
    assert kept[0]["content"].endswith("end")
    assert len(kept[0]["content"]) < 1100


@given(
    lengths=st.lists(st.integers(0, 3000), min_size=1, max_size=12),
    room_tokens=st.integers(16, 2000),
)
def test_shortening_again_and_again_always_gets_there(lengths: list[int], room_tokens: int) -> None:
    messages = said(*lengths)

    for _ in range(14):
        prompt_tokens = sum(len(message["content"]) // 3 + 1 for message in messages)
        if prompt_tokens > room_tokens:
            messages = shortened(messages, prompt_tokens, room_tokens)

    assert sum(len(message["content"]) // 3 + 1 for message in messages) <= room_tokens


def test_room_for_the_reply_is_never_more_than_a_quarter() -> None:
    assert reply_room_tokens(num_ctx=4096, num_predict=-1) == 512
    assert reply_room_tokens(num_ctx=4096, num_predict=20) == 20
    assert reply_room_tokens(num_ctx=512, num_predict=4000) == 128


@given(st.binary())
def test_any_bytes_are_an_object_or_a_refusal(raw: bytes) -> None:
    try:
        found = decode_body(raw)
    except ApiError as refused:
        found = {"refused": refused.status}

    assert isinstance(found, dict)
