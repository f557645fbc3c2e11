"""What the web worker tells the supervisor: that it is ready, or the one line that says why it cannot start.

Both ends of one socket pair: the worker writes JSON lines; its read end ends when the supervisor is gone, however it
went, and the web server then ends too.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from chatapp.errors import ChatAppError

FD_VARIABLE = "CHATAPP_STATUS_FD"
EXIT_NOT_STARTED = 3  # gunicorn gives up on this code instead of trying again without end
_MAX_LINE_BYTES = 16384
_END_PATIENCE_S = 5.0


@dataclass(frozen=True)
class Status:
    """One line from the worker. ``failure`` is empty when it is ready."""

    failure: str = ""


def parse(data: bytes) -> Status | None:
    """Return the last complete line in ``data``, or ``None`` when there is none that makes sense."""
    with contextlib.suppress(ValueError, IndexError, AttributeError):
        return Status(str(json.loads(data.splitlines()[-1]).get("failure", "")))
    return None


def report_ready() -> None:
    """Tell the supervisor, if there is one, that the application is loaded."""
    channel = _channel()
    if channel is not None:
        with channel:
            _send(channel, {})


def end_with_supervisor(end: Callable[[], None] | None = None) -> None:
    """End the web server when the supervisor ends. Does nothing where there is no supervisor.

    Args:
        end: what to do then; by default the parent process, gunicorn's master, gets SIGTERM.
    """
    channel = _channel()
    if channel is not None:
        end = end or functools.partial(_end_master, os.getppid())
        threading.Thread(target=_wait_for_end, args=(channel, end), daemon=True).start()


@contextlib.contextmanager
def one_line_failures() -> Iterator[None]:
    """Turn the application's own errors while it is made into one line and ``SystemExit``, without a traceback."""
    try:
        yield
    except ChatAppError as error:
        fail(error.message)


def fail(line: str) -> None:
    """Report why the server cannot start and leave. Raises ``SystemExit`` always."""
    channel = _channel()
    if channel is None:
        os.write(2, f"{line}\n".encode())
        raise SystemExit(EXIT_NOT_STARTED)
    # The supervisor prints the line and ends this process; leaving first would add gunicorn's own words to it.
    with channel, contextlib.suppress(OSError):
        _send(channel, {"failure": line})
        channel.settimeout(_END_PATIENCE_S)
        channel.recv(1)
    raise SystemExit(EXIT_NOT_STARTED)


def _channel() -> socket.socket | None:
    number = os.environ.get(FD_VARIABLE, "")
    if not number.isdecimal():
        return None
    try:
        return socket.socket(fileno=os.dup(int(number)))
    except OSError:
        return None


def _send(channel: socket.socket, line: dict[str, str]) -> None:
    with contextlib.suppress(OSError):
        channel.sendall(json.dumps(line).encode()[:_MAX_LINE_BYTES] + b"\n")


def _wait_for_end(channel: socket.socket, end: Callable[[], None]) -> None:
    with channel, contextlib.suppress(OSError):
        while channel.recv(64):
            pass
    end()


def _end_master(master: int) -> None:
    # A worker whose master is gone ends by itself; the process that adopted it must not be ended for that.
    if os.getppid() == master:
        os.kill(master, signal.SIGTERM)
