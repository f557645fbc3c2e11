"""Text that was written to do harm: to the reader's page, or to the server's time."""

from __future__ import annotations

import threading
from html.parser import HTMLParser

import nh3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatapp.services.render import BlockStream, ColourBudget, render_markdown
from chatapp.services.render.allowed import (
    ALLOWED_ATTRIBUTES,
    ALLOWED_CLASSES,
    ALLOWED_TAGS,
    ALLOWED_VALUES,
    clean,
)

PAYLOADS = [
    "<script>alert(1)</script>",
    "<ScRiPt src=//evil.example></sCrIpT>",
    "<script\n>alert(1)</script\n>",
    "<<script>alert(1)//<</script>",
    "</p><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '<img src="x" onerror="alert(1)"/>',
    "<IMG/SRC=x/ONERROR=alert(1)>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><a xlink:href='javascript:alert(1)'><text>x</text></a></svg>",
    "<svg><animate onbegin=alert(1) attributeName=x>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<math><maction actiontype='statusline#http://evil' xlink:href='javascript:alert(1)'>x</maction></math>",
    "<math href='javascript:alert(1)'>x</math>",
    "<iframe src='javascript:alert(1)'></iframe>",
    "<iframe srcdoc='&lt;script>alert(1)&lt;/script>'>",
    "<object data='data:text/html,<script>alert(1)</script>'>",
    "<embed src=javascript:alert(1)>",
    "<form action=javascript:alert(1)><button>x</button></form>",
    "<input autofocus onfocus=alert(1)>",
    "<details open ontoggle=alert(1)>x</details>",
    "<body onload=alert(1)>",
    "<style>@import 'http://evil.example/x.css';</style>",
    "<link rel=stylesheet href=//evil.example>",
    "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>",
    "<base href=javascript:alert(1)//>",
    "<div style='position:fixed;inset:0'>x</div>",
    "<a href='javascript:alert(1)'>x</a>",
    "<!--><script>alert(1)</script>-->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?xml-stylesheet href='javascript:alert(1)'?>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<template><script>alert(1)</script></template>",
    "<textarea></textarea><script>alert(1)</script>",
    "<xmp><script>alert(1)</script></xmp>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](java&#10;script:alert(1))",
    "[x](java&NewLine;script:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](&#x6A;avascript&colon;alert(1))",
    "[x](javascript&#58;alert(1))",
    "[x](\x01javascript:alert(1))",
    "[x](<\u00a0javascript:alert(1)>)",
    "[x](vbscript:msgbox(1))",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](DATA:text/html,<script>alert(1)</script>)",
    "[x](blob:http://a/b) [y](file:///etc/passwd) [z](view-source:x)",
    '[x](http://a.example/"onmouseover=alert(1)//)',
    "[x](<http://a.example/ onclick=alert(1)>)",
    "[x](http://a.example 'a\" onclick=\"alert(1)')",
    "[x]\n\n[x]: javascript:alert(1)",
    "[x]: javascript:alert(1)\n\n[x]",
    "<javascript:alert(1)>",
    "javascript:alert(1)",
    "![x](javascript:alert(1))",
    '![x" onerror="alert(1)](http://a.example/x.png)',
    '![x](http://a.example/x.png"onerror=alert(1))',
    "![<script>alert(1)</script>](http://a.example/x.png)",
    "[![x](javascript:a)](javascript:b)",
    "`<script>alert(1)</script>`",
    "```\n</code></pre><script>alert(1)</script>\n```",
    "```html\n<script>alert(1)</script>\n```",
    '```x" onclick="alert(1)\ncode\n```',
    "~~~ <script>alert(1)</script>\ncode\n~~~",
    '- ```"><script>alert(1)</script>\n  code\n  ```',
    "| <script>alert(1)</script> |\n|---|\n| <img src=x onerror=alert(1)> |",
    "# <script>alert(1)</script>",
    "> <script>alert(1)</script>",
    "- [ ] <input onfocus=alert(1)>",
    r"$\text{<script>alert(1)</script>}$",
    r"$\text{&lt;script&gt;alert(1)&lt;/script&gt;}$",
    r"$\href{javascript:alert(1)}{x}$",
    r"$\style{background:url(javascript:alert(1))}{x}$",
    r"$\class{table-scroll}{x}$ $\id{x}{y}$ $\cssId{a}{b}$",
    r"$\unicode{<script>}$ $\color{red;background:url(//evil)}{x}$",
    "$$\n</math><script>alert(1)</script>\n$$",
    r'$\mathrm{" onclick="alert(1)}$',
    '[^1"><script>]: x\n\nsee [^1"><script>]',
    "[^<img/src=x/onerror=alert(1)>]: note\n\n[^<img/src=x/onerror=alert(1)>]",
    "{{7*7}}{% include '/etc/passwd' %}${7*7}<%= 7*7 %>",
    "\x00<script>alert(1)</script>",
    "<scr\x00ipt>alert(1)</script>",
    "\ufeff<script>alert(1)</script>",
    "\uff1cscript\uff1ealert(1)\uff1c/script\uff1e",
    "event: done\ndata: {}\n\ndata: <script>alert(1)</script>",
]
WRAPPERS = [
    "{}",
    "text {} text",
    "- {}",
    "> {}",
    "**{}**",
    "[{}](http://a.example)",
    "| {} |\n|---|\n| x |",
    "[^1]: {}",
]


class Elements(HTMLParser):
    """Collects what a page would hold: elements with their attributes, comments, declarations."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.others: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def handle_comment(self, data: str) -> None:
        self.others.append(data)

    def handle_decl(self, decl: str) -> None:
        self.others.append(decl)

    handle_pi = unknown_decl = handle_comment


def unexpected_in(html: str) -> list[str]:
    """Name everything in ``html`` that is not on the allow-list, attribute values included."""
    elements = Elements(html)
    odd = list(elements.others)
    for tag, attributes in elements.found:
        odd += [tag] if tag not in ALLOWED_TAGS else []
        odd += [
            f"{tag} {name}={value}" for name, value in attributes.items() if not is_allowed(tag, name, value)
        ]
    return odd


def is_allowed(tag: str, name: str, value: str) -> bool:
    if name == "class":
        return set(value.split()) <= ALLOWED_CLASSES.get(tag, set())
    if name == "href":
        return tag == "a" and value.lower().startswith(("http://", "https://", "mailto:", "#note-"))
    if (tag, name, value) == ("a", "rel", "noopener noreferrer nofollow"):
        return True
    return name in ALLOWED_ATTRIBUTES.get(tag, set()) or value in ALLOWED_VALUES.get(tag, {}).get(name, set())


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("payload", PAYLOADS)
def test_an_attack_leaves_nothing_but_known_elements(payload: str, wrapper: str) -> None:
    html = "".join(render_markdown(wrapper.format(payload), anchor="m1"))

    assert unexpected_in(html) == []
    assert clean(html) == html


@pytest.mark.parametrize("payload", PAYLOADS)
def test_an_attack_on_the_open_end_leaves_nothing_but_known_elements(payload: str) -> None:
    stream = BlockStream()
    tails = []
    for character in payload:
        stream.add(character)
        tails.append(stream.open_html())

    assert [odd for tail in tails for odd in unexpected_in(tail)] == []


MARKS = """\
< > </ /> " ' ` $ $$ [ ]( ) ! &lt; &#60; javascript: http://x <b> <script> onclick= <!-- --> | [^1]
\\ \\text{ } \\href{"""


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([" ", "\n", "```\n", *MARKS.split()]), max_size=30).map("".join))
def test_no_mixture_of_marks_leaves_anything_but_known_elements(text: str) -> None:
    html = "".join(render_markdown(text, anchor="m1"))

    assert unexpected_in(html) == []
    assert clean(html) == html


@pytest.mark.parametrize(
    "payload", ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<b>&lt;</b>"]
)
def test_raw_html_is_all_there_to_read(payload: str) -> None:
    html = "".join(render_markdown(payload.replace("&", "&amp;")))

    assert nh3.clean(html, tags=set()).strip() == payload.replace("&", "&amp;").replace("<", "&lt;").replace(
        ">", "&gt;"
    )


def test_the_last_gate_stands_alone() -> None:
    html = clean(
        '<a href="/logout" id="x" onclick="y">t</a><a href="#note-a-1">u</a><div class="modal" role="dialog">v</div>'
        '<input type="text"><p dir="rtl">w</p><script>x</script><img src="http://a"><mrow href="http://b"></mrow>'
    )

    rel = "noopener noreferrer nofollow"
    assert Elements(html).found == [
        ("a", {"id": "x", "rel": rel}),
        ("a", {"href": "#note-a-1", "rel": rel}),
        ("div", {"class": ""}),
        ("input", {}),
        ("p", {}),
    ]


PLAIN_BOMBS = {
    "nested quotes": ">" * 10_000 + "a",
    "nested lists": "- " * 10_000 + "a",
    "nested numbers": "1. " * 10_000 + "a",
    "lists ever deeper": "".join("  " * depth + "- a\n" for depth in range(1000)),
    "nested emphasis": "*" * 10_000 + "a" + "*" * 10_000,
    "emphasis in emphasis": "*a _b " * 5_000 + "c" + " b_ a*" * 5_000,
    "a megabyte of table": "| a | b |\n|---|---|\n" + "| 1 | 2 |\n" * 100_000,
    "a wide table with empty rows": "|a" * 5_000 + "|\n" + "|-" * 5_000 + "|\n" + "|\n" * 10_000,
    "fifty thousand bars": "|" * 50_000,
    "a megabyte without a space": "a" * 1_000_000,
    "open tex": "\\(" * 25_000,
    "addresses": "a@b.c " * 9_000,
    "items": "- a\n" * 100_000,
}


@pytest.mark.parametrize("text", PLAIN_BOMBS.values(), ids=PLAIN_BOMBS)
def test_what_would_take_too_long_is_plain_text(text: str) -> None:
    blocks = render_markdown(text)

    assert len(blocks) == 1
    assert blocks[0].startswith('<p class="plain" dir="auto">')
    assert blocks[0].count("&gt;" if ">" in text else "a") >= text.count(">" if ">" in text else "a")


BOMBS = {
    "letters": "a" * 50_000,
    "stars": "*" * 50_000,
    "brackets": "[" * 50_000,
    "bangs": "![" * 25_000,
    "backticks": "".join("`" * length + " " for length in range(1, 300)),
    "underscores": "_a" * 25_000,
    "dollars": "$a " * 20_000,
    "angles": "<" * 50_000,
    "html": "<div>\n" * 50_000,
    "links": "[a](" * 10_000,
    "an open fence": "```\n" + "x\n" * 300_000,
    "open fences": "```\n" * 100_001,
    "coloured fences": "```py\nx\n```\n" * 20_000,
    "blank lines": "\n" * 500_000 + "x",
    "blocks": "a\n\n" * 100_000,
    "headings": "# a\n" * 100_000,
    "tabs": "\t" * 200_000 + "x",
    "definitions": "\n\n".join(f"[a{n}]: http://x/{n}" for n in range(500))
    + "\n\n"
    + "[a1] [a2]\n\n" * 2_000,
    "notes": "[^1]: x\n" * 50_000,
    "formulas": "".join(f"$a_{n}$ " for n in range(8_000)),
    "deep formula": "$" + "{" * 450 + "}" * 450 + "$",
    "tex fractions": "$$" + "\\frac{" * 150 + "$$",
    "one long lexed line": "```python\n" + '"' * 19_000 + "\n```",
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_a_bomb_leaves_a_page_of_bounded_size(text: str) -> None:
    html = "".join(render_markdown(text))

    assert len(html) <= 2_500_000
    assert unexpected_in(html) == []


@pytest.mark.parametrize("text", [*PLAIN_BOMBS.values(), *BOMBS.values()], ids=[*PLAIN_BOMBS, *BOMBS])
def test_a_bomb_can_be_streamed(text: str) -> None:
    stream = BlockStream(budget=ColourBudget(0))
    count = 0
    for start in range(0, len(text), 30_000):
        count += len(stream.add(text[start : start + 30_000]))
        stream.tail()
    count += len(stream.finish())

    assert count == len(render_markdown(text, budget=ColourBudget(0)))


def test_a_small_stack_is_enough_for_deep_nesting() -> None:
    texts = [
        ">" * 9_000,
        "- " * 9_000,
        "*a _b " * 4_000 + " b_ a*" * 4_000,
        "$" + "{" * 400 + "}" * 400 + "$",
    ]
    rendered: list[list[str]] = []
    thread = threading.Thread(target=lambda: rendered.extend(render_markdown(text) for text in texts))

    held_bytes = threading.stack_size(512 * 1024)
    thread.start()
    threading.stack_size(held_bytes)
    thread.join()

    assert len(rendered) == len(texts)


def test_many_threads_get_what_one_gets() -> None:
    texts = [f"# {n}\n\n```python\nx = {n}\n```\n\n$x^{n}$ [a](http://b/{n})" for n in range(30)]
    expected = [render_markdown(text, budget=ColourBudget(10_000)) for text in texts]
    found: list[list[list[str]]] = []

    def render_all() -> None:
        found.append([render_markdown(text + "\n", budget=ColourBudget(10_000)) for text in texts])

    threads = [threading.Thread(target=render_all) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [expected] * 8
