"""What Markdown becomes."""

from __future__ import annotations

import re

import pytest

from chatapp.services.render import ColourBudget, render_markdown


def html_of(text: str, *, anchor: str = "") -> str:
    return "".join(render_markdown(text, anchor=anchor))


def words_of(html: str) -> str:
    return re.sub(r"<[^>]*>", "", html)


@pytest.mark.parametrize("blank", ["", " ", "\n\n", "\t\n \r\n"])
def test_blank_text_has_no_blocks(blank: str) -> None:
    assert render_markdown(blank) == []


def test_every_top_level_block_is_one_string_in_order() -> None:
    blocks = render_markdown("# Head\npara\n\n- one\n- two\n\n```\ncode\n```\nend")

    assert [re.match(r"<(\w+)", block)[1] for block in blocks] == ["h3", "p", "ul", "figure", "p"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("*a* **b** ~~c~~ `d`", "<em>a</em> <strong>b</strong> <del>c</del> <code>d</code>"),
        ("one\ntwo", "one<br>\ntwo"),
        ("> said", '<blockquote dir="auto">\n<p dir="auto">said</p>\n</blockquote>'),
        ("***", "<hr>"),
        ("3. three", '<ol dir="auto" start="3">'),
        ("Title\n=====", '<h3 dir="auto">Title</h3>'),
    ],
)
def test_common_markdown(source: str, expected: str) -> None:
    assert expected in html_of(source)


@pytest.mark.parametrize(
    ("level", "shown"), [(1, "h3"), (2, "h3"), (3, "h4"), (4, "h5"), (5, "h6"), (6, "h6")]
)
def test_headings_leave_the_first_two_levels_to_the_page(level: int, shown: str) -> None:
    assert html_of("#" * level + " Title") == f'<{shown} dir="auto">Title</{shown}>\n'


def test_raw_html_shows_as_it_was_typed() -> None:
    html = html_of("<div class='x'>\n<b>bold</b> & <br/>\n</div>\n\n<!-- note -->")

    assert words_of(html) == (
        "&lt;div class='x'&gt;\n&lt;b&gt;bold&lt;/b&gt; &amp; &lt;br/&gt;\n&lt;/div&gt;\n&lt;!-- note --&gt;\n"
    )


def test_markdown_goes_on_below_a_line_of_html() -> None:
    assert "<strong>bold</strong>" in html_of("<details>\n**bold**\n</details>")


@pytest.mark.parametrize("text", ["&lt;", "&amp;lt;", "&#60;"])
def test_references_are_decoded_once(text: str) -> None:
    decoded = {"&lt;": "&lt;", "&amp;lt;": "&amp;lt;", "&#60;": "&lt;"}

    assert html_of(text) == f'<p dir="auto">{decoded[text]}</p>\n'


def test_references_in_code_are_not_decoded() -> None:
    assert "<code>&amp;lt;</code>" in html_of("`&lt;`")


@pytest.mark.parametrize(
    "text",
    [
        "line\u2028separator\u2029here",
        "\u202eright to left\u202c",
        "e\u0301 \u00e9",
        "z\u0300\u0301\u0302\u0303algo",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",
        "a\ufeffb",
        "{{7*7}} {% raw %} ${x}",
    ],
)
def test_unusual_characters_are_shown_unchanged(text: str) -> None:
    assert html_of(text) == f'<p dir="auto">{text}</p>\n'


@pytest.mark.parametrize("character", ["\x00", "\ud800"])
@pytest.mark.parametrize(
    "around", ["a{}b", "```\na{}b\n```", "$$\na{}b\n$$", "[^a{}b]: x", "[a{}b]: http://x\n\n[a{}b]"]
)
def test_characters_that_no_page_can_hold_are_replaced(character: str, around: str) -> None:
    assert "a\ufffdb" in html_of(around.replace("{}", character)).replace("</mi><mi>", "")


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_all_line_ends_mean_the_same(newline: str) -> None:
    assert html_of(newline.join(["# a", "b", "", "- c", "```", "d", "```"])) == html_of(
        "# a\nb\n\n- c\n```\nd\n```"
    )


class TestLinks:
    @pytest.mark.parametrize(
        "address", ["https://a.example/x?y=1&z=2#f", "http://a.example", "mailto:a@b.example"]
    )
    def test_open_apart_and_tell_nothing(self, address: str) -> None:
        html = html_of(f"[text]({address})")

        assert f'href="{address}"'.replace("&", "&amp;") in html
        assert 'target="_blank" rel="noopener noreferrer nofollow"' in html

    def test_bare_addresses_become_links(self) -> None:
        html = html_of("see https://a.example, www.b.example and <https://c.example>")

        assert re.findall('href="([^"]*)"', html) == [
            "https://a.example",
            "http://www.b.example",
            "https://c.example",
        ]

    def test_an_address_in_brackets_may_start_a_block(self) -> None:
        assert 'href="https://a.example"' in html_of("<https://a.example>\n<https://b.example>")

    @pytest.mark.parametrize(
        "address", ["/logout", "chat/1", "#top", "//evil.example", "?q", "file:///etc/passwd", ""]
    )
    def test_other_addresses_leave_their_text_alone(self, address: str) -> None:
        assert html_of(f"[text]({address})") == '<p dir="auto">text</p>\n'

    def test_find_a_definition_in_an_earlier_block(self) -> None:
        html = html_of("[Ref One]: https://a.example 'title'\n\nSee [ref  one] and [this][REF ONE].")

        assert html.count('href="https://a.example"') == 2

    def test_keep_the_first_of_two_definitions(self) -> None:
        html = html_of("[r]: https://first.example\n\n[r]: https://second.example\n\n[r]")

        assert "first.example" in html

    def test_stay_as_typed_when_the_definition_comes_later(self) -> None:
        assert "See [ref]." in html_of("See [ref].\n\n[ref]: https://a.example")

    def test_definitions_alone_make_no_block(self) -> None:
        assert render_markdown("[r]: https://a.example") == []


class TestImages:
    def test_are_links_that_name_their_host(self) -> None:
        html = html_of("![A cat](https://cats.example/cat.png?u=1 'title')")

        assert "<img" not in html
        assert '<a class="image-link" href="https://cats.example/cat.png?u=1" target="_blank"' in html
        assert ">A cat (cats.example)</a>" in html

    def test_without_a_text_are_called_image(self) -> None:
        assert ">Image (cats.example)</a>" in html_of("![](https://cats.example/cat.png)")

    @pytest.mark.parametrize(
        "address", ["data:image/png;base64,AAAA", "/logout", "javascript:alert(1)", "http://[x"]
    )
    def test_from_nowhere_else_are_their_text(self, address: str) -> None:
        html = html_of(f"![A cat](<{address}>)")

        assert "href" not in html
        assert "A cat" in html

    def test_inside_a_link_do_not_nest_a_second_one(self) -> None:
        html = html_of("[![badge](https://img.example/b.svg)](https://site.example)")

        assert re.findall('href="([^"]*)"', html) == ["https://site.example"]
        assert "badge (img.example)" in html


class TestTables:
    SOURCE = "| left | mid | right |\n|:--|:-:|--:|\n| a\\|b | `c` | <b> |"

    def test_can_be_scrolled_sideways_by_keyboard(self) -> None:
        html = html_of(self.SOURCE)

        assert html.startswith(
            '<div class="table-scroll" role="group" tabindex="0" aria-label="Table"><table>'
        )
        assert html.strip().endswith("</table></div>")

    def test_keep_alignment_and_escaped_bars(self) -> None:
        html = html_of(self.SOURCE)

        assert re.findall('<td[^>]*align="([a-z]+)"', html) == ["left", "center", "right"]
        assert ">a|b</td>" in html
        assert "&lt;b&gt;" in html

    def test_right_after_a_paragraph_are_tables(self) -> None:
        assert "<table>" in html_of("Here it is:\n\n| a |\n|---|\n| 1 |\n\nafter")


def test_tasks_show_their_state_and_cannot_be_ticked() -> None:
    html = html_of("- [ ] open\n- [x] closed")

    assert html.count('<input type="checkbox" disabled=""') == 2
    assert '<input type="checkbox" disabled="" aria-label="To do"> open' in html
    assert '<input type="checkbox" disabled="" checked="" aria-label="Done"> closed' in html


class TestFootnotes:
    def test_numbers_are_raised_before_their_definition_is_known(self) -> None:
        html = html_of("Said[^1].\n\n[^1]: Who said it\n    and *where*.")

        assert 'Said<sup class="footnote-ref">1</sup>.' in html
        assert '<div class="footnote" dir="auto"><p dir="auto"><sup class="footnote-ref">1</sup> Who' in html
        assert "<em>where</em>" in html

    def test_words_are_raised_after_their_definition(self) -> None:
        html = html_of("Before[^note] and [^a-z].\n\n[^note]: The note.\n\nAfter[^note] and [^a-z].")

        assert "Before[^note]" in html
        assert 'After<sup class="footnote-ref">note</sup>' in html
        assert html.count("[^a-z]") == 2

    def test_are_linked_where_the_page_gives_an_anchor(self) -> None:
        html = html_of("Said[^1].\n\n[^1]: Note.\n\n[^1]: Again.", anchor="m7")

        assert '<a class="footnote-link" href="#note-m7-1"' in html
        assert html.count('id="note-m7-1"') == 1

    def test_marks_in_code_stay_code(self) -> None:
        assert "<code>[^1]</code>" in html_of("`[^1]`")


class TestMaths:
    @pytest.mark.parametrize("source", ["$x^2$", r"\(x^2\)", "a $x^2$, b"])
    def test_stands_in_the_line(self, source: str) -> None:
        html = html_of(source)

        assert (
            '<math display="inline" alttext="x^2"><mrow><msup><mi>x</mi><mn>2</mn></msup></mrow></math>'
            in html
        )

    @pytest.mark.parametrize(
        "source", ["$$x^2$$", "$$\nx^2\n$$", "\\[\nx^2\n\\]", r"\[x^2\]", "```math\nx^2\n```"]
    )
    def test_stands_alone(self, source: str) -> None:
        assert '<math display="block" alttext="x^2" tabindex="0">' in html_of(source)

    def test_on_lines_of_its_own_is_a_block(self) -> None:
        blocks = render_markdown("It is\n$$\na\n- b\n$$\nwhere")

        assert [("<math" in block) for block in blocks] == [False, True, False]

    def test_that_never_ends_is_a_paragraph(self) -> None:
        blocks = render_markdown("$$\na\n\nb")

        assert [words_of(block) for block in blocks] == ["$$\na\n", "b\n"]

    @pytest.mark.parametrize("tex", [r"\frac", "a^b^c", r"\begin{x}", "{" * 900, r"\left("])
    def test_that_cannot_be_converted_shows_its_source(self, tex: str) -> None:
        assert f'<code class="math">{tex}</code>' in html_of(f"$${tex}$$")

    def test_prices_are_not_formulas(self) -> None:
        assert "<math" not in html_of("It costs $5 and $10, or $ 3.")

    def test_much_of_it_shows_its_source(self) -> None:
        html = html_of(" ".join(f"$a_{{{number}}}$" for number in range(1500)))

        assert html.count("<math") + html.count('<code class="math">') == 1500
        assert html.count('<code class="math">') > 300


class TestCode:
    def test_is_a_figure_with_its_language(self) -> None:
        html = html_of("```Python title=x\nx = 1\n```")

        assert html == (
            '<figure class="code" data-lang="python" dir="ltr"><figcaption>Python</figcaption>'
            '<pre tabindex="0"><code>x <span class="o">=</span> <span class="m">1</span>\n</code></pre></figure>'
        )

    @pytest.mark.parametrize(
        "source", ["```\n<a> & 'b'\n```", "~~~ no-such-language\n<a> & 'b'\n~~~", "    <a> & 'b'"]
    )
    def test_without_a_known_language_is_plain(self, source: str) -> None:
        assert "<code>&lt;a&gt; &amp; 'b'\n</code>" in html_of(source)

    def test_keeps_every_character(self) -> None:
        source = "\n\n\tdef f():\n  return '<&>'  # \u00e9\r\n\n\n"

        html = html_of(f"```python\n{source}```")

        assert words_of(html.split("<code>")[1]) == "\n\n\tdef f():\n  return '&lt;&amp;&gt;'  # \u00e9\n\n\n"

    def test_may_be_empty(self) -> None:
        assert "<code></code>" in html_of("```\n```")

    def test_inside_a_list_looks_the_same(self) -> None:
        html = html_of("1. do\n\n   ```sh\n   ls\n   ```\n2. then")

        assert '<figure class="code" data-lang="sh" dir="ltr">' in html
        assert html.count("<ol") == 1

    def test_beside_a_list_splits_it_as_common_mark_says(self) -> None:
        blocks = render_markdown("1. do\n```\nls\n```\n2. then")

        assert [re.match(r"<(\w+)", block)[1] for block in blocks] == ["ol", "figure", "ol"]  # type: ignore[index]

    def test_with_an_open_fence_reaches_to_the_end(self) -> None:
        assert render_markdown("```\na\n\n# b")[0].endswith("<code>a\n\n# b\n</code></pre></figure>")

    def test_a_longer_fence_holds_a_shorter_one(self) -> None:
        assert len(render_markdown("````\n```\nx\n```\n````")) == 1

    def test_longer_than_the_limit_is_plain(self) -> None:
        assert "<span" not in html_of("```python\n" + "x = 1\n" * 4000 + "```")

    def test_is_plain_when_the_time_of_the_request_is_spent(self) -> None:
        html = "".join(render_markdown("```python\nspent = 1\n```", budget=ColourBudget(0)))

        assert "spent = 1" in html

    def test_plain_for_want_of_time_is_coloured_the_next_time(self) -> None:
        source = "```python\nlater = 1\n```"
        render_markdown(source, budget=ColourBudget(0))

        assert "<span" in html_of(source)
