"""Reading the header of a weights file, honest or hostile."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.engine.gguf import NotGguf, human_count, read_header


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def pair(name: str, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def header(pairs: list[bytes], tensors: list[bytes], version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs)) + b"".join(pairs + tensors)


PAIRS = [
    pair("general.architecture", 8, text("llama")),
    pair("general.file_type", 4, struct.pack("<I", 3)),
    pair("llama.context_length", 4, struct.pack("<I", 8192)),
    pair("llama.rope.freq_base", 6, struct.pack("<f", 10000)),
    pair("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 2) + text("a") + text("ü")),
    pair("tokenizer.ggml.scores", 9, struct.pack("<IQ", 6, 2) + bytes(8)),
    pair("tokenizer.chat_template", 8, text("{{ messages }}")),
]
TENSORS = [text("output.weight") + struct.pack("<IQQIQ", 2, 576, 1000, 8, 0)]
WHOLE = header(PAIRS, TENSORS)


def test_the_header_gives_what_a_list_of_models_shows(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(WHOLE)

    found = read_header(path)

    assert (found.architecture, found.quantization, found.context_length) == ("llama", "Q4_1", 8192)
    assert (found.parameter_count, found.chat_template) == (576_000, "{{ messages }}")
    assert found.pairs["tokenizer.ggml.tokens"] is None
    assert [(t.name, t.type, t.shape) for t in found.tensors] == [("output.weight", "Q8_0", (576, 1000))]


def test_a_changed_file_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(WHOLE)
    read_header(path)
    path.write_bytes(header(PAIRS[:1], []))

    assert read_header(path).tensors == ()


@pytest.mark.parametrize("length", range(0, len(WHOLE), 7))
def test_a_header_cut_short_is_refused(length: int, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(WHOLE[:length])

    with pytest.raises(NotGguf):
        read_header(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a model at all, but long enough",
        header([], [], version=1),
        b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60),
        header([pair("a", 99, b"")], []),
        header([pair("a", 8, struct.pack("<Q", 2**63))], []),
        header([pair("a", 9, struct.pack("<IQ", 4, 2**62))], []),
        header([], [text("t") + struct.pack("<I", 2**31)]),
        header([pair("a", 9, struct.pack("<IQ", 9, 1) * 5000)], []),
    ],
)
def test_a_hostile_header_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content.ljust(24, b"\0"))

    with pytest.raises(NotGguf):
        read_header(path)


@given(at=st.integers(0, len(WHOLE) - 1), value=st.integers(0, 255))
def test_one_wrong_byte_gives_a_header_or_a_refusal(
    at: int, value: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    path.write_bytes(WHOLE[:at] + bytes([value]) + WHOLE[at + 1 :])

    try:
        found = read_header(path)
    except NotGguf:
        found = None

    assert found is None or len(found.tensors) <= 255


@pytest.mark.parametrize(
    ("count", "written"),
    [
        (134_515_008, "134.52M"),
        (7_000_000_000, "7B"),
        (70_600_000_000, "70.6B"),
        (500, "500"),
        (22_700, "23K"),
    ],
)
def test_counts_are_written_as_ollama_writes_them(count: int, written: str) -> None:
    assert human_count(count) == written
