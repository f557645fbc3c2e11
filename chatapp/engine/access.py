"""Which requests are let in at all: Ollama's checks of ``Host`` and ``Origin``.

Without them any web page could talk to a server on loopback through the visitor's browser, by a name that
resolves to 127.0.0.1 or by a form post. A refusal is 403 with an empty body.
"""

from __future__ import annotations

import ipaddress
import re
import socket

_LOCAL_ENDINGS = (".localhost", ".local", ".internal")
_LOCAL_ORIGIN = re.compile(
    r"https?://(localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\])(:\d+)?|(app|file|tauri|vscode-webview|vscode-file)://.*"
)


def host_is_allowed(host: str, bound_to: str) -> bool:
    """Return whether this ``Host`` may talk to a server bound to this address; only loopback is guarded."""
    if not _is_loopback(bound_to):
        return True
    name = _without_port(host).lower()
    own_names = ("", "localhost", socket.gethostname().lower())
    return name in own_names or name.endswith(_LOCAL_ENDINGS) or _is_near(name)


def origin_is_allowed(origin: str | None, host: str) -> bool:
    """Return whether a page of this ``Origin`` may ask; a request without one comes from a program."""
    if not origin or origin in (f"http://{host}", f"https://{host}"):
        return True
    return _LOCAL_ORIGIN.fullmatch(origin) is not None


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0] if host.count(":") == 1 else host


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _is_near(name: str) -> bool:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or address.is_private or address.is_unspecified
