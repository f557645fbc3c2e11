"""``flask store …``: the data folder looked at, copied, put back and repaired."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from chatapp.cli.common import OneLineErrors, layout
from chatapp.storage.files import Files
from chatapp.storage.imports.values import counted
from chatapp.storage.maintenance.backup import back_up
from chatapp.storage.maintenance.restore import restore
from chatapp.storage.maintenance.salvage import salvage
from chatapp.survey import Holdings, holdings, survey

_folder = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))


@click.group(cls=OneLineErrors)
def store() -> None:
    """The data folder."""


@store.command("check")
def check_store() -> None:
    """Read everything that is kept and say whether it is sound. Changes nothing."""
    found = survey(layout())
    _tell(found.faults, "Not everything is as it should be; see above.")
    click.echo(f"Sound: {counted(len(found.users), 'user')}, {counted(found.chats, 'chat')}.")


@store.command("stats")
def show_stats() -> None:
    """Show how much is kept."""
    found = survey(layout())
    rows = {
        "users": len(found.users),
        "chats": found.chats,
        "messages": found.messages,
        "bytes": sum(found.file_bytes.values()),
        **{f"bytes of {name}": size for name, size in found.file_bytes.items()},
        "journal files": found.generations,
        "records in them": found.records,
        "last record": found.last_record,
        "in quarantine": found.quarantined,
        "in backups": found.backups,
    }
    for name, count in rows.items():
        click.echo(f"{name:<22} {count:>15,}")


@store.command("backup")
@_folder
def make_backup(folder: Path) -> None:
    """Copy everything that is kept into DIR, which must be new or empty. Works beside a running server."""
    found = holdings(back_up(Files(), layout(), folder))
    click.echo(f"Copied {_told(found)} to {folder}.")
    _tell(found.faults, "The copy was made; look after what is told above.")


@store.command("restore")
@_folder
def restore_backup(folder: Path) -> None:
    """Put the backup in DIR in place of what is kept, which moves to backups/. The server must be stopped."""
    recovered, replaced = restore(Files(), layout(), folder)
    found = holdings(recovered)
    click.echo(f"Restored {_told(found)}.")
    if Files().exists(replaced):
        click.echo(f"What was there before is in {replaced}.")
    _tell(found.faults, "The backup was put in place; look after what is told above.")


@store.command("repair")
def repair_store() -> None:
    """Make a data folder that does not start any more start again. The server must be stopped."""
    salvaged = salvage(Files(), layout())
    if salvaged is None:
        click.echo("Nothing to repair.")
        return
    for line in salvaged.report:
        click.echo(line)
    click.echo(f"Kept {_told(holdings(salvaged.recovered))}.")
    click.echo(f"The files as they were found are in {salvaged.originals}.")


def _told(found: Holdings) -> str:
    users, chats = counted(len(found.users), "user"), counted(found.chats, "chat")
    return f"{users}, {chats}, {counted(found.messages, 'message')} ({found.total_bytes:,} bytes)"


def _tell(faults: Iterable[str], verdict: str) -> None:
    """Say each fault on a line of its own and end with exit code 1; do nothing when there is none."""
    faults = list(faults)
    for fault in faults:
        click.echo(fault)
    if faults:
        raise click.ClickException(verdict)
