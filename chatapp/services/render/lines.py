"""What a single line of Markdown can be by its own characters. What it is where it stands: :mod:`.blocks`."""

from __future__ import annotations

import re
from typing import Final

FENCE: Final = re.compile(r" {0,3}(?:(`{3,})([^`]*)|(~{3,})(.*))$")
NESTED_FENCE: Final = re.compile(r"(?:[ >]|[-+*] |\d{1,9}[.)] )*(?:(`{3,})[^`]*|(~{3,}).*)$")
HEADING: Final = re.compile(r" {0,3}#{1,6}(?:[ \t]|$)")
RULE: Final = re.compile(r" {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$")
UNDERLINE: Final = re.compile(r" {0,3}=+[ \t]*$")
ITEM: Final = re.compile(r"( {0,3})([-+*]|(\d{1,9})[.)])(?:([ \t]+)(.*)|$)")
FOOTNOTE: Final = re.compile(r" {0,3}\[\^([^\]\s]{1,40})\]:[ \t]*")
QUOTE: Final = re.compile(r" {0,3}>")
_AUTOLINK: Final = re.compile(r" {0,3}<(?:[A-Za-z][A-Za-z0-9.+-]{1,31}:[^\s<>]*|[^\s<>@]+@[^\s<>]+)>")
TAG: Final = re.compile(r" {0,3}<[A-Za-z/!?]")
BLOCK_TAG: Final = re.compile(
    r" {0,3}<(?:[!?]|/?(?:address|article|aside|base|basefont|blockquote|body|caption|center|col|colgroup|dd|details"
    r"|dialog|dir|div|dl|dt|fieldset|figcaption|figure|footer|form|frame|frameset|h[1-6]|head|header|hr|html|iframe"
    r"|legend|li|link|main|menu|menuitem|nav|noframes|ol|optgroup|option|p|param|pre|script|search|section|style"
    r"|summary|table|tbody|td|textarea|tfoot|th|thead|title|tr|track|ul)(?:[\s/>]|$))",
    re.IGNORECASE,
)
MATH_ENDS: Final = {"$$": "$$", r"\[": r"\]"}


def indent_of(line: str) -> int:
    """Return how many columns are blank at the start of ``line``; a tab reaches to the next multiple of four."""
    body_at = len(line) - len(line.lstrip(" \t"))
    return len(line[:body_at].expandtabs(4))


def closes_fence(line: str, fence: str) -> bool:
    bare = line.strip(" \t")
    return bare.startswith(fence) and not bare.strip(fence[0])


def is_math_start(line: str) -> bool:
    if indent_of(line) > 3:
        return False
    stripped = line.strip()
    if stripped in MATH_ENDS:
        return True
    end = MATH_ENDS.get(stripped[:2])
    return end is not None and len(stripped) > 4 and stripped.find(end, 2) == len(stripped) - 2


def item_of(line: str) -> re.Match[str] | None:
    return None if RULE.match(line) else ITEM.match(line)


def content_offset(item: re.Match[str]) -> int:
    """Return the column in which the content of a list item starts, as CommonMark counts it."""
    marker_end = len(item[1]) + len(item[2])
    content_at = len(item[0][: marker_end + len(item[4] or "")].expandtabs(4))
    return content_at if item[5] and content_at - marker_end < 5 else marker_end + 1


def without_html(line: str, tag: re.Pattern[str]) -> str:
    """Return ``line`` so that it does not start a block of HTML but shows the same characters."""
    if tag.match(line) and not _AUTOLINK.match(line):
        return line.replace("<", r"\<", 1)
    return line


def is_leaf_start(line: str) -> bool:
    """Say whether ``line`` starts a block that ends any paragraph before it."""
    return bool(FENCE.match(line) or HEADING.match(line) or FOOTNOTE.match(line)) or is_math_start(line)
