"""TeX to MathML."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Final

from chatapp.services.render import limits
from chatapp.services.render.cache import HtmlCache, content_key

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_CACHE: Final = HtmlCache(limits.FORMULA_CACHE_BYTES)
_REFERENCE: Final = re.compile(r"&amp;(#x[0-9A-Fa-f]{1,6};)")


class FormulaAllowance:
    """How many characters of TeX one text may still have converted."""

    def __init__(self) -> None:
        self._left = limits.FORMULA_CHARACTERS_PER_TEXT

    def grants(self, tex: str) -> bool:
        """Take ``tex`` off the allowance; say ``False`` when it is too long or too much."""
        if len(tex) > limits.FORMULA_CHARACTERS:
            return False
        self._left -= len(tex) + 5
        return self._left >= 0


def formula(tex: str, *, display: bool, allowance: FormulaAllowance) -> str:
    """Return ``tex`` as a ``<math>`` element, or its source as ``<code class="math">`` when that fails."""
    tex = tex.strip()
    if not allowance.grants(tex):
        return _as_source(tex)
    key = content_key(tex, str(display))
    held = _CACHE.get(key)
    if held is None:
        held = (_convert(tex, display=display) or _as_source(tex),)
        _CACHE.put(key, held)
    return held[0]


def _as_source(tex: str) -> str:
    return f'<code class="math">{escape(tex)}</code>'


def _convert(tex: str, *, display: bool) -> str | None:
    from latex2mathml.converter import convert_to_element

    try:
        element = convert_to_element(tex, display="block" if display else "inline")
        element.set("alttext", tex)
        if display:
            element.set("tabindex", "0")  # a wide formula is scrolled sideways, by keyboard too
        return "".join(_serialized(element))
    except Exception:  # noqa: BLE001 - unfinished TeX raises almost anything, RecursionError included
        return None


def _serialized(element: Element) -> list[str]:
    """Write MathML with all text escaped: the converter's own writer lets ``\\text{<b>}`` through as an element."""
    attributes = "".join(f' {name}="{escape(value)}"' for name, value in element.items() if name != "xmlns")
    parts = [f"<{element.tag}{attributes}>", _escaped(element.text)]
    for child in element:
        parts += _serialized(child)
        parts.append(_escaped(child.tail))
    parts.append(f"</{element.tag}>")
    return parts


def _escaped(text: str | None) -> str:
    """Escape ``text`` but for the numbered character references in which the converter writes its symbols."""
    return _REFERENCE.sub(r"&\1", escape(text or ""))
