"""Makes Markdown that is still being written look as it will look when it is complete.

Only for display while a reply runs; a finished block is rendered from its source as it stands.
"""

from __future__ import annotations

import re
from typing import Final

_DANGLING_LINE: Final = re.compile(
    r"(?:^|\n)[ \t>]*(?:#{1,6}|[-+*]|\d{1,9}[.)]?|-+|=+|`{1,2}|`{3,}[^`\n]*|~{1,2}|~{3,}[^~\n]*|[-+*] \[[ xX]?)[ \t]*$"
)
_FENCE_LINE: Final = re.compile(r"(?m)^(?:[-+*>] |\d{1,9}[.)] |[ \t])*(`{3,}|~{3,})")
_OPEN_LINK: Final = re.compile(r"!?\[([^\[\]\n]*)(?:\](?:\([^()\n]*)?)?$")
_INLINE: Final = re.compile(r"\\.|(`+)|(\*\*|__|~~|[*_])")
_OPEN_MARKS: Final = 20


def heal(source: str, *, in_math: bool = False) -> str:
    """Return ``source`` with open emphasis, code, links and tables closed and dangling markers left away.

    Args:
        in_math: the source is display maths without its end; it is shown as code until the end has come.
    """
    if in_math:
        return f"~~~~~~tex\n{source.strip().strip('$')}\n~~~~~~"
    source = _DANGLING_LINE.sub("", source)
    if len(_FENCE_LINE.findall(source)) % 2:
        return source
    head_at = source.rfind("\n\n") + 1
    return source[:head_at] + _healed_end(source[head_at:].rstrip())


def _healed_end(text: str) -> str:
    first_at = len(text) - len(text.lstrip("\n"))
    lines = text[first_at:].split("\n")
    if lines[0].lstrip().startswith("|"):
        return text[:first_at] + "\n".join(_healed_table(lines))
    line_at = _last_item_at(text)
    return text[:line_at] + _healed_inline(text[line_at:])


def _last_item_at(text: str) -> int:
    """Return where the last item of a list begins, because emphasis does not reach from one to the next."""
    starts = [found.end() for found in re.finditer(r"(?m)^[ \t>]*(?:[-+*]|\d{1,9}[.)])[ \t]+", text)]
    return starts[-1] if starts else 0


def _healed_table(lines: list[str]) -> list[str]:
    """Give a table its second row as soon as it has the first, and keep an unfinished cell from spilling over."""
    if len(lines) <= 2 and (len(lines) == 1 or not lines[1].strip(" \t:|-")):
        columns = max(1, lines[0].strip().strip("|").count("|") + 1)
        return [f"|{lines[0].strip().strip('|')}|", "|" + "---|" * columns]
    cells, _, last = lines[-1].rpartition("|")
    return [*lines[:-1], f"{cells}|{_healed_inline(last)}"]


def _healed_inline(text: str) -> str:
    text = _OPEN_LINK.sub(r"\1", text)
    open_marks: list[str] = []
    position = 0
    while found := _INLINE.search(text, position):
        position = found.end()
        if found[1]:
            closing = re.compile(rf"(?<!`){found[1]}(?!`)").search(text, position)
            if closing is None:
                return _closed(text, open_marks, found[1], position)
            position = closing.end()
        elif found[2]:
            _note_mark(text, found, open_marks)
    return _closed(text, open_marks, "", -1)


def _note_mark(text: str, found: re.Match[str], open_marks: list[str]) -> None:
    """Open or close what the mark at ``found`` stands for, by what stands around it."""
    mark = found[2]
    before = text[found.start() - 1 : found.start()]
    after = text[found.end() : found.end() + 1]
    if mark in open_marks and before and not before.isspace():
        del open_marks[open_marks.index(mark) :]
    elif len(open_marks) < _OPEN_MARKS and not after.isspace() and not (mark[0] == "_" and before.isalnum()):
        open_marks.append(mark)


def _closed(text: str, open_marks: list[str], ticks: str, code_at: int) -> str:
    """Close code and emphasis; leave away marks that have nothing after them yet."""
    if ticks:
        text = text + ticks if text[code_at:].strip() else text[: code_at - len(ticks)]
    text = text.rstrip()
    for mark in reversed(open_marks):
        if text.endswith(mark):
            text = text[: -len(mark)].rstrip()
        else:
            text += mark
    return text
