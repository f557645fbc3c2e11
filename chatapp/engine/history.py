"""Making a long chat fit the model's context: the oldest messages go first, the system's words stay."""

from __future__ import annotations

from collections.abc import Sequence

Message = dict[str, str]

_CUT_MARK = "\n…\n"
_LARGEST_RESERVE_TOKENS = 512


def reply_room_tokens(num_ctx: int, num_predict: int) -> int:
    """Return how much of the context is kept free for the reply when older messages have to go."""
    wanted = num_predict if num_predict > 0 else _LARGEST_RESERVE_TOKENS
    return min(wanted, _LARGEST_RESERVE_TOKENS, num_ctx // 4)


def shortened(messages: Sequence[Message], prompt_tokens: int, room_tokens: int) -> list[Message]:
    """Return fewer or shorter messages that should take no more than ``room_tokens``.

    Args:
        messages: what was too long.
        prompt_tokens: what they took together.
        room_tokens: what they may take.

    The length of each in tokens is guessed from its characters, so the caller measures again. Every call makes the
    list shorter: it drops at least one message, or, when nothing but the last one is left to drop, cuts its middle.

    What goes is rounded up to quarters of the room. So the beginning that is kept stays the same for several
    questions in a row, and llama.cpp, which keeps what it has computed for equal beginnings, answers them at once.
    """
    tokens_per_character = prompt_tokens / max(1, sum(_size(message) for message in messages))
    quarter = max(1, room_tokens // 4)
    surplus = -(-(prompt_tokens - room_tokens) // quarter) * quarter
    kept = list(messages)
    while surplus > 0 and (oldest := _oldest_to_drop(kept)) is not None:
        surplus -= int(_size(kept[oldest]) * tokens_per_character)
        del kept[oldest]
    if len(kept) == len(messages):
        _cut_longest(kept, prompt_tokens, room_tokens)
    return kept


def _oldest_to_drop(messages: Sequence[Message]) -> int | None:
    candidates = (index for index, message in enumerate(messages[:-1]) if message["role"] != "system")
    return next(candidates, None)


def _cut_longest(messages: list[Message], prompt_tokens: int, room_tokens: int) -> None:
    longest = max(range(len(messages)), key=lambda index: _size(messages[index]))
    content = messages[longest]["content"]
    keep = int(len(content) * 0.9 * room_tokens / prompt_tokens)
    middle_cut = content[: keep // 2] + _CUT_MARK + content[len(content) - keep // 2 :]
    messages[longest] = messages[longest] | {"content": middle_cut}


def _size(message: Message) -> int:
    # Role and separators take a few tokens whatever the text is.
    return len(message["content"]) + 16
