"""``flask user …``: accounts, without signing in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from chatapp.cli.common import OneLineErrors, layout
from chatapp.config import Config
from chatapp.models import Role
from chatapp.services.accounts import Accounts
from chatapp.storage.json_store import open_store
from chatapp.storage.secrets import SetupCodeFile
from chatapp.survey import survey


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


@user.command("set-role")
@click.argument("username")
@click.argument("role", type=click.Choice(["root", "user"]))
def set_role(username: str, role: Role) -> None:
    """Make somebody root, or no longer. The server must be stopped."""
    with _accounts() as accounts:
        changed = accounts.set_role(username, role)
    click.echo(f"The role of {changed.username} is {changed.role}.")


@user.command("list")
def list_users() -> None:
    """Show all accounts."""
    for account in survey(layout()).users:
        disabled = "  disabled" if account.disabled else ""
        click.echo(
            f"{account.username:<32}  {account.role:<4}  since {account.created_at:%Y-%m-%d}{disabled}"
        )


@contextmanager
def _accounts() -> Iterator[Accounts]:
    folder = Config.from_env().data_dir
    opened = open_store(folder)
    for notice in opened.notices:
        click.echo(notice, err=True)
    try:
        yield Accounts(opened.users, SetupCodeFile(folder / "setup-code"))
    finally:
        opened.close()
