"""The last gate: only these elements and attributes reach a page, whatever the steps before it made."""

from __future__ import annotations

import re
from typing import Final

import nh3


def _names(text: str) -> set[str]:
    return set(text.split())


#: Pygments' short class names that have a colour in ``static/css/highlight.css``; other tokens stay bare.
TOKEN_CLASSES: Final = frozenset(
    _names("c cp k kc kt o ow s sd se si sr ss m nf nc nb bp nd ne nt na no nv gd gi gh gu gp gr gs ge err")
)

_TEXT_TAGS: Final = _names(
    "p br hr h3 h4 h5 h6 ul ol li blockquote em strong del sup code pre figure figcaption div span a input"
    " table thead tbody tr th td"
)
_MATH_ATTRIBUTES: Final[dict[str, set[str]]] = {
    "math": {"display", "alttext"},
    "mfrac": {"linethickness"},
    "menclose": {"notation"},
    "mi": {"mathvariant"},
    "mo": _names("stretchy fence separator form lspace rspace minsize maxsize movablelimits"),
    "mover": {"accent"},
    "mpadded": {"width", "height", "depth", "lspace", "voffset"},
    "mspace": {"width", "height", "depth", "linebreak"},
    "mstyle": {"displaystyle", "scriptlevel", "mathcolor", "mathsize"},
    "mtable": {"columnalign", "rowspacing", "columnspacing", "columnlines", "rowlines", "displaystyle"},
    "mtd": {"columnalign"},
    "munder": {"accentunder"},
}
_MATH_TAGS: Final = {
    *_names("mn mrow ms mtext msub msup msubsup msqrt mroot munderover mtr mphantom"),
    *_names("mmultiscripts mprescripts none"),
    *_MATH_ATTRIBUTES,
}
_BLOCK_DIRECTION: Final[dict[str, dict[str, set[str]]]] = {
    tag: {"dir": {"auto"}} for tag in _names("p h3 h4 h5 h6 ul ol li blockquote th td")
}
_SIDES: Final = {"left", "center", "right"}

ALLOWED_TAGS: Final = frozenset(_TEXT_TAGS | _MATH_TAGS)
ALLOWED_ATTRIBUTES: Final[dict[str, set[str]]] = {
    "a": {"href", "id"},
    "div": {"id", "aria-label"},
    "figure": {"data-lang"},
    "input": {"aria-label", "disabled", "checked"},
    "ol": {"start"},
    **_MATH_ATTRIBUTES,
}
ALLOWED_VALUES: Final[dict[str, dict[str, set[str]]]] = {
    **_BLOCK_DIRECTION,
    "a": {"target": {"_blank"}},
    "div": {"dir": {"auto"}, "role": {"group"}, "tabindex": {"0"}},
    "figure": {"dir": {"ltr"}},
    "input": {"type": {"checkbox"}},
    "math": {"tabindex": {"0"}},
    "pre": {"tabindex": {"0"}},
    "td": {"dir": {"auto"}, "align": _SIDES},
    "th": {"dir": {"auto"}, "align": _SIDES},
}
ALLOWED_CLASSES: Final[dict[str, set[str]]] = {
    "a": {"image-link", "footnote-link"},
    "code": {"math"},
    "div": {"table-scroll", "footnote"},
    "figure": {"code"},
    "li": {"task-list-item"},
    "p": {"plain"},
    "span": {"image-link", *TOKEN_CLASSES},
    "sup": {"footnote-ref"},
    "ul": {"contains-task-list"},
}
_OWN_ANCHOR: Final = re.compile(r"#note-[A-Za-z0-9_-]+")


def _own_anchor(url: str) -> str | None:
    """Let no relative address through but the anchors of footnotes."""
    return url if _OWN_ANCHOR.fullmatch(url) else None


_CLEANER: Final = nh3.Cleaner(
    tags=set(ALLOWED_TAGS),
    attributes=ALLOWED_ATTRIBUTES,
    tag_attribute_values=ALLOWED_VALUES,
    allowed_classes=ALLOWED_CLASSES,
    generic_attribute_prefixes=set(),
    url_schemes={"http", "https", "mailto"},
    url_relative=_own_anchor,
    link_rel="noopener noreferrer nofollow",
)


def clean(html: str) -> str:
    """Return ``html`` without anything that is not on the list. Safe to call from several threads."""
    return _CLEANER.clean(html)
