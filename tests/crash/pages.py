"""What a disk has of one file and of one folder: what is sure, and what may or may not be left of it."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

PAGE_BYTES = 512

Names = Mapping[str, int]
"""The names in a folder, and the number of what each stands for."""


@dataclass(frozen=True, slots=True)
class Change:
    """Bytes written at a place, or a new length. ``is_sure`` once the disk has it, ``is_clean`` once it was given up.

    A change that could not be written is given up: programs go on seeing it, and no later sync writes it.
    """

    offset: int
    data: bytes | None
    is_sure: bool = False
    is_clean: bool = False

    def applied(self, content: bytes) -> bytes:
        """Return the content after this change; what lies between is zeros."""
        begin = content[: self.offset].ljust(self.offset, b"\0")
        return begin if self.data is None else begin + self.data + content[self.offset + len(self.data) :]

    def remains(self, content: bytes, chance: random.Random) -> bytes:
        """Return the content after some part of this change that a power cut may leave."""
        way = chance.choice(("lost", "kept", "torn", "pages", "pages", "length"))
        if way == "kept" or (self.data is None and way != "lost"):
            return self.applied(content)
        if self.data is None or way == "lost":
            return content
        if way == "torn":
            return replace(self, data=self.data[: chance.randrange(len(self.data) + 1)]).applied(content)
        longer = content.ljust(self.offset + len(self.data), b"\0")
        return longer if way == "length" else self._some_pages(longer, chance)

    def _some_pages(self, content: bytes, chance: random.Random) -> bytes:
        """Return the content with some of the pages written: a later one may be there without an earlier."""
        assert self.data is not None
        end = self.offset + len(self.data)
        for page in range(self.offset - self.offset % PAGE_BYTES, end, PAGE_BYTES):
            if chance.random() < 0.5:
                begin, stop = max(page, self.offset), min(page + PAGE_BYTES, end)
                part = self.data[begin - self.offset : stop - self.offset]
                content = content[:begin] + part + content[stop:]
        return content


@dataclass(frozen=True, slots=True)
class File:
    """What was on the disk, the changes since, and what programs see."""

    disk: bytes = b""
    changes: tuple[Change, ...] = ()
    seen: bytes = b""
    version: int = 0

    def changed(self, change: Change) -> File:
        return File(self.disk, (*self.changes, change), change.applied(self.seen), self.version + 1)

    def synced(self) -> File:
        changes = [each if each.is_clean else replace(each, is_sure=True) for each in self.changes]
        disk = self.disk
        while changes and changes[0].is_sure:
            disk = changes.pop(0).applied(disk)
        return replace(self, disk=disk, changes=tuple(changes))

    def given_up(self) -> File:
        """Return the file after a sync that failed."""
        changes = tuple(each if each.is_sure else replace(each, is_clean=True) for each in self.changes)
        return replace(self, changes=changes)

    def remains(self, chance: random.Random) -> bytes:
        content = self.disk
        for change in self.changes:
            content = change.applied(content) if change.is_sure else change.remains(content, chance)
        return content

    def whole_remains(self) -> Iterator[bytes]:
        """Yield the content with each combination of the changes that may be left, each wholly or not at all."""
        for kept in itertools.product(*[(True,) if each.is_sure else (False, True) for each in self.changes]):
            content = self.disk
            for change in itertools.compress(self.changes, kept):
                content = change.applied(content)
            yield content

    @property
    def unsure(self) -> int:
        """Number of changes that may be left or not."""
        return sum(not each.is_sure for each in self.changes)

    @property
    def unsure_pages(self) -> int:
        """Number of pages that they touch, at least one each."""
        unsure = [each for each in self.changes if not each.is_sure]
        return sum(1 + len(each.data or b"") // PAGE_BYTES for each in unsure)


@dataclass(frozen=True, slots=True)
class Folder:
    """The names that programs see, and for each that changed since the last sync all it has stood for.

    0 stands for nothing: the name did not exist.
    """

    seen: Names = field(default_factory=dict)
    changes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def changed(self, name: str, node: int) -> Folder:
        before = self.changes.get(name, (self.seen.get(name, 0),))
        seen = {each: number for each, number in self.seen.items() if each != name}
        return Folder(seen | ({name: node} if node else {}), {**self.changes, name: (*before, node)})

    def with_names(self, chosen: Names) -> Names:
        return {name: node for name, node in {**self.seen, **chosen}.items() if node}
