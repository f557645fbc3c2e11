"""What must be in order before anything is started. Each fault is one line that says what to do."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path

from chatapp.config import Config
from chatapp.errors import ConfigError
from chatapp.storage.files import Files

_BACKLOG = 2048


def refuse_many_workers(environ: Mapping[str, str]) -> None:
    """Raise ``ConfigError`` when the environment asks for more than one worker process."""
    wanted = environ.get("WEB_CONCURRENCY", "").strip()
    if wanted not in ("", "1"):
        raise ConfigError(
            f"WEB_CONCURRENCY={wanted[:20]} is not allowed: one process writes the data, so there is one worker. "
            "Unset it; MAX_STREAMS sets how much one worker does at a time."
        )


def prepare_folder(folder: Path) -> None:
    """Make the data folder if it is missing. Raises ``ConfigError`` when files cannot be written in it."""
    try:
        Files().make_folder(folder)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = (
            "it is not a folder"
            if isinstance(error, FileExistsError)
            else (error.strerror or "unknown reason")
        )
        raise ConfigError(
            f"CHATAPP_DATA_DIR={folder} cannot be written to: {reason}. Choose a folder that belongs to this user."
        ) from error


def open_listener(config: Config) -> socket.socket:
    """Return a socket that listens on HOST and PORT; the caller closes it. Raises ``ConfigError``."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
    except OSError as error:
        raise ConfigError(
            f"HOST={config.host} is not known here: give an address of this machine."
        ) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError(_why_not(config, error)) from error
    return listener


def _why_not(config: Config, error: OSError) -> str:
    place = f"{config.host}:{config.port}"
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {config.port} is already in use on {config.host}: end the program that uses it, "
            f"or choose another port, for example PORT={_another(config.port)} ./start.sh"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{place} may not be listened on: choose a PORT of 1024 or more."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"HOST={config.host} is not an address of this machine: use 127.0.0.1, or 0.0.0.0 for the network."
    return f"{place} cannot be listened on: {os.strerror(error.errno or 0)}."


def _another(port: int) -> int:
    return port + 1 if port < 65535 else 5000
