"""Writes docs/CONFIGURATION.md and .env.example from the table of settings: ``python -m chatapp.config_docs``."""

from __future__ import annotations

import textwrap
from pathlib import Path

from chatapp.config import Config, Setting, settings

ROOT = Path(__file__).resolve().parent.parent
_HEAD = """# Configuration

Every setting is an environment variable; a file `.env` in the folder of `start.sh` may hold them too, one `NAME=value`
a line. The environment wins over the file, and an empty value counts as unset. A value that is not allowed stops the
start with one line that names the setting, the value and what is allowed.

`.venv/bin/flask config` shows the settings in force, without secrets.

Written from `chatapp/config.py` by `python -m chatapp.config_docs`.

| Setting | Default | Allowed | What it does |
|---|---|---|---|
"""
_ENV_HEAD = """# Copy this file to .env and take the # away from the lines you want to change.
# Each line shows the default where there is one. docs/CONFIGURATION.md says more.
"""


def configuration_md() -> str:
    """Return the text of docs/CONFIGURATION.md."""
    return _HEAD + "\n".join(_row(entry) for entry in settings().values()) + "\n"


def env_example() -> str:
    """Return the text of .env.example: every setting as a comment, with its default."""
    defaults = Config()
    parts = [_ENV_HEAD]
    for attribute, entry in settings().items():
        help_lines = textwrap.wrap(f"{entry.help} Allowed: {entry.kind.allowed}.", 110)
        value = _text(getattr(defaults, attribute))
        parts.append("\n".join([*(f"# {line}" for line in help_lines), f"#{entry.name}={value}"]) + "\n")
    return "\n".join(parts)


def write(root: Path = ROOT) -> None:
    """Write both files below ``root``."""
    (root / "docs" / "CONFIGURATION.md").write_text(configuration_md(), encoding="utf-8")
    (root / ".env.example").write_text(env_example(), encoding="utf-8")


def _row(entry: Setting) -> str:
    name = f"`{entry.name}`" + (f", `{entry.name}_FILE`" if entry.secret else "")
    unit = f" {entry.unit}" if entry.unit else ""
    return f"| {name} | {entry.shown_default}{unit} | {entry.kind.allowed} | {entry.help} |"


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None or value == () else str(value)


if __name__ == "__main__":
    write()
