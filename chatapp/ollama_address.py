"""Where Ollama listens: the forms people write its address in, and the one URL that each of them means.

The forms are those of Ollama's own ``OLLAMA_HOST`` (``envconfig.Host`` in its source): ``host``, ``host:port``,
``:port``, ``scheme://host:port/path`` and ``[v6]:port``. Without a scheme the port is 11434; with one it is that
scheme's own.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

DEFAULT_PORT = 11434
DEFAULT_URL = f"http://127.0.0.1:{DEFAULT_PORT}"
_SCHEME_PORTS = {"http": 80, "https": 443}
_LOOPBACK_FOR = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, never bound
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")


def normalise_url(text: str) -> str:
    """Return the URL that ``text`` means, always with a port and without a slash at the end.

    Credentials and a path are kept. An address to bind to (``0.0.0.0``) becomes the loopback address one can
    connect to. Raises ``ValueError`` when the text is no http or https address.
    """
    scheme, rest, default_port = _scheme(_trimmed(text))
    if not rest or re.search(r"[\s\\?#]", rest) or not rest.isprintable():
        raise ValueError(text)
    authority, slash, path = rest.partition("/")
    credentials, at, place = authority.rpartition("@")
    host, port = _host_and_port(place)
    number = default_port if port is None else _port(port)
    return f"{scheme}://{credentials}{at}{_in_url(host)}:{number}{(slash + path).rstrip('/')}"


def from_ollama_host(text: str) -> str:
    """Return the URL that a value of ``OLLAMA_HOST`` means to Ollama, which never refuses one.

    A port that is no port becomes the default port; what cannot be read at all means the default address.
    """
    trimmed = _trimmed(text)
    if not trimmed:
        return DEFAULT_URL
    try:
        return normalise_url(trimmed)
    except ValueError:
        return _with_default_port(trimmed)


def public_url(url: str) -> str:
    """Return ``url`` without its credentials, fit to be shown."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _with_default_port(text: str) -> str:
    scheme, colon, rest = text.rpartition("://")
    authority, slash, path = rest.partition("/")
    host = re.sub(r":[^:\]]*$", "", authority)
    try:
        return normalise_url(f"{scheme}{colon}{host}{slash}{path}")
    except ValueError:
        return DEFAULT_URL


def _trimmed(text: str) -> str:
    return text.strip().strip("\"'").strip()


def _scheme(text: str) -> tuple[str, str, int]:
    scheme, separator, rest = text.partition("://")
    if not separator:
        return "http", text, DEFAULT_PORT
    scheme = scheme.lower()
    if scheme not in _SCHEME_PORTS:
        raise ValueError(text)
    return scheme, rest, _SCHEME_PORTS[scheme]


def _host_and_port(place: str) -> tuple[str, str | None]:
    if place.count(":") > 1 and not place.startswith("["):
        return place, None
    match = re.fullmatch(r"(\[[^\]]+\]|[^:\[\]]*)(?::(.*))?", place)
    if match is None or (place.startswith("[") and ":" not in match[1]):
        raise ValueError(place)
    return match[1].strip("[]"), match[2]


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) <= 65535:
        raise ValueError(text)
    return int(text)


def _in_url(host: str) -> str:
    reachable = _LOOPBACK_FOR.get(host, host)
    if ":" in reachable:
        return f"[{ipaddress.IPv6Address(reachable)}]"
    if not _HOST_NAME.fullmatch(reachable):
        raise ValueError(host)
    return reachable
