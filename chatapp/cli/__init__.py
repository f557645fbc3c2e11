"""The command line: ``.venv/bin/flask user list`` and so on, run in the folder of ``start.sh``.

Commands that only read work beside a running server. Commands that write take the data folder, which a running
server holds; they then say so. The exit code is 0 when a command did what it should, 1 when it says why not or what
is wrong, 2 when it was called in a wrong way.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

import click
from flask import Flask, Response

from chatapp import routes
from chatapp.cli.accounts import user
from chatapp.cli.common import OneLineCommand
from chatapp.cli.engine_models import models
from chatapp.cli.export import export
from chatapp.cli.store import store
from chatapp.config import Config, settings


def create_app() -> Flask:
    """Return an application that carries the commands and the addresses of all pages, but serves none of them.

    The real application takes the store for itself, which commands beside a running server must not.
    """
    app = Flask("chatapp")
    for module in pkgutil.iter_modules(routes.__path__):
        blueprint = getattr(import_module(f"{routes.__name__}.{module.name}"), "bp", None)
        if blueprint is not None:
            app.register_blueprint(blueprint)
    app.before_request(lambda: Response("Start the site with ./start.sh\n", 503, mimetype="text/plain"))
    for command in (user, store, export, models, config):
        app.cli.add_command(command)
    return app


@click.command("config", cls=OneLineCommand)
def config() -> None:
    """Show the settings in force; secrets are not shown."""
    current = Config.from_env()
    for attribute, entry in settings().items():
        value = getattr(current, attribute)
        if attribute == "ollama_url":
            value = current.ollama_public_url if value else None
        click.echo(f"{entry.name:<28} {'(not shown)' if entry.secret and value else _text(value)}")


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)
