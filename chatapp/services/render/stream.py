"""Rendering a text block by block, in one go or while it is being written."""

from __future__ import annotations

import re
from dataclasses import replace
from html import escape
from typing import Final

from chatapp.services.render import limits
from chatapp.services.render.allowed import clean
from chatapp.services.render.blocks import Block, BlockScanner, Kind
from chatapp.services.render.cache import HtmlCache, content_key
from chatapp.services.render.heal import heal
from chatapp.services.render.highlight import ColourBudget, code_figure
from chatapp.services.render.markdown import (
    Document,
    TooDeep,
    code_html,
    fold_label,
    is_risky,
    markdown_html,
    note_anchor,
    wanted_links,
)
from chatapp.services.render.maths import FormulaAllowance

_CACHE: Final = HtmlCache(limits.TEXT_CACHE_BYTES)
_UNSHOWABLE: Final = re.compile(r"[\x00\ud800-\udfff]")
_LINK_DEFINITION: Final = re.compile(
    r" {0,3}\[((?:[^\[\]\\]|\\.){1,200})\]:[ \t]*(?:<[^<>\n]*>|[^\s<][^\s]*)"
    r"(?:[ \t]+(?:\"[^\"\n]*\"|'[^'\n]*'|\([^()\n]*\)))?[ \t]*$"
)


def render_markdown(text: str, *, anchor: str = "", budget: ColourBudget | None = None) -> list[str]:
    """Return the safe HTML of each top-level block of ``text``, in order; an empty list for blank text.

    A reference link finds its target when the definition stands in an earlier block, or in its own, first line
    on; what is defined later stays as typed, because a finished block never changes. A footnote mark with a
    number is always raised, one with a word when its definition stood before; definitions stay where they are.
    Lone surrogates and NUL show as U+FFFD. Safe to call from several threads.

    Args:
        anchor: letters, digits, ``_`` and ``-`` that make the ids of footnotes unique on the page, for example
            the message's id; without it footnotes are not linked.
        budget: share one between all texts of a request; without it this text has the time of a whole request.
            What was not coloured for want of time is not remembered, so the next request does more of it.
    """
    key = content_key(text, anchor)
    held = _CACHE.get(key)
    if held is None:
        budget = budget or ColourBudget()
        stream = BlockStream(anchor=anchor, budget=budget)
        held = tuple(html for _, html in stream.add(text) + stream.finish())
        if not budget.is_spent:
            _CACHE.put(key, held)
    return list(held)


class BlockStream:
    """Renders a reply while it is written. For one thread at a time.

    Whatever the pieces, the blocks from :meth:`add` and :meth:`finish` are those of :func:`render_markdown` on
    the whole text (only the colours inside code may be missing on one side, when time for them ran out). Indices
    count from 0 without gaps, and a block that was returned never changes.

    What a page does: append each piece to the open part as text; replace the open part by each tail; when blocks
    come, put them in place and empty the open part. So after :meth:`add` returned blocks, ask :meth:`tail` at
    once, because the last piece may have begun the next block; otherwise at most a few times a second.
    """

    def __init__(self, *, anchor: str = "", budget: ColourBudget | None = None) -> None:
        self._scanner = BlockScanner()
        self._document = Document(anchor)
        self._budget = budget
        self._rest: list[str] = []
        self._count = 0
        self._open_length = 0
        self._tail_length = -1
        self._fence_shown = False

    def add(self, text: str) -> list[tuple[int, str]]:
        """Take the next piece; return the blocks that it finished, as ``(index, html)``."""
        self._rest.append(_UNSHOWABLE.sub("\ufffd", text))
        self._open_length += len(text)
        if "\n" not in text:
            return []
        lines, _, rest = "".join(self._rest).rpartition("\n")
        self._rest = [rest]
        blocks = self._scanner.feed(lines + "\n")
        return self._rendered(blocks) if blocks else []

    def finish(self) -> list[tuple[int, str]]:
        """End the text; return what was still open as finished blocks. Nothing may be added afterwards."""
        rest = "".join(self._rest)
        self._rest = []
        blocks = self._scanner.feed(rest + "\n") if rest else []
        return self._rendered(blocks + self._scanner.finish())

    def tail(self) -> str | None:
        """Return the HTML of the open part, or ``None`` while the page goes on appending the pieces as text.

        ``None`` comes when nothing was added since the last call or the last blocks, while code is open whose
        figure was returned before, and for a very long open block until it has grown by an eighth. An empty string
        comes when what was added shows nothing by itself, like the first mark of a heading or a link's definition.
        """
        if self._scanner.in_fence:
            if self._fence_shown:
                return None
            self._fence_shown = True
        elif not self._is_tail_due():
            return None
        self._tail_length = self._open_length
        return self.open_html()

    def open_html(self) -> str:
        """Return the HTML of the open part as it stands, with unfinished Markdown healed; empty when there is none."""
        rest = "".join(self._rest)
        if self._scanner.in_fence:
            rest = self._scanner.dedented(rest)
        source = self._scanner.open_source() + rest
        if self._scanner.in_fence:
            return clean(code_figure(source, self._scanner.language, None))
        if not source.strip():
            return ""
        if self._scanner.is_plain:
            return clean(_plain(source))
        # What is only looked at must not use up the allowance of the blocks to come.
        document = replace(self._document, formulas=FormulaAllowance())
        return clean(_markdown(heal(source, in_math=self._scanner.in_math), document, None))

    def _is_tail_due(self) -> bool:
        grown = self._open_length - self._tail_length
        if self._open_length <= limits.TAIL_CHARACTERS:
            return grown > 0
        return grown * 8 >= self._open_length

    def _rendered(self, blocks: list[Block]) -> list[tuple[int, str]]:
        budget = self._budget or ColourBudget()
        done: list[tuple[int, str]] = []
        for block in blocks:
            html = clean(self._html_of(block, budget))
            self._remember(block)
            if html.strip():
                done.append((self._count, html))
                self._count += 1
        self._open_length = sum(map(len, self._rest)) + len(self._scanner.open_source())
        self._tail_length = 0 if done else -1
        self._fence_shown = False
        return done

    def _html_of(self, block: Block, budget: ColourBudget) -> str:
        source = block.source
        match block.kind:
            case Kind.CODE:
                return code_html(source, block.name, self._document, budget)
            case Kind.MATH:
                return code_html(source, "math", self._document, None)
            case Kind.FOOTNOTE:
                return self._footnote(source, block.name, budget)
            case Kind.PLAIN:
                return _plain(source)
            case _:
                return _markdown(source, self._document, budget)

    def _footnote(self, source: str, label: str, budget: ColourBudget) -> str:
        anchor = note_anchor(self._document, label)
        identity = f' id="{anchor}"' if anchor and label not in self._document.notes else ""
        content = re.sub(r"(?m)^(?: {1,4}|\t)", "", source)
        mark = f'<sup class="footnote-ref">{escape(label)}</sup>'
        html = _markdown(content, self._document, budget)
        html = html.replace(">", f">{mark} ", 1) if html.startswith("<p") else mark + html
        return f'<div class="footnote" dir="auto"{identity}>{html}</div>'

    def _remember(self, block: Block) -> None:
        """Keep what later blocks may refer to."""
        if block.kind is Kind.FOOTNOTE:
            self._document.notes.add(block.name)
        elif block.kind is Kind.MARKDOWN and block.source.lstrip(" ").startswith("["):
            for line in block.source.split("\n"):
                found = _LINK_DEFINITION.match(line)
                if not found or len(self._document.links) >= limits.LINK_DEFINITIONS:
                    break
                self._document.links.setdefault(fold_label(found[1]), line.strip())


def _markdown(source: str, document: Document, budget: ColourBudget | None) -> str:
    if is_risky(source):
        return _plain(source)
    try:
        return markdown_html(wanted_links(source, document.links) + source, document, budget)
    except TooDeep:
        return _plain(source)


def _plain(source: str) -> str:
    """Return ``source`` as a paragraph; the style sheet keeps the line breaks where there are too many elements."""
    text = escape(source.strip("\n"))
    if text.count("\n") <= limits.PLAIN_BREAKS:
        text = text.replace("\n", "<br>")
    return f'<p class="plain" dir="auto">{text}</p>'
