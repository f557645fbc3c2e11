"""chatapp: a self-hosted chat site for local language models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flask import Flask

    from chatapp.config import Config

__version__ = "0.1.0"

_TOP = Path(__file__).resolve().parent.parent


def create_app(config: Config | None = None, **replacements: Any) -> Flask:
    """Return the application, its store open and its services wired.

    Args:
        config: the settings; read from the environment when not given.
        replacements: ``store`` or ``ollama``, other implementations of those contracts.

    Raises:
        ConfigError, StoreLocked, StoreDamaged, StorageReadOnly: the server cannot start; the message says why.
    """
    from chatapp.wiring import build

    return build(config, _TOP, **replacements)
