"""What rendering costs: per streamed token, per finished answer, per page of answers.

Run ``python -m bench.render`` from the top folder. Prints medians; nothing is asserted.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

from chatapp.services.render import BlockStream, ColourBudget, highlight, maths, render_markdown, stream
from chatapp.services.render.cache import HtmlCache

_ROUNDS = 40
_TOKENS_PER_S = 50
_TAILS_PER_S = 5

_CODE = '''def count(path: str) -> Counter[str]:
    """Count requests per status code, one line at a time."""
    totals: Counter[str] = Counter()
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            totals[line.split()[8]] += 1  # the ninth field
    return totals
'''
CODE_ANSWER = "\n\n".join(
    f"## Step {number}\nRead it **line by line**; a `file` is an iterator:\n"
    f"```python\n{_CODE.replace('count', f'count_{number}')}```\n- memory stays flat\n- it ends"
    for number in range(1, 9)
)
SHORT_ANSWER = (
    "A *prime* has exactly two divisors, **1 and itself**. The first ones are:\n\n"
    "1. 2, the only even one\n2. 3\n3. 5\n\nThere are infinitely many, as Euclid showed: multiply all the primes "
    "you know, add $1$, and no prime you know divides the result. See <https://example.org/primes> for more.\n\n"
    "> If there were a last one, there would be another.\n\nShall I show you the proof?"
)


def forget() -> None:
    """Empty the caches, so that a round costs what the first reader pays."""
    for module in (stream, highlight, maths):
        module._CACHE = HtmlCache(4_000_000)  # type: ignore[attr-defined]


def median_ms(run: Callable[[], object], before: Callable[[], None]) -> float:
    times_ms = []
    for _ in range(_ROUNDS):
        before()
        started_s = time.perf_counter()
        run()
        times_ms.append((time.perf_counter() - started_s) * 1000)
    return statistics.median(times_ms)


def stream_answer(text: str) -> int:
    """Stream ``text`` in tokens of four characters with a tail as often as a reply has one; return the tokens."""
    blocks = BlockStream(budget=ColourBudget(1_000))
    pieces = [text[start : start + 4] for start in range(0, len(text), 4)]
    for number, piece in enumerate(pieces):
        finished = blocks.add(piece)
        if finished or number % (_TOKENS_PER_S // _TAILS_PER_S) == 0:
            blocks.tail()
    blocks.finish()
    return len(pieces)


def add_only(text: str) -> None:
    blocks = BlockStream()
    for start in range(0, len(text), 4):
        blocks.add(text[start : start + 4])


def page() -> None:
    budget = ColourBudget()
    for number in range(20):
        render_markdown(f"{number}\n\n{CODE_ANSWER}", budget=budget)
        render_markdown(f"{number}\n\n{SHORT_ANSWER}", budget=budget)


def main() -> None:
    for name, text in (("code answer", CODE_ANSWER), ("short answer", SHORT_ANSWER)):
        tokens = len(text) // 4
        whole_ms = median_ms(partial(render_markdown, text), forget)
        streamed_ms = median_ms(partial(stream_answer, text), forget)
        added_ms = median_ms(partial(add_only, text), lambda: None)
        print(f"{name}, {len(text)} characters, {tokens} tokens")
        print(f"  in one go, nothing cached   {whole_ms:8.2f} ms")
        print(f"  streamed with tails         {streamed_ms * 1000 / tokens:8.1f} µs a token")
        print(f"  streamed, colours cached    {added_ms * 1000 / tokens:8.1f} µs a token, no tails")
    print(f"a page of 40 messages, nothing cached {median_ms(page, forget):8.1f} ms")
    print(f"a page of 40 messages, cached         {median_ms(page, lambda: None):8.2f} ms")


if __name__ == "__main__":
    main()
