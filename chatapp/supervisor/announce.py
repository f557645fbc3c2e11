"""The lines printed once the site answers."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from chatapp import ollama_address
from chatapp.config import Config
from chatapp.supervisor.discovery import Upstream

_EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound
_MAX_CODE_CHARS = 100


def lines(config: Config, upstream: Upstream) -> Iterator[str]:
    """Yield what to print: the address, the network's address, where models come from, a setup code not yet used."""
    local = "127.0.0.1" if config.host in _EVERY_ADDRESS else config.host
    yield f"chatapp is ready: {_url(local, config.port)}"
    network = network_address() if config.host in _EVERY_ADDRESS else ""
    if network:
        yield f"On your network:  {_url(network, config.port)}"
    yield f"Models come from {_source(upstream)}."
    code = setup_code(config.data_dir)
    if code:
        yield f"Setup code, asked for when the first account is made over the network: {code}"


def setup_code(data_dir: Path) -> str:
    """Return the code that the first registration may be asked for; empty once it has been used."""
    with (
        contextlib.suppress(OSError, UnicodeDecodeError),
        (data_dir / "setup-code").open(encoding="utf-8") as file,
    ):
        return file.read(_MAX_CODE_CHARS).strip()
    return ""


def network_address() -> str:
    """Return this machine's address on its network, or nothing when it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        # Connecting a datagram socket sends nothing; it only chooses the way out. The address is one for examples.
        probe.connect(("192.0.2.1", 9))
        address: str = probe.getsockname()[0]
        return address if not address.startswith("127.") else ""
    return ""


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _source(upstream: Upstream) -> str:
    if upstream.source == "engine":
        return "the embedded engine"
    where = f"Ollama at {ollama_address.public_url(upstream.url)}"
    return f"{where}, which does not answer yet" if upstream.source == "none" else where
