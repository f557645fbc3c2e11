"""One line of JSON per event on standard error: never a message's text, a cookie, a password or a token."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import TextIO, cast

import structlog
from flask import Flask, g, request
from werkzeug.wrappers import Response

from chatapp.ids import monotonic_s, new_id

log = structlog.get_logger()


class _Terminal:
    """Standard error as it is at the moment of writing. One that is closed or full costs the line, never a request."""

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()


def configure(level: str) -> None:
    """Set up logging for the process. Strings are escaped by JSON, so no text can forge a line."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=True),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", _Terminal())),
        cache_logger_on_first_use=False,
    )
    _adopt_standard_logging(level)


def _adopt_standard_logging(level: str) -> None:
    """Write what the inner layers and libraries log in the same form."""
    handler = logging.StreamHandler(_Terminal())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(ensure_ascii=True),
            ],
        )
    )
    ours = logging.getLogger("chatapp")
    ours.handlers, ours.propagate = [handler], False
    ours.setLevel(level.upper())


def install(app: Flask) -> None:
    """Give every request an id and log its end."""
    app.before_request(_begin)
    app.after_request(_end)


def _begin() -> None:
    g.request_id = new_id()
    g.began_s = monotonic_s()


def _end(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.request_id
    user = g.get("user")
    write = log.debug if _is_routine(response) else log.info
    write(
        "request",
        id=g.request_id,
        method=request.method,
        path=request.path[:300],
        status=response.status_code,
        code=g.get("error_code"),
        ms=round((monotonic_s() - g.began_s) * 1000, 1),
        user=user.id if user is not None else None,
    )
    return response


def _is_routine(response: Response) -> bool:
    """Return whether nobody would miss this line: a style sheet that was fetched, a health check that was answered."""
    return response.status_code < 400 and (request.endpoint == "static" or request.blueprint == "health")
