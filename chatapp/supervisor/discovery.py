"""Which Ollama to talk to: one that is named, one that answers, one that can be started, or the engine."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from chatapp import ollama_address
from chatapp.config import Config

PROBE_TIMEOUT_S = 1.0
_MAX_ANSWER_BYTES = 4096
Source = Literal["given", "found", "program", "engine", "none"]


@dataclass(frozen=True)
class Upstream:
    """Where models come from.

    ``given``: the settings name it. ``found``: it answers at the default address. ``program``: ``program`` is to be
    started. ``engine``: the embedded engine is to be started; ``url`` is not known yet. ``none``: the default
    address, where nothing answers so far.
    """

    source: Source
    url: str = ollama_address.DEFAULT_URL
    program: str = ""


def choose(
    config: Config, answers: Callable[[str], bool], find_program: Callable[[str], str | None]
) -> Upstream:
    """Return where models shall come from.

    Args:
        config: OLLAMA_URL, OLLAMA_HOST and ENGINE decide.
        answers: whether Ollama answers at a URL; asked of the default address alone.
        find_program: the path of a program, or ``None`` (``shutil.which``).
    """
    if config.engine == "always":
        return Upstream("engine")
    if config.ollama_url or config.ollama_host:
        return Upstream("given", config.effective_ollama_url)
    if answers(ollama_address.DEFAULT_URL):
        return Upstream("found")
    program = find_program("ollama")
    if program:
        return Upstream("program", program=program)
    return Upstream("engine" if config.engine == "auto" else "none")


def ollama_answers(url: str) -> bool:
    """Return whether ``GET /api/version`` there answers with a version within a second."""
    # Settings for a proxy are for other machines; this one asks a loopback address.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/api/version", timeout=PROBE_TIMEOUT_S) as answer:
            return "version" in json.loads(answer.read(_MAX_ANSWER_BYTES))
    except (OSError, ValueError, TypeError):
        return False
