"""The recordings of a real Ollama in ``tests/traces``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "traces"


@dataclass(frozen=True)
class Trace:
    """One recorded answer. ``body`` holds its exact bytes, ``chunk_lengths`` how they were cut."""

    name: str
    path: str
    status: int
    content_type: str
    body: bytes
    chunk_lengths: tuple[int, ...]

    def pieces(self) -> list[bytes]:
        """Return the body cut where Ollama cut it."""
        pieces, start = [], 0
        for length in self.chunk_lengths or (len(self.body),):
            pieces.append(self.body[start : start + length])
            start += length
        return pieces


def load(name: str) -> Trace:
    """Return the recording ``name``, the file's name without its ending."""
    recording = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    response = recording["response"]
    body_file = response.get("body_file")
    body = (FOLDER / body_file).read_bytes() if body_file else response.get("body", "").encode()
    return Trace(
        name=name,
        path=recording["request"]["path"],
        status=response["status"],
        content_type=dict(response["headers"]).get("Content-Type", ""),
        body=body,
        chunk_lengths=tuple(length for _, length in response.get("transfer_chunks_ms_len", ())),
    )


def streamed(path: str) -> list[str]:
    """Return the names of all recordings of ``path`` that came line by line with status 200."""
    rows = (FOLDER / "INDEX.tsv").read_text(encoding="utf-8").splitlines()[1:]
    fields = [row.split("\t") for row in rows]
    return [row[0] for row in fields if row[1] == f"POST {path}" and row[3] == "application/x-ndjson"]
