"""Code blocks: the figure around them, and the colours inside.

The markup of every code block, at top level or inside a list, finished or still open::

    <figure class="code" data-lang="python" dir="ltr">
      <figcaption>python</figcaption>
      <pre tabindex="0"><code>…</code></pre>
    </figure>

(without the line breaks and spaces shown here). The language is ``text`` where none was named. Coloured tokens
are ``<span class="k">`` and so on, see ``static/css/highlight.css``. The text content of ``code`` is the code.
"""

from __future__ import annotations

import re
from functools import lru_cache
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Final

from chatapp.ids import monotonic_s
from chatapp.offload import offload
from chatapp.services.render import limits
from chatapp.services.render.allowed import TOKEN_CLASSES
from chatapp.services.render.cache import HtmlCache, content_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pygments.lexer import Lexer

_CACHE: Final = HtmlCache(limits.COLOUR_CACHE_BYTES)
_LANGUAGE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+#.-]{0,39}")
_OFFLOAD_CHARACTERS: Final = 1_000


class ColourBudget:
    """Time for colouring that one request may still spend. Blocks found in the cache cost nothing."""

    def __init__(self, limit_ms: float = limits.COLOUR_BUDGET_MS) -> None:
        self._left_s = limit_ms / 1000

    @property
    def is_spent(self) -> bool:
        return self._left_s <= 0

    def spend(self, spent_s: float) -> None:
        self._left_s -= spent_s


def code_figure(source: str, language: str, budget: ColourBudget | None) -> str:
    """Return the figure for ``source``, coloured where the language is known and ``budget`` allows it.

    Args:
        source: the code, as it is shown.
        language: the word after the fence, as it was typed.
        budget: ``None`` leaves the code plain.
    """
    found = _LANGUAGE.match(language)
    name = found[0] if found else "text"
    inner = _coloured(source, name.lower(), budget) if budget else None
    return (
        f'<figure class="code" data-lang="{escape(name.lower())}" dir="ltr"><figcaption>{escape(name)}</figcaption>'
        f'<pre tabindex="0"><code>{escape(source) if inner is None else inner}</code></pre></figure>'
    )


def _coloured(source: str, language: str, budget: ColourBudget) -> str | None:
    """Return the tokens of ``source`` as HTML, or ``None`` when it is to stay plain."""
    if language not in _lexer_names() or len(source.encode()) > limits.COLOUR_BYTES:
        return None
    key = content_key(language, source)
    held = _CACHE.get(key)
    if held is None and not budget.is_spent:
        started_s = monotonic_s()
        # The caches' locks are taken on this side: under gevent the call runs on a real thread.
        run = offload if len(source) > _OFFLOAD_CHARACTERS else _here
        html = run(_colour, source, language)
        budget.spend(monotonic_s() - started_s)
        held = () if html is None else (html,)
        _CACHE.put(key, held)
    return held[0] if held else None


def _here(call: object, *arguments: str) -> str | None:
    return call(*arguments)  # type: ignore[operator,no-any-return]


def _colour(source: str, language: str) -> str | None:
    """Return coloured HTML, or ``None`` when the lexer needs too long or does not give back what it was given."""
    stop_at_s = monotonic_s() + limits.COLOUR_BLOCK_MS / 1000
    classed: list[tuple[str, str]] = []
    for token, text in _lexer(language).get_tokens(source):
        classed.append((_class_of(token), text))
        if monotonic_s() > stop_at_s:
            return None
    if "".join(text for _, text in classed) != source:
        return None
    return "".join(_spans(classed))


def _spans(classed: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, run in groupby(classed, key=lambda pair: pair[0]):
        text = escape("".join(piece for _, piece in run))
        yield f'<span class="{name}">{text}</span>' if name else text


@lru_cache(maxsize=512)
def _class_of(token: object) -> str:
    """Return the class of the token's nearest kind that has a colour, or an empty string."""
    from pygments.token import STANDARD_TYPES

    for kind in reversed(token.split()):  # type: ignore[attr-defined]
        name: str = STANDARD_TYPES.get(kind, "")
        if name in TOKEN_CLASSES:
            return name
    return ""


@lru_cache(maxsize=1)
def _lexer_names() -> dict[str, str]:
    """Return Pygments' own languages by alias. Asking Pygments for an unknown one would search all packages."""
    from pygments.lexers import get_all_lexers

    return {alias.lower(): name for name, aliases, _, _ in get_all_lexers(plugins=False) for alias in aliases}


def _lexer(language: str) -> Lexer:
    from pygments.lexers import find_lexer_class

    lexer_class = find_lexer_class(_lexer_names()[language])
    if lexer_class is None:
        raise LookupError(language)
    lexer: Lexer = lexer_class(stripnl=False, ensurenl=False)
    return lexer
