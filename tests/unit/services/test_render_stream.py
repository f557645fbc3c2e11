"""A reply rendered while it is written."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatapp.services.render import BlockStream, ColourBudget, render_markdown

WHOLE_LINES = """\
para|*em* and|# head|---|***|===|> quote|- a|* b|-|1. one|2. two|  two in|   three in|    four in|\ttab
```|```py|  ```|~~~|- ```|$$|\\[|\\]|$$x$$|[^1]: note|see [^1] [r]|[r]: https://a.example|<div>|<b> x|- [ ] t|x\ry"""
TABLE_LINES = ["| a | b |", "|---|---|"]
LINES = st.sampled_from(["", "", "", *TABLE_LINES, *WHOLE_LINES.replace("\n", "|").split("|")])
TEXTS = st.one_of(
    st.lists(LINES, max_size=14).map("\n".join),
    st.text(st.sampled_from("a \n\t\r*_`~[]()!|\\$<>&#-+1.^:="), max_size=60),
    st.text(max_size=40),
)


def in_pieces(text: str, cuts: list[int]) -> list[str]:
    ends = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[start:end] for start, end in pairwise(ends)]


def streamed(pieces: list[str]) -> list[tuple[int, str]]:
    stream = BlockStream(budget=ColourBudget(0))
    blocks = [block for piece in pieces for block in stream.add(piece)]
    return blocks + stream.finish()


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.lists(st.integers(0, 10_000), max_size=12))
def test_pieces_come_out_as_the_whole_text_does(text: str, cuts: list[int]) -> None:
    blocks = streamed(in_pieces(text, cuts))

    assert [html for _, html in blocks] == render_markdown(text, budget=ColourBudget(0))
    assert [index for index, _ in blocks] == list(range(len(blocks)))


@settings(max_examples=100, deadline=None)
@given(TEXTS)
def test_looking_at_the_open_end_changes_nothing(text: str) -> None:
    stream = BlockStream(budget=ColourBudget(0))
    blocks: list[str] = []
    for character in text:
        blocks += [html for _, html in stream.add(character)]
        stream.tail()
    blocks += [html for _, html in stream.finish()]

    assert blocks == render_markdown(text, budget=ColourBudget(0))


def test_looking_often_leaves_the_formulas_their_allowance() -> None:
    stream = BlockStream()
    formula = "$" + "x+y+" * 100 + "z$"
    for _ in range(60):
        stream.add(formula)
        stream.add(" ")
        stream.tail()

    blocks = [html for _, html in stream.finish()]

    assert blocks == render_markdown((formula + " ") * 60)
    assert blocks[0].count("<math") > 10


@pytest.mark.parametrize("line", ["x\n", "x\n\n", "# x\n", "- x\n", "```\nx\n```\n", "> x\n"])
def test_a_text_past_all_limits_comes_out_the_same_in_pieces(line: str) -> None:
    text = line * 40_000

    blocks = streamed([text[start : start + 7919] for start in range(0, len(text), 7919)])

    assert [html for _, html in blocks] == render_markdown(text, budget=ColourBudget(0))


@pytest.mark.parametrize(
    ("text", "finished"),
    [
        ("para\n\n", 1),
        ("para\n", 0),
        ("# head\n", 1),
        ("Title\n===\n", 1),
        ("```\ncode\n```\n", 1),
        ("```\ncode\n\n```", 0),
        ("Look:\n```py\n", 1),
        ("- a\n\n", 0),
        ("- a\n\nb", 0),
        ("- a\n\nb\n", 1),
        ("- a\n\n- b\n", 0),
        ("- a\n\n  b\n", 0),
        ("para\n- a\n", 1),
        ("    code\n\n", 0),
        ("    code\n\nx\n", 1),
        ("[^1]: note\n\n    more\n", 0),
        ("$$\nx\n$$\n", 1),
    ],
)
def test_a_block_is_finished_when_nothing_can_change_it_and_no_sooner(text: str, finished: int) -> None:
    assert len(BlockStream().add(text)) == finished


def test_a_piece_within_a_line_finishes_nothing() -> None:
    stream = BlockStream()
    stream.add("a\n\nb")

    assert stream.add(" and c") == []


def tail_of(text: str) -> str | None:
    stream = BlockStream()
    stream.add(text)
    return stream.tail()


class TestTail:
    @pytest.mark.parametrize("text", ["done\n\n", "# done\n", "```\ndone\n```\n"])
    def test_is_none_right_after_a_block(self, text: str) -> None:
        assert tail_of(text) is None

    @pytest.mark.parametrize(
        "text", ["  ", "```py", "**", "#", "- ", "1.", "a\n\n---", "[r]: https://a.example\n\n"]
    )
    def test_is_empty_where_the_text_shows_nothing_by_itself(self, text: str) -> None:
        assert tail_of(text) == ""

    def test_is_none_when_nothing_was_added(self) -> None:
        stream = BlockStream()
        stream.add("text")
        stream.tail()

        assert stream.tail() is None

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("a **bold wor", "a <strong>bold wor</strong>"),
            ("a **bold *both", "a <strong>bold <em>both</em></strong>"),
            ("a **bold **", "a <strong>bold</strong>"),
            ("a **", "a"),
            ("~~gone", "<del>gone</del>"),
            ("the `cod", "the <code>cod</code>"),
            ("the ``a ` b", "the <code>a ` b</code>"),
            ("the `", "the"),
            ("`a*b` *c", "<code>a*b</code> <em>c</em>"),
            ("see [the docs](https://exam", "see the docs"),
            ("see [the do", "see the do"),
            ("see ![a cat](https:", "see a cat"),
            ("2 * 3 = 6", "2 * 3 = 6"),
            ("a snake_case word", "a snake_case word"),
            (r"an \*escaped", "an *escaped"),
        ],
    )
    def test_closes_what_is_open(self, text: str, shown: str) -> None:
        assert tail_of(text) == f'<p dir="auto">{shown}</p>\n'

    @pytest.mark.parametrize("text", ["text\n-", "text\n--", "text\n---", "text\n="])
    def test_does_not_make_a_heading_of_a_list_to_come(self, text: str) -> None:
        assert tail_of(text) == '<p dir="auto">text</p>\n'

    @pytest.mark.parametrize("text", ["| a | b", "| a | b |", "| a | b |\n|--", "| a | b |\n|---|---|"])
    def test_shows_a_table_from_its_first_line_on(self, text: str) -> None:
        html = tail_of(text)

        assert html is not None
        assert html.count("<th ") == 2
        assert "--" not in html

    def test_keeps_an_unfinished_cell_in_its_row(self) -> None:
        html = tail_of("| a | b |\n|---|---|\n| 1 | **2")

        assert html is not None
        assert "<strong>2</strong></td>" in html

    def test_closes_emphasis_in_the_last_item_of_a_list(self) -> None:
        html = tail_of("- 2 * 3\n- **b")

        assert html is not None
        assert "2 * 3</li>" in html
        assert "<strong>b</strong></li>" in html

    def test_shows_unfinished_maths_as_code(self) -> None:
        html = tail_of("$$\n\\frac{a}")

        assert html is not None
        assert "<math" not in html
        assert r"\frac{a}" in html

    def test_gives_the_figure_of_open_code_once(self) -> None:
        stream = BlockStream()
        stream.add("```py\na = 1\nb")

        first = stream.tail()
        stream.add(" = 2\nc")

        assert first == (
            '<figure class="code" data-lang="py" dir="ltr"><figcaption>py</figcaption>'
            '<pre tabindex="0"><code>a = 1\nb</code></pre></figure>'
        )
        assert stream.tail() is None

    @pytest.mark.parametrize("code", ["", "a", "a\n", "a\n\n", "a\n\nb", "\n", "\n\na"])
    def test_holds_open_code_to_the_character(self, code: str) -> None:
        html = tail_of(f"```\n{code}")

        assert html is not None
        assert re.search("<code>(.*)</code>", html, re.DOTALL)[1] == code  # type: ignore[index]

    def test_comes_again_for_the_next_code(self) -> None:
        stream = BlockStream()
        stream.add("```\na\n")
        stream.tail()
        stream.add("```\n```\nb\n")

        html = stream.tail()

        assert html is not None
        assert "b" in html

    def test_of_a_very_long_block_waits_for_an_eighth_more(self) -> None:
        stream = BlockStream()
        stream.add("word " * 4000)

        shown = []
        for _ in range(1000):
            stream.add("word ")
            shown.append(stream.tail() is not None)

        assert shown[0]
        assert sum(shown) <= 3

    def test_of_a_text_past_all_limits_is_plain(self) -> None:
        html = tail_of("**x**\n" * 60_000)

        assert html is not None
        assert html.startswith('<p class="plain" dir="auto">**x**')

    def test_can_be_asked_for_as_it_stands(self) -> None:
        stream = BlockStream()
        stream.add("done\n\n```\nopen")
        stream.tail()

        assert "<code>open</code>" in stream.open_html()
