"""The grammar of model names: ``[host/][namespace/]model[:tag]``.

Ollama ignores case when it compares names and keeps the spelling that is on its disk, so nothing here
changes the case of a name. Schemes (``http://…``) and digests (``@sha256…``) are never accepted: a name
must not be able to choose how, or from where, a download is made.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from chatapp.errors import Invalid

DEFAULT_HOST = "registry.ollama.ai"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"
EXPECTED = "A model name looks like name:tag, for example llama3.2:1b."

# The lengths are Ollama's own. Two dots in a row are legal there, but look like a way out of a folder.
_NAME = re.compile(
    r"(?!.*\.\.)"
    r"(?:(?:(?P<host>[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349})/)?"
    r"(?P<namespace>[A-Za-z0-9_][A-Za-z0-9_-]{0,79})/)?"
    r"(?P<model>[A-Za-z0-9_][A-Za-z0-9_.-]{0,79})"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}))?"
)


@dataclass(frozen=True, slots=True)
class ModelName:
    """One model name in its four parts. ``str()`` gives it as Ollama lists it, always with the tag."""

    host: str
    namespace: str
    model: str
    tag: str

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Return the parts of ``text``, absent ones filled with Ollama's defaults.

        A host part is accepted here; :func:`checked_name` is for names that somebody typed.

        Raises:
            Invalid: ``text`` is not a model name; ``field`` is ``model``.
        """
        match = _NAME.fullmatch(text)
        if match is None:
            raise Invalid(EXPECTED, field="model")
        return cls(
            host=match["host"] or DEFAULT_HOST,
            namespace=match["namespace"] or DEFAULT_NAMESPACE,
            model=match["model"],
            tag=match["tag"] or DEFAULT_TAG,
        )

    @property
    def full(self) -> str:
        """All four parts, for example ``registry.ollama.ai/library/llama3.2:1b``."""
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}"

    def __str__(self) -> str:
        if self.host.lower() != DEFAULT_HOST:
            return self.full
        if self.namespace.lower() != DEFAULT_NAMESPACE:
            return f"{self.namespace}/{self.model}:{self.tag}"
        return f"{self.model}:{self.tag}"


def checked_name(text: str, allowed_hosts: Collection[str] = ()) -> str:
    """Return a name that somebody typed, without surrounding spaces, in the spelling that was typed.

    Args:
        text: what was typed.
        allowed_hosts: hosts, with their port if they have one, that a name may begin with.

    Raises:
        Invalid: it is not a model name, or it names a host that is not allowed; ``field`` is ``model``.
    """
    name = text.strip(" ")
    parsed = ModelName.parse(name)
    names_a_host = name.count("/") == 2
    if names_a_host and parsed.host.lower() not in {host.lower() for host in allowed_hosts}:
        raise Invalid(f"This server takes no models from {parsed.host}. {EXPECTED}", field="model")
    return name


def same_name(a: str, b: str) -> bool:
    """Return whether Ollama takes both for one model: case ignored, ``:latest`` and the like filled in."""
    return _comparable(a) == _comparable(b)


def _comparable(text: str) -> str:
    try:
        return ModelName.parse(text).full.lower()
    except Invalid:
        return text
