"""Jinja filters: sizes, numbers and times as people read them."""

from __future__ import annotations

from datetime import datetime, timedelta

from flask import Flask

from chatapp.ids import now_utc

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def install(app: Flask) -> None:
    """Register the filters, and leave out the lines on which only template code stands."""
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(bytes=in_bytes, number=in_digits, ago=ago)


def in_bytes(size: float | None) -> str:
    """Return a size with a decimal unit, ``98 MB`` or ``2.1 GB``; ``""`` when it is unknown."""
    if size is None:
        return ""
    value, unit = float(max(size, 0)), _UNITS[0]
    for unit in _UNITS:
        if value < 999.5 or unit == _UNITS[-1]:
            break
        value /= 1000
    digits = 1 if unit not in ("bytes", "kB", "MB") and value < 99.5 else 0
    return f"{value:.{digits}f}".removesuffix(".0") + f" {unit}"


def in_digits(number: float | None) -> str:
    """Return a number with thousands set apart; ``""`` when it is unknown."""
    if number is None:
        return ""
    return f"{number:,.1f}" if isinstance(number, float) and abs(number) < 10 else f"{number:,.0f}"


def ago(moment: datetime | None) -> str:
    """Return how long ago a moment was, ``2 hours ago``; ``""`` when it is unknown."""
    if moment is None:
        return ""
    passed = max(now_utc() - moment, timedelta(0))
    for name, length in (
        ("year", 365 * 86400),
        ("month", 30 * 86400),
        ("day", 86400),
        ("hour", 3600),
        ("minute", 60),
    ):
        count = int(passed.total_seconds() // length)
        if count:
            return f"{count} {name}{'s' if count > 1 else ''} ago"
    return "just now"
