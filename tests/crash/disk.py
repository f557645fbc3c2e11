"""A disk in memory that can lose its power: what programs see and what would be left are two things.

A change is sure to be left only after a sync: ``sync`` for the bytes and the length of one file, ``sync_folder`` for
the names in one folder. Of everything since then any part may be left, in any order. More may be lost here than on
a real file system, never less: the names of a rename are two changes, and either may be left without the other.
"""

from __future__ import annotations

import errno
import itertools
import math
import os
import random
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from chatapp.storage.files import Files
from tests.crash.pages import Change, File, Folder
from tests.fakes.files import Fault, error, no_fault

SURE_AT_ONCE = {"store.lock"}
"""Files whose bytes need no sync here: nothing hangs on them, and they would be most of what is unsure."""
_ROOT = 1

_Node = File | Folder


@dataclass(frozen=True, slots=True)
class Moment:
    """A disk between two calls: what a power cut may leave of it, and what a killed process leaves."""

    nodes: Mapping[int, _Node]

    @property
    def unsure(self) -> int:
        """Number of names and pages that a power cut may leave or not."""
        return sum(
            len(node.changes) if isinstance(node, Folder) else node.unsure_pages
            for node in self.nodes.values()
        )

    def after_kill(self) -> SimulatedDisk:
        """Return the disk as the next process finds it: it sees every change, and no more of them is sure."""
        return SimulatedDisk(self.nodes)

    def after_power_cut(self, chance: random.Random) -> SimulatedDisk:
        """Return one disk that may be left."""
        files = {each: node for each, node in self.nodes.items() if isinstance(node, File)}
        return self._left_of(
            {each: file.remains(chance) for each, file in files.items()},
            {(each, name): chance.choice(stood_for) for each, name, stood_for in self._changed_names()},
        )

    def whole_power_cuts(self, most: int) -> Iterator[SimulatedDisk]:
        """Yield all disks that may be left with no change torn; nothing when they may be more than ``most``."""
        files = {each: node for each, node in self.nodes.items() if isinstance(node, File)}
        names = {(each, name): set(stood_for) for each, name, stood_for in self._changed_names()}
        ways = math.prod(1 << file.unsure for file in files.values())
        if ways * math.prod(len(each) for each in names.values()) > most:
            return
        contents = [sorted(set(file.whole_remains())) for file in files.values()]
        for chosen in itertools.product(*names.values()):
            standing = dict(zip(names, chosen, strict=True))
            for left in itertools.product(*contents):
                yield self._left_of(dict(zip(files, left, strict=True)), standing)

    def _changed_names(self) -> Iterator[tuple[int, str, tuple[int, ...]]]:
        for number, node in self.nodes.items():
            if isinstance(node, Folder):
                yield from ((number, name, stood_for) for name, stood_for in node.changes.items())

    def _left_of(
        self, contents: Mapping[int, bytes], standing: Mapping[tuple[int, str], int]
    ) -> SimulatedDisk:
        """Return a disk of these contents and names; what no name leads to is gone."""
        nodes: dict[int, _Node] = {}
        waiting = [_ROOT]
        while waiting:
            number = waiting.pop()
            node = self.nodes[number]
            if isinstance(node, File):
                nodes[number] = File(contents[number], (), contents[number])
            else:
                left = node.with_names({name: standing[number, name] for name in node.changes})
                nodes[number] = Folder(left)
                waiting.extend(left.values())
        return SimulatedDisk(nodes)


class SimulatedDisk(Files):
    """The whole file system of a store, in memory. Made empty, or as a :class:`Moment` left it.

    ``moments`` holds the disk as it was before and after each call that changed it, ``calls`` names these calls.
    ``fault`` is asked before each call, as in :class:`tests.fakes.files.FaultyFiles`.
    """

    def __init__(self, nodes: Mapping[int, _Node] | None = None) -> None:
        self.fault: Fault = no_fault
        self.most_bytes_per_write = 1 << 30
        self.calls: list[tuple[str, str]] = []
        self._nodes: dict[int, _Node] = dict(nodes or {_ROOT: Folder()})
        self.moments = [Moment(dict(self._nodes))]
        self._open: dict[int, tuple[int, str]] = {}
        self._locked: dict[int, int] = {}
        self._numbers = itertools.count(max(self._nodes) + 1)
        self._descriptors = itertools.count(1000)
        self._turn = threading.RLock()

    def fingerprint(self) -> int:
        """Return a number that is the same for disks with the same names and bytes."""
        return hash(_shape(self._nodes, _ROOT))

    def forget_descriptors(self) -> None:
        """End the process that has them; its locks go with them."""
        with self._turn:
            self._open.clear()
            self._locked.clear()

    # --- looking things up ----------------------------------------------------------------------------------

    def _ask(self, call: str, name: str) -> None:
        fault = self.fault(call, name)
        if fault is not None:
            raise fault

    def _change(self, number: int, file: File, name: str, change: Change) -> None:
        changed = file.changed(change)
        self._nodes[number] = changed.synced() if name in SURE_AT_ONCE else changed

    def _done(self, call: str, name: str) -> None:
        self.calls.append((call, name))
        self.moments.append(Moment(dict(self._nodes)))

    def _find(self, path: Path) -> int:
        """Return the node of a path, or 0."""
        number = _ROOT
        for name in path.parts[1:]:
            node = self._nodes.get(number)
            number = node.seen.get(name, 0) if isinstance(node, Folder) else 0
        return number

    def _number(self, path: Path) -> int:
        number = self._find(path)
        if not number:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return number

    def _folder(self, path: Path) -> tuple[int, Folder]:
        number = self._number(path)
        node = self._nodes[number]
        if not isinstance(node, Folder):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
        return number, node

    def _file(self, fd: int) -> tuple[int, File, str]:
        if fd not in self._open:
            raise error(errno.EBADF)
        number, name = self._open[fd]
        node = self._nodes[number]
        if not isinstance(node, File):
            raise error(errno.EISDIR)
        return number, node, name

    def _name(self, path: Path, node: int) -> None:
        number, folder = self._folder(path.parent)
        self._nodes[number] = folder.changed(path.name, node)

    # --- the calls ------------------------------------------------------------------------------------------

    def add_folder(self, path: Path) -> None:
        with self._turn:
            self._ask("add_folder", path.name)
            if self._find(path):
                self._folder(path)
                return
            number = next(self._numbers)
            self._nodes[number] = Folder()
            self._name(path, number)
            self._done("add_folder", path.name)

    def names(self, folder: Path) -> list[str]:
        with self._turn:
            self._ask("names", folder.name)
            node = self._nodes.get(self._find(folder))
            return sorted(node.seen) if isinstance(node, Folder) else []

    def exists(self, path: Path) -> bool:
        with self._turn:
            self._ask("exists", path.name)
            return bool(self._find(path))

    def create(self, path: Path) -> int:
        with self._turn:
            self._ask("create", path.name)
            if self._find(path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
            number = next(self._numbers)
            self._nodes[number] = File()
            self._name(path, number)
            self._done("create", path.name)
            return self._opened(number, path)

    def open(self, path: Path, *, writable: bool = False) -> int:
        with self._turn:
            self._ask("open", path.name)
            return self._opened(self._number(path), path)

    def _opened(self, number: int, path: Path) -> int:
        fd = next(self._descriptors)
        self._open[fd] = number, path.name
        return fd

    def close(self, fd: int) -> None:
        with self._turn:
            self._open.pop(fd, None)
            self._locked = {number: holder for number, holder in self._locked.items() if holder != fd}

    def read(self, fd: int, length: int, offset: int) -> bytes:
        with self._turn:
            _, file, name = self._file(fd)
            self._ask("read", name)
            return file.seen[offset : offset + length]

    def write(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        with self._turn:
            number, file, name = self._file(fd)
            self._ask("write", name)
            taken = bytes(data[: self.most_bytes_per_write])
            self._change(number, file, name, Change(offset, taken))
            self._done("write", name)
            return len(taken)

    def cut(self, fd: int, length: int) -> None:
        with self._turn:
            number, file, name = self._file(fd)
            self._ask("cut", name)
            self._change(number, file, name, Change(length, None))
            self._done("cut", name)

    def sync(self, fd: int) -> None:
        """A sync that fails gives up what it should have written."""
        with self._turn:
            number, file, name = self._file(fd)
            try:
                self._ask("sync", name)
            except OSError:
                self._nodes[number] = file.given_up()
                self._done("failed sync", name)
                raise
            self._nodes[number] = file.synced()
            self._done("sync", name)

    def sync_folder(self, folder: Path) -> None:
        with self._turn:
            self._ask("sync_folder", folder.name)
            number, node = self._folder(folder)
            self._nodes[number] = Folder(node.seen)
            self._done("sync_folder", folder.name)

    def rename(self, source: Path, target: Path) -> None:
        with self._turn:
            self._ask("rename", source.name)
            number = self._number(source)
            self._name(target, number)
            self._name(source, 0)
            self._done("rename", source.name)

    def link(self, source: Path, target: Path) -> None:
        with self._turn:
            self._ask("link", source.name)
            number = self._number(source)
            if self._find(target):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
            self._name(target, number)
            self._done("link", source.name)

    def remove(self, path: Path) -> None:
        with self._turn:
            self._ask("remove", path.name)
            if self._find(path):
                self._name(path, 0)
                self._done("remove", path.name)

    def remove_folder(self, path: Path) -> None:
        with self._turn:
            self._ask("remove_folder", path.name)
            if self._find(path):
                if self._folder(path)[1].seen:
                    raise error(errno.ENOTEMPTY)
                self._name(path, 0)
                self._done("remove_folder", path.name)

    def size_bytes(self, fd: int) -> int:
        with self._turn:
            _, file, name = self._file(fd)
            self._ask("size_bytes", name)
            return len(file.seen)

    def identity(self, file: Path | int) -> tuple[int, int, int, int]:
        with self._turn:
            number = self._number(file) if isinstance(file, Path) else self._open[file][0]
            self._ask("identity", file.name if isinstance(file, Path) else self._open[file][1])
            node = self._nodes[number]
            return (1, number, len(node.seen), node.version if isinstance(node, File) else 0)

    def lock(self, fd: int) -> bool:
        with self._turn:
            number, name = self._open[fd]
            self._ask("lock", name)
            return self._locked.setdefault(number, fd) == fd


def _shape(nodes: Mapping[int, _Node], number: int) -> tuple[object, ...]:
    node = nodes[number]
    if isinstance(node, File):
        return (node.seen,)
    return tuple((name, _shape(nodes, each)) for name, each in sorted(node.seen.items()))
