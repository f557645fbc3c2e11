"""What a GGUF file says about itself: the header is read, never the weights.

The layout is llama.cpp's (``gguf.md``, versions 2 and 3, little-endian): magic, version, number of tensors and of
key-value pairs, the pairs, then one record per tensor.
"""

from __future__ import annotations

import math
import mmap
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

Value = str | int | float | bool | None

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_STRING, _ARRAY = 8, 9
_SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_MAX_DIMENSIONS = 8

# In the order of their numbers in llama.cpp's ``llama_ftype`` and ``ggml_type``; removed ones keep their place.
_FILE_TYPES = re.split(
    r"\s+",
    "F32 F16 Q4_0 Q4_1 Q4_1_F16 Q4_2 Q4_3 Q8_0 Q5_0 Q5_1 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K "
    "IQ2_XXS IQ2_XS Q2_K_S IQ3_XS IQ3_XXS IQ1_S IQ4_NL IQ3_S IQ3_M IQ2_S IQ2_M IQ4_XS IQ1_M BF16",
)
_TENSOR_TYPES = re.split(
    r"\s+",
    "F32 F16 Q4_0 Q4_1 Q4_2 Q4_3 Q5_0 Q5_1 Q8_0 Q8_1 Q2_K Q3_K Q4_K Q5_K Q6_K Q8_K IQ2_XXS IQ2_XS IQ3_XXS IQ1_S "
    "IQ4_NL IQ3_S IQ2_S IQ4_XS I8 I16 I32 I64 F64 IQ1_M BF16",
)


class NotGguf(ValueError):
    """The file is not GGUF, or its header is damaged or cut short."""


@dataclass(frozen=True, slots=True)
class Tensor:
    name: str
    type: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Header:
    """``pairs`` holds every key; a list (tokens, merges) is kept as ``None``, only its key matters here."""

    pairs: dict[str, Value]
    tensors: tuple[Tensor, ...]

    @property
    def architecture(self) -> str:
        return self.text("general.architecture")

    @property
    def parameter_count(self) -> int:
        return sum(math.prod(tensor.shape) for tensor in self.tensors)

    @property
    def quantization(self) -> str:
        return _name_in(_FILE_TYPES, self.number("general.file_type", default=-1))

    @property
    def context_length(self) -> int:
        """How many tokens the model was trained to see at once; 0 when the file does not say."""
        return self.number(f"{self.architecture}.context_length")

    @property
    def embedding_length(self) -> int:
        return self.number(f"{self.architecture}.embedding_length")

    @property
    def chat_template(self) -> str:
        return self.text("tokenizer.chat_template")

    def text(self, key: str) -> str:
        value = self.pairs.get(key)
        return value if isinstance(value, str) else ""

    def number(self, key: str, default: int = 0) -> int:
        value = self.pairs.get(key)
        return value if isinstance(value, int) else default

    def cache_bytes(self, context_tokens: int) -> int:
        """Return what the keys and values of so many tokens take in memory, at 16 bits each."""
        heads = self.number(f"{self.architecture}.attention.head_count", default=1) or 1
        kv_heads = self.number(f"{self.architecture}.attention.head_count_kv", default=heads)
        layers = self.number(f"{self.architecture}.block_count")
        return 2 * 2 * layers * context_tokens * kv_heads * (self.embedding_length // heads)


def read_header(path: Path) -> Header:
    """Return the header of ``path``, from memory when the file has not changed since the last call.

    Raises:
        NotGguf: it is no GGUF file, or one that ends too early.
        OSError: the file cannot be read.
    """
    facts = path.stat()
    return _read_header(path, facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=64)
def _read_header(path: Path, _modified_ns: int, size_bytes: int) -> Header:
    if size_bytes < 24:
        raise NotGguf("the file is too short to be GGUF")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            return _Reader(data).header()
        except (struct.error, IndexError, UnicodeDecodeError, KeyError, RecursionError) as error:
            raise NotGguf(f"the GGUF header is damaged: {error}") from None


def human_count(number: int) -> str:
    """Return a count the way Ollama writes parameter sizes: ``134.52M``, ``7B``, ``70.6B``."""
    for size, letter, places in ((10**9, "B", 1), (10**6, "M", 2)):
        if number >= size:
            return f"{number / size:.{0 if number % size == 0 else places}f}{letter}"
    return f"{number / 1000:.0f}K" if number >= 1000 else str(number)


class _Reader:
    """A cursor over the mapped file. Whatever points past the end raises ``IndexError`` or ``struct.error``."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def header(self) -> Header:
        self._expect_gguf()
        tensor_count, pair_count = self._scalar("<Q"), self._scalar("<Q")
        self._expect_room_for(tensor_count + pair_count)
        pairs = dict(self._pair() for _ in range(int(pair_count)))
        return Header(pairs, tuple(self._tensor() for _ in range(int(tensor_count))))

    def _expect_gguf(self) -> None:
        magic = self._take(4)
        version = self._scalar("<I")
        if magic != _MAGIC or version not in _VERSIONS:
            raise NotGguf(f"not a GGUF file of version 2 or 3 (magic {magic!r}, version {version})")

    def _expect_room_for(self, count: float) -> None:
        # Every entry takes some bytes, so a count beyond the file's size is a lie and would loop for ever.
        if count > len(self._data):
            raise NotGguf("the GGUF header counts more entries than the file has bytes")

    def _pair(self) -> tuple[str, Value]:
        key = self._text()
        return key, self._value(int(self._scalar("<I")))

    def _value(self, kind: int) -> Value:
        if kind == _STRING:
            return self._text()
        if kind == _ARRAY:
            self._skip_array()
            return None
        return self._scalar(_SCALARS[kind])

    def _skip_array(self) -> None:
        kind, count = int(self._scalar("<I")), int(self._scalar("<Q"))
        self._expect_room_for(count)
        if kind in _SCALARS:
            self._take_nothing_of(count * struct.calcsize(_SCALARS[kind]))
            return
        skip: Callable[[], None] = {_STRING: self._skip_text, _ARRAY: self._skip_array}[kind]
        for _ in range(count):
            skip()

    def _tensor(self) -> Tensor:
        name = self._text()
        dimensions = int(self._scalar("<I"))
        if dimensions > _MAX_DIMENSIONS:
            raise NotGguf(f"tensor {name!r} has {dimensions} dimensions")
        shape = tuple(int(self._scalar("<Q")) for _ in range(dimensions))
        kind = int(self._scalar("<I"))
        self._take_nothing_of(8)  # where its data begins
        return Tensor(name, _name_in(_TENSOR_TYPES, kind), shape)

    def _text(self) -> str:
        return self._take(int(self._scalar("<Q"))).decode("utf-8", "replace")

    def _skip_text(self) -> None:
        self._take_nothing_of(int(self._scalar("<Q")))

    def _scalar(self, form: str) -> int | float | bool:
        value: int | float | bool = struct.unpack_from(form, self._data, self._at)[0]
        self._at += struct.calcsize(form)
        return value

    def _take(self, size_bytes: int) -> bytes:
        start = self._at
        self._take_nothing_of(size_bytes)
        return self._data[start : self._at]

    def _take_nothing_of(self, size_bytes: int) -> None:
        if size_bytes > len(self._data) - self._at:
            raise NotGguf("the file ends inside the GGUF header")
        self._at += size_bytes


def _name_in(names: list[str], index: int) -> str:
    return names[index] if 0 <= index < len(names) else "unknown"
