"""Reading our Markdown: the documents there are, the rows of their tables, their links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted((*TOP.glob("*.md"), *(TOP / "docs").rglob("*.md")))
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def name_of(path: Path) -> str:
    return path.relative_to(TOP).as_posix()


def text_of(name: str) -> str:
    return (TOP / name).read_text(encoding="utf-8")


def section(name: str, heading: str) -> str:
    """Return what stands below a second-level heading, up to the next one. Raises AssertionError without it."""
    parts = re.split(r"^## (.+)$", text_of(name), flags=re.MULTILINE)
    assert heading in parts, f"{name} has no section {heading}"
    return parts[parts.index(heading) + 1]


def rows(text: str) -> Iterator[list[str]]:
    """Yield the cells of every table row, heads and rules left out."""
    lines = text.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("| ") and not following.startswith("|---"):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def words(cell: str) -> list[str]:
    """Return what a cell sets in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def links(path: Path) -> list[str]:
    """Return the targets of all links that lead to files of ours, without their anchors."""
    text = _FENCE.sub("", path.read_text(encoding="utf-8"))
    targets = (target.partition("#")[0] for target in _LINK.findall(text))
    return [target for target in targets if target and "://" not in target]


def anchors(path: Path) -> list[tuple[Path, str]]:
    """Return file and anchor of every link that names a heading."""
    text = _FENCE.sub("", path.read_text(encoding="utf-8"))
    found = []
    for target in _LINK.findall(text):
        file, hash_mark, anchor = target.partition("#")
        if hash_mark and "://" not in target:
            found.append(((path.parent / file).resolve() if file else path, anchor))
    return found


def headings(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as Git hosts make them."""
    lines = re.findall(r"^#{1,4} (.+)$", _FENCE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}
