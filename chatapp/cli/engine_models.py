"""``flask models …``: the models of Ollama or of the embedded engine."""

from __future__ import annotations

from collections.abc import Callable

import click

from chatapp.cli.common import OneLineErrors
from chatapp.config import Config
from chatapp.ids import monotonic_s
from chatapp.ollama.client import OllamaClient
from chatapp.supervisor.discovery import ollama_answers
from chatapp.supervisor.engine import known_address

_PROGRESS_EVERY_S = 1.0


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
