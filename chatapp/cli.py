"""The command line: ``.venv/bin/flask user list`` and so on, run in the folder of ``start.sh``.

Commands that only read work beside a running server. Commands that write open the store, which a running server
holds; they then say so.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click
from flask import Flask, Response

from chatapp import logs, routes
from chatapp.config import Config, settings
from chatapp.errors import ChatAppError
from chatapp.ids import monotonic_s
from chatapp.ollama.client import OllamaClient
from chatapp.services.accounts import Accounts
from chatapp.storage.json_store import open_store
from chatapp.storage.secrets import SetupCodeFile
from chatapp.supervisor.discovery import ollama_answers
from chatapp.supervisor.engine import known_address
from chatapp.survey import Survey, survey

_PROGRESS_EVERY_S = 1.0


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
    for command in (user, store, models, config):
        app.cli.add_command(command)
    return app


class OneLineErrors(click.Group):
    """Shows the application's own errors as one line, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        logs.configure("error")
        try:
            return super().invoke(ctx)
        except ChatAppError as error:
            raise click.ClickException(error.message) from error


@click.group(cls=OneLineErrors)
def user() -> None:
    """Accounts."""


_new_password = click.option(
    "--password", prompt=True, hide_input=True, confirmation_prompt=True, help="Asked for when not given."
)


@user.command("create")
@click.argument("username")
@_new_password
def create_user(username: str, password: str) -> None:
    """Make an account. The first one becomes root. The server must be stopped."""
    with _accounts() as accounts:
        made = accounts.register(username, password, setup_code=None, local=True)
    click.echo(f"{made.username} was made; the role is {made.role}.")


@user.command("reset-password")
@click.argument("username")
@_new_password
def reset_password(username: str, password: str) -> None:
    """Set a new password and sign the user out everywhere. The server must be stopped."""
    with _accounts() as accounts:
        changed = accounts.reset_password(username, password)
    click.echo(f"{changed.username} has a new password.")


@user.command("list")
def list_users() -> None:
    """Show all accounts."""
    for account in _survey().users:
        disabled = "  disabled" if account.disabled else ""
        click.echo(
            f"{account.username:<32}  {account.role:<4}  since {account.created_at:%Y-%m-%d}{disabled}"
        )


@click.group(cls=OneLineErrors)
def store() -> None:
    """The data folder."""


@store.command("check")
def check_store() -> None:
    """Read everything that is kept and say whether it is sound. Changes nothing."""
    found = _survey()
    for fault in found.faults:
        click.echo(fault)
    if found.faults:
        raise click.ClickException("Not everything could be read; see above.")
    click.echo(f"Sound: {_count(len(found.users), 'user')}, {_count(found.chats, 'chat')}.")


@store.command("stats")
def show_stats() -> None:
    """Show how much is kept."""
    found = _survey()
    rows = {
        "users": len(found.users),
        "chats": found.chats,
        "messages": found.messages,
        "bytes": found.total_bytes,
    }
    for name, count in rows.items():
        click.echo(f"{name:<9} {count:>15,}")


@click.group(cls=OneLineErrors)
def models() -> None:
    """Models of Ollama or of the embedded engine."""


@models.command("list")
def list_models() -> None:
    """Show the installed models."""
    for model in _ollama().tags():
        click.echo(f"{model.name:<40}  {(model.size_bytes or 0) / 1e9:>7.2f} GB")


@models.command("pull")
@click.argument("name")
def pull_model(name: str) -> None:
    """Download a model. Ctrl-C ends the download."""
    say = _now_and_then(click.echo)
    with _ollama().pull(name) as lines:
        for line in lines:
            say(f"{line.status}{_share(line.completed_bytes, line.total_bytes)}")
    click.echo(f"{name} is installed.")


@models.command("delete")
@click.argument("name")
def delete_model(name: str) -> None:
    """Delete a model."""
    _ollama().delete(name)
    click.echo(f"{name} is deleted.")


@click.command("config")
def config() -> None:
    """Show the settings in force; secrets are not shown."""
    try:
        current = Config.from_env()
    except ChatAppError as error:
        raise click.ClickException(error.message) from error
    for attribute, entry in settings().items():
        value = getattr(current, attribute)
        if attribute == "ollama_url":
            value = current.ollama_public_url if value else None
        click.echo(f"{entry.name:<28} {'(not shown)' if entry.secret and value else _text(value)}")


@contextmanager
def _accounts() -> Iterator[Accounts]:
    folder = Config.from_env().data_dir
    opened = open_store(folder)
    try:
        yield Accounts(opened.users, SetupCodeFile(folder / "setup-code"))
    finally:
        opened.close()


def _survey() -> Survey:
    return survey(Config.from_env().data_dir)


def _ollama() -> OllamaClient:
    current = Config.from_env()
    engine = known_address(current.data_dir)
    url = (
        engine
        if engine and not current.ollama_url and ollama_answers(engine)
        else current.effective_ollama_url
    )
    return OllamaClient(url)


def _now_and_then(say: Callable[[str], None]) -> Callable[[str], None]:
    """Return a ``say`` that leaves out what comes within a second of the line before."""
    said_s = 0.0

    def say_seldom(line: str) -> None:
        nonlocal said_s
        if monotonic_s() - said_s >= _PROGRESS_EVERY_S:
            said_s = monotonic_s()
            say(line)

    return say_seldom


def _share(done_bytes: int | None, total_bytes: int | None) -> str:
    return f"  {min(100, 100 * (done_bytes or 0) // total_bytes)} %" if total_bytes else ""


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)
