"""Reading the journal at the start: which records count, where it was torn, and what is real damage."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic_core import from_json

from chatapp.errors import StoreDamaged
from chatapp.storage.files import Files, read_whole
from chatapp.storage.journal import generation_path
from chatapp.storage.lines import RECORD_START, BadLine, Head, check_record, whole_record
from chatapp.storage.operations import Operation, decode_object
from chatapp.storage.snapshot import damaged, untrusted

_NAME = re.compile(r"(\d{9})\.jsonl")


@dataclass(frozen=True, slots=True)
class Record:
    """One transaction of the journal."""

    number: int
    operations: tuple[Operation, ...]
    line: bytes


@dataclass(frozen=True, slots=True)
class Torn:
    """The end of the journal, cut short when the server was stopped while writing.

    Args:
        content: what stands from ``offset`` on, with what later files hold, which is torn as well.
    """

    path: Path
    offset: int
    content: bytes


def generations(files: Files, folder: Path) -> list[int]:
    """Return the generations that exist, in order."""
    return [int(match[1]) for name in files.names(folder) if (match := _NAME.fullmatch(name))]


class JournalReader:
    """Reads all records from a generation on.

    Args:
        first: the generation in which to begin.
        seq: the number of the last record that is known without the journal.
        heads: of files that were written later; each says with which record the generations before its own end.
        may_be_new: there may be no journal at all, because none was ever written.

    After :meth:`records` has ended, ``last_number`` is the number of the last record, ``torn`` the part that has
    to be cut off, if any, ``newest`` the newest generation and ``last_group`` the file and the offset at which the
    records begin that were written last, if there are records.
    """

    def __init__(
        self,
        files: Files,
        folder: Path,
        first: int,
        seq: int,
        *,
        heads: Sequence[Head] = (),
        may_be_new: bool = False,
    ) -> None:
        self.last_number = seq
        self._heads = heads
        self.torn: Torn | None = None
        self.last_group: tuple[Path, int] | None = None
        self._files = files
        self._folder = folder
        self._generations = [each for each in generations(files, folder) if each >= first]
        if self._generations or not may_be_new:
            self._check_complete(first)
        self.newest = max(self._generations, default=first)

    def _check_complete(self, first: int) -> None:
        present = set(self._generations)
        for generation in range(first, max(present, default=first) + 1):
            if generation not in present:
                raise _missing(generation_path(self._folder, generation))

    def records(self) -> Iterator[Record]:
        """Yield every record in order. Raises ``StoreDamaged``; nothing on the disk is changed."""
        contents = [
            (each, read_whole(self._files, generation_path(self._folder, each))) for each in self._generations
        ]
        for place, (generation, content) in enumerate(contents):
            path = generation_path(self._folder, generation)
            end = self._end_of(generation, [later for _, later in contents[place + 1 :]])
            for offset, record in self._file_records(path, content):
                number = record.number
                if number > end:
                    _check_refused(path, offset, content[offset:], end + 1)
                    break
                if number != self.last_number + 1:
                    raise self._gap(path, offset)
                if record.line.startswith(b'{"n":%d,"b":%d,' % (number, number)):
                    self.last_group = path, offset
                self.torn = None
                self.last_number = number
                yield record

    def _end_of(self, generation: int, later: Sequence[bytes]) -> float:
        """Return the number of the last record of a generation that counts; infinite when nothing says.

        Where a sync failed, the group that was refused may have reached the disk all the same. The server went on in
        another generation, with the same number, and that is what counts.
        """
        ends = [head.seq for head in self._heads if head.gen > generation]
        ends += [number - 1 for number in map(_first_number, later) if number is not None]
        return min(ends, default=math.inf)

    def _gap(self, path: Path, offset: int) -> StoreDamaged:
        """Return the error for a record that is not the next. What was taken for a torn end is the damage then.

        The next record after a torn end has the number of the first that was torn: that end was cut off before the
        record was written, and has come back because the disk did not take the cut.
        """
        if self.torn:
            return damaged(self.torn.path, self.torn.offset, "the checksum does not fit")
        return damaged(path, offset, f"record {self.last_number + 1} is missing")

    def _note_torn(self, path: Path, offset: int, content: bytes) -> None:
        """Take note of an end that is torn unless a later file shows otherwise, and of what is torn there too."""
        before = self.torn
        self.torn = (
            Torn(before.path, before.offset, before.content + content)
            if before
            else Torn(path, offset, content)
        )

    def _file_records(self, path: Path, content: bytes) -> Iterator[tuple[int, Record]]:
        """Yield offset and content of each whole record up to the first that is not."""
        offset = 0
        while offset < len(content):
            end = content.find(b"\n", offset)
            line = content[offset : end if end >= 0 else len(content)]
            try:
                check_record(line)
            except BadLine as error:
                if _was_durable_later(content[offset:], self.last_number + 1):
                    raise damaged(path, offset, str(error)) from error
                self._note_torn(path, offset, content[offset:])
                return
            yield offset, understood(path, offset, line)
            offset += len(line) + 1


def _first_number(content: bytes) -> int | None:
    """Return the number of the record with which a file begins; ``None`` when that is not whole."""
    line = whole_record(content, 0)
    return int(line[len(b'{"n":') : line.index(b",")]) if line else None


def _check_refused(path: Path, offset: int, rest: bytes, first: float) -> None:
    """Raise ``StoreDamaged`` unless this is the one group that a generation can hold after its end."""
    if any(int(start[1]) != first for start in RECORD_START.finditer(rest)):
        reason = f"another file of this folder goes on with record {first}: they are of different times"
        raise damaged(path, offset, reason)


def understood(path: Path, offset: int, line: bytes) -> Record:
    """Return what a whole line of the journal says. Raises ``StoreDamaged`` when this version does not know it."""
    try:
        values = from_json(line)
        return Record(values["n"], decode_object(values), line)
    except (ValueError, KeyError) as error:
        raise untrusted(
            f"{path}, byte {offset}: this change is not understood ({error})",
            "A newer version of chatapp may have written it: use that version, or put back a backup.",
        ) from error


def _was_durable_later(rest: bytes, bad_number: int) -> bool:
    """Return whether a whole record in ``rest`` proves that the bad record had been on the disk.

    A group of records is written only after the group before is durable, and each record names the first of its
    group. So a later group means that the bad record was damaged afterwards; otherwise it was never acknowledged.
    """
    return any(
        int(start[1]) > bad_number and whole_record(rest, start.start())
        for start in RECORD_START.finditer(rest)
    )


def _missing(path: Path) -> StoreDamaged:
    return untrusted(
        f"{path} is missing: it holds the newest changes",
        "Put the whole data folder back from a backup. "
        "If only users.json and chats.json were copied on purpose, run `.venv/bin/flask store repair`.",
    )
