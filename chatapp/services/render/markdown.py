"""One block of Markdown to safe HTML: comrak, then a pass over its tags, then the allow-list.

What the pass changes: headings move down (the page owns the first two levels; models begin with the first or the
second of theirs); links lead to http, https and mailto only and open apart, anything else is its text; an image
becomes a link that names its host, so that nothing is loaded by itself; tables can be scrolled sideways; formulas
become MathML; footnote marks become raised numbers.
A line break in the source stays a line break: people and models mean it in a chat.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape, unescape
from typing import Final
from urllib.parse import urlsplit

import comrak

from chatapp.services.render import limits
from chatapp.services.render.highlight import ColourBudget, code_figure
from chatapp.services.render.maths import FormulaAllowance, formula

_TOKEN: Final = re.compile(
    r'(?P<pre><pre><code(?: class="language-(?P<language>[^"]*)")?(?: data-math-style="display")?>'
    r"(?P<source>[^<]*)</code></pre>)"
    r"|(?P<inline><code>[^<]*</code>)"
    r'|(?P<math><span data-math-style="(?P<style>[a-z]+)">(?P<tex>[^<]*)</span>)'
    r'|(?P<image><img src="(?P<address>[^"]*)" alt="(?P<alt>[^"]*)"[^>]*>)'
    r'|(?P<link><a href="(?P<href>[^"]*)"[^>]*>)'
    r"|(?P<tag><(?P<end>/?)(?P<name>[a-z][a-z0-9]*)(?P<rest>[^>]*)>)"
    r"|(?P<note>\[\^(?P<label>[^\]\s<]{1,40})\])"
)
_HEADINGS: Final = {"h1": "h3", "h2": "h3", "h3": "h4", "h4": "h5", "h5": "h6", "h6": "h6"}
_AUTO_DIRECTION: Final = frozenset({"p", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "th", "td"})
_VOID: Final = frozenset({"br", "hr", "input"})
_ADDRESS: Final = re.compile(r"(?:https?://|mailto:)[^\x00-\x20]+", re.IGNORECASE)
_SURE_NOTE: Final = re.compile(r"\d{1,3}")


class TooDeep(Exception):
    """The block nests more elements than a page can hold."""


@dataclass
class Document:
    """What the blocks of one text share while they are rendered in order.

    Attributes:
        anchor: makes the ids of footnotes unique on a page (letters, digits, ``_``, ``-``); empty: no links.
        links: definitions of link targets seen so far, by folded label, as source lines.
        notes: labels of footnotes defined so far.
    """

    anchor: str = ""
    links: dict[str, str] = field(default_factory=dict)
    notes: set[str] = field(default_factory=set)
    formulas: FormulaAllowance = field(default_factory=FormulaAllowance)


def _extension_options() -> comrak.ExtensionOptions:
    options = comrak.ExtensionOptions()
    options.table = True
    options.tasklist = True
    options.strikethrough = True
    options.autolink = True
    options.math_dollars = True
    options.math_latex = True
    return options


def _render_options() -> comrak.RenderOptions:
    options = comrak.RenderOptions()
    options.escape = True
    options.hardbreaks = True
    options.tasklist_classes = True
    return options


_EXTENSIONS: Final = _extension_options()
_OPTIONS: Final = _render_options()


def is_risky(source: str) -> bool:
    """Say whether rendering ``source`` could take long: by its length, its marks, or its tables' cells."""
    if len(source) > limits.BLOCK_CHARACTERS:
        return True
    if source.count(r"\(") + source.count(r"\[") + source.count("@") > limits.SEARCHED_MARKS:
        return True
    if source.count("|") < 2:
        return False
    columns = max(line.count("|") for line in source.split("\n"))
    return columns * (source.count("\n") + 1) > limits.TABLE_CELLS


def markdown_html(source: str, document: Document, budget: ColourBudget | None) -> str:
    """Return ``source`` as HTML that still has to pass the allow-list.

    Raises:
        TooDeep: the block has to be shown as plain text.
    """
    html = comrak.render_markdown(source, _EXTENSIONS, None, _OPTIONS)
    return _Pass(document, budget).run(html)


class _Pass:
    """One walk over comrak's tags. Its output escapes ``<`` in all text, so that every ``<`` begins a tag."""

    def __init__(self, document: Document, budget: ColourBudget | None) -> None:
        self._document = document
        self._budget = budget
        self._depth = 0
        self._link_ends: list[str] = []
        self._task_done = False

    def run(self, html: str) -> str:
        return _TOKEN.sub(self._replace, html)

    def _replace(self, token: re.Match[str]) -> str:
        match token.lastgroup:
            case "tag":
                return self._tag(token["name"], token["rest"], ends=bool(token["end"]))
            case "link":
                return self._link(unescape(token["href"]))
            case "image":
                return self._image(unescape(token["address"]), token["alt"])
            case "pre":
                source, language = unescape(token["source"]), unescape(token["language"] or "")
                return code_html(source, language, self._document, self._budget)
            case "math":
                display = token["style"] == "display"
                return formula(unescape(token["tex"]), display=display, allowance=self._document.formulas)
            case "note":
                return self._note_mark(token)
            case _:
                return token[0]

    def _tag(self, name: str, rest: str, *, ends: bool) -> str:
        name = _HEADINGS.get(name, name)
        if name == "input":
            return _checkbox(is_done="checked" in rest)
        if name == "a":
            return self._link_ends.pop() if self._link_ends else ""
        if name not in _VOID:
            self._measure(-1 if ends else 1)
        if ends:
            return f"</{name}></div>" if name == "table" else f"</{name}>"
        if name == "table":
            return '<div class="table-scroll" role="group" tabindex="0" aria-label="Table"><table>'
        direction = ' dir="auto"' if name in _AUTO_DIRECTION else ""
        return f"<{name}{direction}{rest}>"

    def _measure(self, step: int) -> None:
        self._depth += step
        if self._depth > limits.DEPTH:
            raise TooDeep

    def _link(self, href: str) -> str:
        allowed = _ADDRESS.fullmatch(href) is not None
        self._link_ends.append("</a>" if allowed else "")
        return f'<a href="{escape(href)}" target="_blank">' if allowed else ""

    def _image(self, address: str, alt: str) -> str:
        host = _host_of(address)
        label = f"{alt or 'Image'} ({escape(host)})" if host else alt or "Image"
        if not host or self._link_ends:
            return f'<span class="image-link">{label}</span>'
        return f'<a class="image-link" href="{escape(address)}" target="_blank">{label}</a>'

    def _note_mark(self, token: re.Match[str]) -> str:
        label = unescape(token["label"])
        if not (_SURE_NOTE.fullmatch(label) or label in self._document.notes):
            return token[0]
        anchor = note_anchor(self._document, label)
        if not anchor or self._link_ends:
            return f'<sup class="footnote-ref">{token["label"]}</sup>'
        link = f'<a class="footnote-link" href="#{anchor}">{token["label"]}</a>'
        return f'<sup class="footnote-ref">{link}</sup>'


def code_html(source: str, language: str, document: Document, budget: ColourBudget | None) -> str:
    """Return the figure of a code block, or the formula when the language is ``math``."""
    if language != "math":
        return code_figure(source, language, budget)
    return f'<p dir="auto">{formula(source, display=True, allowance=document.formulas)}</p>'


def note_anchor(document: Document, label: str) -> str:
    """Return the id of a footnote on the page, or an empty string when there are to be no links."""
    if not document.anchor or not re.fullmatch(r"[A-Za-z0-9_-]+", label):
        return ""
    return f"note-{document.anchor}-{label}"


def _checkbox(*, is_done: bool) -> str:
    state = 'checked aria-label="Done"' if is_done else 'aria-label="To do"'
    return f'<input type="checkbox" disabled {state}>'


def _host_of(address: str) -> str:
    """Return the host of an http address, or an empty string."""
    if not re.match(r"https?://", address, re.IGNORECASE) or not _ADDRESS.fullmatch(address):
        return ""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def wanted_links(source: str, links: Mapping[str, str]) -> str:
    """Return the definitions that ``source`` may refer to, to be put in front of it; empty when there are none."""
    if not links or "[" not in source:
        return ""
    labels = {fold_label(label) for label in re.findall(r"\[([^\[\]]{1,200})\]", source)}
    lines = [line for label, line in links.items() if label in labels]
    return "\n".join([*lines, "", ""]) if lines else ""


def fold_label(label: str) -> str:
    """Return a link label as CommonMark compares it: case and runs of white space do not count."""
    return " ".join(label.split()).casefold()
