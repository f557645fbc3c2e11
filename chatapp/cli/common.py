"""What the commands share: errors as one line, the folder in force, how numbers are told."""

from __future__ import annotations

from typing import Any

import click

from chatapp import logs
from chatapp.config import Config
from chatapp.errors import ChatAppError
from chatapp.storage.layout import Layout


class OneLineErrors(click.Group):
    """Shows the application's own errors as one line, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        return _in_one_line(super().invoke, ctx)


class OneLineCommand(click.Command):
    """As :class:`OneLineErrors`, for a command that stands alone."""

    def invoke(self, ctx: click.Context) -> Any:
        return _in_one_line(super().invoke, ctx)


def _in_one_line(invoke: Any, ctx: click.Context) -> Any:
    logs.configure("critical")  # what goes wrong ends the command with its own line
    try:
        return invoke(ctx)
    except ChatAppError as error:
        raise click.ClickException(error.message) from error


def layout() -> Layout:
    """Return the places of the data folder in force. Raises ``ConfigError``."""
    return Layout(Config.from_env().data_dir)
