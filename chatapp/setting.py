"""Kinds of settings: how the text of an environment variable becomes a value, and what to say when it cannot.

A kind's ``parse`` raises ``ValueError`` for text that is not allowed; :mod:`chatapp.config` turns that into the
one line a person sees. Nothing here reads the environment.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar, cast
from urllib.parse import urlsplit

from chatapp.ollama_address import normalise_url

T = TypeVar("T")

_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")
_MODEL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,349}")
_USER_NAME = re.compile(r"[A-Za-z0-9._-]{2,32}")
_YES = frozenset({"1", "true", "yes", "on"})
_NO = frozenset({"0", "false", "no", "off"})
_PLACEHOLDERS = (
    "changeme",
    "changethis",
    "yoursecret",
    "replaceme",
    "placeholder",
    "example",
    "insecure",
    "secretkey",
)
_MIN_SECRET_BYTES = 32
_MIN_DIFFERENT_CHARACTERS = 8


@dataclass(frozen=True)
class Kind(Generic[T]):
    """One kind of value. ``allowed`` completes the sentence "… is not allowed: it must be …"."""

    allowed: str
    parse: Callable[[str], T]


def whole(least: int, most: int) -> Kind[int]:
    """A whole number within bounds, both included."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text) or not least <= int(text) <= most:
            raise ValueError(text)
        return int(text)

    return Kind(f"a whole number from {least} to {most}", parse)


def number(least: float, most: float) -> Kind[float]:
    """A number within bounds, both included; a fraction is allowed."""

    def parse(text: str) -> float:
        value = float(text)
        if not math.isfinite(value) or not least <= value <= most:
            raise ValueError(text)
        return value

    return Kind(f"a number from {least:g} to {most:g}", parse)


def one_of(*words: str) -> Kind[str]:
    """One of a few words, in any case."""

    def parse(text: str) -> str:
        return words[words.index(text.lower())]

    return Kind(f"one of {', '.join(words)}", parse)


def listed(kind: Kind[str], what: str) -> Kind[tuple[str, ...]]:
    """Several values, separated by commas or spaces, each once and in the order given."""

    def parse(text: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(kind.parse(part) for part in re.split(r"[,\s]+", text) if part))

    return Kind(f"{what}, separated by commas", parse)


def optional(kind: Kind[T]) -> Kind[T | None]:
    """The same kind for a setting that may be absent."""
    return cast("Kind[T | None]", kind)


def _yes_or_no(text: str) -> bool:
    if text.lower() not in _YES | _NO:
        raise ValueError(text)
    return text.lower() in _YES


def _bind_host(text: str) -> str:
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    return _literal(bare) or _host_name(bare)


def _literal(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""


def _host_name(text: str) -> str:
    # Digits and dots alone are an address with a fault, never a name.
    if len(text) > 253 or not _HOST_NAME.fullmatch(text) or re.fullmatch(r"[0-9.]+", text):
        raise ValueError(text)
    return text.lower()


def _served_host(text: str) -> str:
    if text == "*":
        return text
    bare = text.removeprefix("*")
    if bare.startswith("."):
        return "." + _host_name(bare[1:])
    return _bind_host(text)


def _registry_host(text: str) -> str:
    parts = urlsplit("//" + text)
    if parts.netloc != text or "@" in text or not parts.hostname or parts.port == 0:
        raise ValueError(text)
    _bind_host(parts.hostname)
    return text.lower()


def _origin(text: str) -> str:
    parts = urlsplit(text)
    extra = parts.path.rstrip("/") or parts.query or parts.fragment or "@" in parts.netloc
    if parts.scheme not in ("http", "https") or not parts.hostname or extra or parts.port == 0:
        raise ValueError(text)
    return f"{parts.scheme}://{parts.netloc}".lower()


def _folder(text: str) -> Path:
    if not text.isprintable():
        raise ValueError(text)
    return Path(text).expanduser().absolute()


def _readable_file(text: str) -> Path:
    path = _folder(text)
    if not path.is_file():
        raise ValueError(text)
    return path


def _matching(pattern: re.Pattern[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(text)
        return text

    return parse


def _secret_key(text: str) -> str:
    plain = re.sub(r"[^a-z0-9]", "", text.lower())
    too_plain = len(set(text)) < _MIN_DIFFERENT_CHARACTERS or any(word in plain for word in _PLACEHOLDERS)
    if len(text.encode()) < _MIN_SECRET_BYTES or too_plain:
        raise ValueError(text)
    return text


def _password(text: str) -> str:
    if not 8 <= len(text.encode()) <= 1024 or "\0" in text:
        raise ValueError(text)
    return text


def _raw(text: str) -> str:
    return text


YES_OR_NO = Kind("true or false", _yes_or_no)
BIND_HOST = Kind("an IP address or a host name, for example 127.0.0.1 or 0.0.0.0", _bind_host)
SERVED_HOST = Kind("a host name, .domain or IP address", _served_host)
REGISTRY_HOST = Kind("a host name with or without a port", _registry_host)
ORIGIN = Kind("an origin like https://example.org", _origin)
FOLDER = Kind("the path of a folder", _folder)
READABLE_FILE = Kind("the path of a file that exists", _readable_file)
MODEL_NAME = Kind("a model name like llama3.2:1b", _matching(_MODEL_NAME))
USER_NAME = Kind("2 to 32 letters, digits, dots, underscores or hyphens", _matching(_USER_NAME))
SECRET_KEY = Kind(
    f"at least {_MIN_SECRET_BYTES} random characters (leave it unset and the server makes one)", _secret_key
)
PASSWORD = Kind("a password of 8 to 1024 bytes", _password)
ADDRESS = Kind("an address like http://127.0.0.1:11434", normalise_url)
ANY_TEXT = Kind("any text", _raw)
