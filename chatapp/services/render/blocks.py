"""Where one top-level block of Markdown ends and the next begins, decided line by line.

A block is handed out as soon as no later line can change it. The decision for a line depends on the lines before
it alone, so a text gives the same blocks in one go and in any pieces. The rules are CommonMark's, with these of
our own: raw HTML never starts a block of HTML (it is text); display maths on lines of its own is a block;
a definition of a footnote is a block.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from chatapp.services.render import limits, lines


class Kind(Enum):
    """How a block is to be rendered."""

    MARKDOWN = auto()
    CODE = auto()
    MATH = auto()
    FOOTNOTE = auto()
    PLAIN = auto()


@dataclass(frozen=True)
class Block:
    """One top-level block. ``name`` is the language of code or the label of a footnote, else empty."""

    kind: Kind
    source: str
    name: str = ""


class _State(Enum):
    NONE = auto()
    FLOW = auto()  # paragraph, quote, table, setext heading: a blank line ends it
    LIST = auto()
    FOOTNOTE = auto()
    INDENTED = auto()
    FENCE = auto()
    MATH = auto()
    PLAIN = auto()


_EMPTY_ITEM_OFFSET: Final = 1_000


@dataclass
class BlockScanner:
    """Takes a text line by line and hands out its finished blocks. For one thread at a time."""

    _state: _State = _State.NONE
    _lines: list[str] = field(default_factory=list)
    _name: str = ""
    _fence: str = ""
    _fence_indent: int = 0
    _offset: int = 0
    _after_blank: bool = False
    _nested_fence: str = ""
    _nested_column: int = 0
    _work: int = 0

    @property
    def in_fence(self) -> bool:
        """True while a top-level block of fenced code is open."""
        return self._state is _State.FENCE

    @property
    def in_math(self) -> bool:
        return self._state is _State.MATH

    @property
    def language(self) -> str:
        """The language of the open fence, empty when none was named."""
        return self._name if self.in_fence else ""

    @property
    def is_plain(self) -> bool:
        """True once the text has cost all the work it may; everything from the open block on is plain text."""
        return self._state is _State.PLAIN

    def open_source(self) -> str:
        """Return the lines of the block that is open, without its fence; each ends with a line feed."""
        return "".join(f"{line}\n" for line in self._lines)

    def feed(self, chunk: str) -> list[Block]:
        """Take whole lines (``chunk`` ends with a line feed) and return the blocks that they finish, in order."""
        if self.is_plain:
            self._lines.append(chunk.removesuffix("\n"))
            return []
        done: list[Block] = []
        taken = chunk.replace("\r\n", "\n").replace("\r", "\n").split("\n")[:-1]
        for number, line in enumerate(taken):
            if self._is_too_much(line, done):
                self._lines.append("\n".join(taken[number:]))
                break
            self._take(line, done)
        return done

    def finish(self) -> list[Block]:
        """End the text: return the block that is still open, if any."""
        done: list[Block] = []
        self._close(done)
        return done

    def dedented(self, line: str) -> str:
        """Return a line of the open fence without the indentation that its opening line has."""
        return line[min(self._fence_indent, len(line) - len(line.lstrip(" "))) :]

    def _is_too_much(self, line: str, done: list[Block]) -> bool:
        """Count the work for ``line``; when it passes the limit, turn the open block and the rest into plain text."""
        if self.in_fence:
            self._work += limits.WORK_PER_CODE_LINE + len(line) // limits.CODE_CHARACTERS_PER_UNIT
        else:
            self._work += limits.WORK_PER_LINE + len(line)
        if self._work <= limits.WORK_PER_TEXT:
            return False
        if self.in_fence:
            self._close(done)
        self._state = _State.PLAIN
        return True

    def _take(self, line: str, done: list[Block]) -> None:
        if self.in_fence:
            self._take_in_fence(line, done)
            return
        if line.strip(" \t"):
            self._take_text(line, done)
            self._after_blank = False
        else:
            self._take_blank(done)

    def _take_in_fence(self, line: str, done: list[Block]) -> None:
        if self._fence in line and lines.closes_fence(line, self._fence) and lines.indent_of(line) < 4:
            self._close(done)
        else:
            self._lines.append(self.dedented(line) if self._fence_indent else line)

    def _take_blank(self, done: list[Block]) -> None:
        if self._state in {_State.FLOW, _State.MATH}:
            self._close(done)
        elif self._state is not _State.NONE:
            if self._state is _State.LIST and not self._after_blank and self._last_is_empty_item():
                self._offset = _EMPTY_ITEM_OFFSET
            self._lines.append("")
            self._after_blank = True

    def _take_text(self, line: str, done: list[Block]) -> None:
        if self._state is _State.MATH and not lines.FENCE.match(line):
            self._take_in_math(line, done)
        elif self._state is _State.NONE or self._starts_anew(line):
            self._close(done)
            self._open(line, done)
        elif self._state in {_State.LIST, _State.FOOTNOTE}:
            self._take_in_container(line)
        elif self._state is _State.FLOW and self._ends_flow(line):
            self._lines.append(line)
            self._close(done)
        else:
            self._lines.append(lines.without_html(line, lines.BLOCK_TAG))

    def _take_in_math(self, line: str, done: list[Block]) -> None:
        self._lines.append(line)
        if line.rstrip().endswith(self._fence):
            self._close(done, closed=True)

    def _starts_anew(self, line: str) -> bool:
        """Say whether ``line`` cannot belong to the open block."""
        match self._state:
            case _State.INDENTED:
                return lines.indent_of(line) < 4
            case _State.FLOW:
                return self._interrupts_flow(line)
            case _State.MATH:
                return True
            case _:
                return lines.indent_of(line) < self._offset and self._leaves_container(line)

    def _interrupts_flow(self, line: str) -> bool:
        if lines.is_leaf_start(line):
            return True
        item = lines.item_of(line)
        if item is None:
            return False
        return bool(item[5] and item[3] in {None, "1"}) or lines.QUOTE.match(self._lines[-1]) is not None

    def _ends_flow(self, line: str) -> bool:
        """Say whether ``line`` is the last of its block: a rule, or the underline of a heading."""
        if lines.RULE.match(line):
            return True
        return bool(lines.UNDERLINE.match(line)) and not any(
            ">" in held or "|" in held for held in self._lines
        )

    def _leaves_container(self, line: str) -> bool:
        if lines.item_of(line):
            return self._state is _State.FOOTNOTE
        if self._after_blank or self._nested_fence or self._last_is_empty_item():
            return True
        return lines.is_leaf_start(line) or bool(lines.RULE.match(line) or lines.QUOTE.match(line))

    def _last_is_empty_item(self) -> bool:
        item = lines.ITEM.match(self._lines[-1])
        return item is not None and not item[5]

    def _take_in_container(self, line: str) -> None:
        if lines.indent_of(line) < self._offset:
            item = lines.item_of(line)
            if item:
                self._offset = lines.content_offset(item)
                self._nested_fence = ""
        self._follow_nested_fence(line)
        self._lines.append(lines.without_html(line, lines.BLOCK_TAG) if lines.indent_of(line) < 2 else line)

    def _follow_nested_fence(self, line: str) -> None:
        if self._nested_fence and lines.indent_of(line) < self._nested_column:
            self._nested_fence = ""
        if self._nested_fence:
            if lines.closes_fence(line, self._nested_fence):
                self._nested_fence = ""
            return
        opening = lines.NESTED_FENCE.match(line) if "```" in line or "~~~" in line else None
        if opening:
            self._nested_fence = opening[1] or opening[2]
            self._nested_column = line.index(self._nested_fence)

    def _open(self, line: str, done: list[Block]) -> None:
        self._work += limits.WORK_PER_BLOCK
        fence, note, item = lines.FENCE.match(line), lines.FOOTNOTE.match(line), lines.item_of(line)
        if lines.indent_of(line) > 3:
            self._start(_State.INDENTED, line)
        elif fence:
            self._open_fence(line, fence)
        elif lines.HEADING.match(line) or lines.RULE.match(line):
            self._start(_State.FLOW, line)
            self._close(done)
        elif lines.is_math_start(line):
            self._open_math(line, done)
        elif note:
            self._start(_State.FOOTNOTE, line[note.end() :], name=note[1])
            self._offset = 4
        elif item:
            self._start(_State.LIST, line)
            self._offset = lines.content_offset(item)
            self._follow_nested_fence(line)
        else:
            self._start(_State.FLOW, lines.without_html(line, lines.TAG))

    def _start(self, state: _State, *held: str, name: str = "") -> None:
        self._state, self._lines, self._name = state, list(held), name
        self._after_blank, self._nested_fence = False, ""

    def _open_fence(self, line: str, fence: re.Match[str]) -> None:
        info = (fence[2] or fence[4] or "").split(maxsplit=1)
        self._start(_State.FENCE, name=info[0] if info else "")
        self._fence = fence[1] or fence[3]
        self._fence_indent = lines.indent_of(line)

    def _open_math(self, line: str, done: list[Block]) -> None:
        stripped = line.strip()
        self._start(_State.MATH, line)
        self._fence = lines.MATH_ENDS[stripped[:2]]
        if len(stripped) > 2:
            self._close(done, closed=True)

    def _close(self, done: list[Block], *, closed: bool = False) -> None:
        if self._state is not _State.NONE:
            done.append(Block(_kind_of(self._state, closed), self._closed_source(closed), self._name))
        self._start(_State.NONE)

    def _closed_source(self, closed: bool) -> str:
        if self._state is _State.FENCE:
            return self.open_source()
        if closed:
            return self.open_source().strip()[2:-2]
        return self.open_source().rstrip("\n")


def _kind_of(state: _State, closed: bool) -> Kind:
    match state:
        case _State.FENCE:
            return Kind.CODE
        case _State.FOOTNOTE:
            return Kind.FOOTNOTE
        case _State.PLAIN:
            return Kind.PLAIN
        case _:
            return Kind.MATH if closed else Kind.MARKDOWN
