"""The parts of the renderer: where blocks end, the cache, the colours."""

from __future__ import annotations

import re
from pathlib import Path

import comrak
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatapp.services.render import ColourBudget, limits, render_markdown
from chatapp.services.render.allowed import TOKEN_CLASSES
from chatapp.services.render.blocks import Block, BlockScanner, Kind
from chatapp.services.render.cache import HtmlCache, content_key
from chatapp.services.render.highlight import code_figure

STYLES = Path(__file__).resolve().parents[3] / "static" / "css" / "highlight.css"


def blocks_of(text: str) -> list[Block]:
    scanner = BlockScanner()
    return scanner.feed(text + "\n") + scanner.finish()


class TestBlocks:
    @pytest.mark.parametrize(
        ("text", "sources"),
        [
            ("a\nb\n\nc", ["a\nb", "c"]),
            ("- a\n\n- b\n\n  c\n\nd", ["- a\n\n- b\n\n  c", "d"]),
            ("- a\nlazy\n\nb", ["- a\nlazy", "b"]),
            ("1. a\n\n  b", ["1. a", "  b"]),
            ("1. a\n\n   b", ["1. a\n\n   b"]),
            ("- a\n\n***\n- b", ["- a", "***", "- b"]),
            ("- a\n# b", ["- a", "# b"]),
            ("- a\n> b", ["- a", "> b"]),
            ("-\nfoo", ["-", "foo"]),
            ("-\n\n  foo", ["-", "  foo"]),
            ("- ```\n  x\nfoo", ["- ```\n  x", "foo"]),
            ("- ```\n  x\n  ```\nfoo", ["- ```\n  x\n  ```\nfoo"]),
            ("a\n2. b", ["a\n2. b"]),
            ("a\n1. b", ["a", "1. b"]),
            ("> a\n2. b", ["> a", "2. b"]),
            ("    a\n\n    b\nc", ["    a\n\n    b", "c"]),
            ("\ta\n\n\tb\nc", ["\ta\n\n\tb", "c"]),
            ("-\ta\n\n  b\n\n\tc", ["-\ta", "  b", "\tc"]),
            ("a\n---\nb", ["a\n---", "b"]),
            ("> a\n===\nb", ["> a\n===\nb"]),
            ("<b>\n<div>\n<https://a.b>", ["\\<b>\n\\<div>\n<https://a.b>"]),
            ("- <div>\n<div>", ["- <div>\n\\<div>"]),
            ("- ```\n  <div>", ["- ```\n  <div>"]),
        ],
    )
    def test_end_where_common_mark_ends_them(self, text: str, sources: list[str]) -> None:
        assert [block.source for block in blocks_of(text)] == sources

    @pytest.mark.parametrize(
        ("text", "block"),
        [
            ("```py x\n  a\n```", Block(Kind.CODE, "  a\n", "py")),
            ("  ~~~\n   a\n b\n  ~~~", Block(Kind.CODE, " a\nb\n")),
            ("```\na\n``\n~~~\n    ```", Block(Kind.CODE, "a\n``\n~~~\n    ```\n")),
            ("``` a`b", Block(Kind.MARKDOWN, "``` a`b")),
            ("$$\na\n$$", Block(Kind.MATH, "\na\n")),
            (r"\[ a \]", Block(Kind.MATH, " a ")),
            ("$$ a $$ b", Block(Kind.MARKDOWN, "$$ a $$ b")),
            ("[^x y]: a", Block(Kind.MARKDOWN, "[^x y]: a")),
            ("[^x]: a\n\n    b\n", Block(Kind.FOOTNOTE, "a\n\n    b", "x")),
        ],
    )
    def test_know_their_kind(self, text: str, block: Block) -> None:
        assert blocks_of(text) == [block]

    def test_become_plain_text_when_the_work_is_done(self) -> None:
        blocks = blocks_of("para\n\n" * 20_000)

        assert {block.kind for block in blocks[:-1]} == {Kind.MARKDOWN}
        assert blocks[-1].kind is Kind.PLAIN
        assert len(blocks) < 4_000

    def test_of_code_stay_code_when_the_work_is_done(self) -> None:
        blocks = blocks_of("```\n" + "x\n" * 200_000)

        assert [block.kind for block in blocks] == [Kind.CODE, Kind.PLAIN]


# Blocks as models write them, sloppy indentation included. Each is one or more whole blocks of CommonMark.
WRITTEN = [
    "A paragraph with *emphasis*,\nover two lines.",
    "# A heading",
    "Underlined\n===",
    "Underlined\n---",
    "***",
    "- one\n- two\n  - nested\n    - deeper\n- three",
    "* one\n\n* two\n\n  with a paragraph",
    "1. one\n2. two\n   - nested\n10. ten",
    "1. Do this:\n```bash\nls\n```\n2. Then that",
    "1. Do this:\n\n   ```bash\n   ls\n\n   cd\n   ```\n\n2. Then that",
    "1. Do this:\n\n  ```bash\n  ls\n\ncd\n  ```\n\n2. Then that",
    "- a\nlazy line\n- b",
    "```python\nx = 1\n\n# not a heading\n- not a list\n```",
    "~~~\n```\n~~~",
    "> a quote\n> - with a list\n>\n> and more",
    "> lazy\nquote",
    "| a | b |\n|---|---|\n| 1 | `x` |",
    "    indented = code\n\n    more",
    "- [ ] task\n- [x] done",
    "Line with `code` and **bold**  \nand a hard break",
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(WRITTEN), max_size=6))
def test_blocks_rendered_apart_are_the_document_rendered_whole(written: list[str]) -> None:
    text = "\n\n".join(written)
    options = comrak.RenderOptions()
    extensions = comrak.ExtensionOptions()
    extensions.table = extensions.tasklist = True

    apart = "".join(
        comrak.render_markdown(as_source(block), extensions, None, options) for block in blocks_of(text)
    )

    assert apart == comrak.render_markdown(text, extensions, None, options)


def as_source(block: Block) -> str:
    if block.kind is not Kind.CODE:
        return block.source
    info = f"{block.name} x" if block.name else ""
    return f"~~~~~{info}\n{block.source}~~~~~"


class TestCache:
    def test_gives_back_what_was_put(self) -> None:
        cache = HtmlCache(10_000)
        cache.put(b"k", ("a", "b"))

        assert cache.get(b"k") == ("a", "b")
        assert cache.get(b"other") is None

    def test_lets_go_of_what_was_not_used_for_longest(self) -> None:
        cache = HtmlCache(2_000)
        for name in (b"1", b"2", b"3", b"4"):
            cache.put(name, ("x" * 300,))
        cache.get(b"1")
        cache.put(b"5", ("x" * 300,))

        assert [name for name in (b"1", b"2", b"3", b"4", b"5") if cache.get(name)] == [
            b"1",
            b"3",
            b"4",
            b"5",
        ]

    def test_never_holds_more_than_its_limit(self) -> None:
        cache = HtmlCache(5_000)
        for number in range(300):
            cache.put(str(number % 40).encode(), ("\u00e9" * number,))

            assert cache.held_bytes <= 5_000

    def test_does_not_keep_what_would_push_out_all_else(self) -> None:
        cache = HtmlCache(1_000)
        cache.put(b"k", ("x" * 900,))

        assert cache.get(b"k") is None

    def test_keys_tell_texts_apart(self) -> None:
        assert (
            len({content_key("ab", "c"), content_key("a", "bc"), content_key("abc"), content_key("\ud800")})
            == 4
        )


class TestColours:
    @pytest.mark.parametrize(
        "language", ["python", "JavaScript", "c++", "bash", "json", "html", "sql", "rust", "diff"]
    )
    def test_keep_the_text_of_any_language(self, language: str) -> None:
        source = "a <b> & 'c' \"d\" # e\n-- f\n+ 1 {g}\n\n"

        html = code_figure(source, language, ColourBudget())

        shown = re.sub(r"<[^>]*>", "", html.split("<code>")[1])
        assert (
            shown.replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&#x27;", "'")
            .replace("&quot;", '"')
            .replace("&amp;", "&")
            == source
        )

    @pytest.mark.parametrize(
        "language", ["", "no-such-language", "../../etc/passwd", "python\u2028", '"><b>', "x" * 500]
    )
    def test_do_not_come_for_what_is_no_language(self, language: str) -> None:
        html = code_figure("x = 1\n", language.replace("python", "pyth"), ColourBudget())

        assert "<span" not in html
        assert "<b>" not in html

    def test_are_made_once(self) -> None:
        source = "once = 'made'\n"
        before = code_figure(source, "python", ColourBudget(0))
        coloured = code_figure(source, "python", ColourBudget())

        assert before != coloured
        assert code_figure(source, "python", ColourBudget(0)) == coloured

    def test_stop_when_the_time_of_the_request_is_spent(self) -> None:
        budget = ColourBudget(0.001)

        figures = [code_figure(f"spent_{number} = 1\n", "python", budget) for number in range(3)]

        assert ["<span" in figure for figure in figures] == [True, False, False]

    def test_give_up_on_code_that_takes_too_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "COLOUR_BLOCK_MS", 0)

        html = code_figure("given_up = 1\n", "python", ColourBudget())

        assert "<code>given_up = 1\n</code>" in html

    def test_all_have_a_rule_in_the_style_sheet_and_the_other_way_round(self) -> None:
        rules = "\n".join(
            line for line in STYLES.read_text().splitlines() if line.strip().startswith(".code")
        )

        assert set(re.findall(r"\.([a-z]{1,2}|err)\b", rules)) == set(TOKEN_CLASSES)

    def test_are_remembered_with_the_text(self) -> None:
        text = "```python\nremembered = 1\n```"
        first = render_markdown(text)

        assert render_markdown(text, budget=ColourBudget(0)) == first
        assert "<span" in first[0]
