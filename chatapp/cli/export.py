"""``flask export``: everything that is kept about one person, as one file."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click

from chatapp.cli.common import OneLineCommand, layout
from chatapp.errors import Conflict, NotFound, StorageFailed
from chatapp.ids import now_utc
from chatapp.models import Chat, User
from chatapp.services.export import write_archive
from chatapp.storage.files import Files
from chatapp.storage.imports.values import counted
from chatapp.survey import load_beside

_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


@click.command("export", cls=OneLineCommand)
@click.option("--user", "username", required=True, metavar="NAME", help="Whose account and chats.")
@click.option(
    "--output", metavar="FILE", type=click.Path(path_type=Path), help="Default: NAME-<date>.zip, here."
)
def export(username: str, output: Path | None) -> None:
    """Write somebody's account and chats to a ZIP file. Works beside a running server."""
    recovered = load_beside(layout())
    user = recovered.users.by_name(username)
    if user is None:
        raise NotFound(f"There is no user named {username}.")
    chats = [chat for each in recovered.chats.ids_of(user.id) if (chat := recovered.chats.chat(each))]
    kept = sorted((chat for chat in chats if not chat.deleted_at), key=lambda chat: chat.created_at)
    path = output or Path(f"{_UNFIT.sub('_', user.username)}-{now_utc():%Y-%m-%d}.zip")
    _write(path, user, kept)
    click.echo(f"Wrote {counted(len(kept), 'chat')} of {user.username} to {path}.")


def _write(path: Path, user: User, chats: list[Chat]) -> None:
    files = Files()
    try:
        fd = files.create(path)
    except FileExistsError:
        raise Conflict(f"{path} exists already. Name another file with --output.") from None
    except OSError as error:
        raise StorageFailed(f"{path} cannot be written: {error.strerror}.") from error
    try:
        with os.fdopen(fd, "wb") as out:
            write_archive(out, user, chats)
            out.flush()
            files.sync(out.fileno())
    except OSError as error:
        files.remove(path)
        raise StorageFailed(f"{path} could not be written: {error.strerror}.") from error
    except BaseException:
        files.remove(path)
        raise
