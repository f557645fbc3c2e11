"""What the documents name exists: files, functions, links, commands, settings, libraries, pictures."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from flask import Flask

from chatapp import __version__, cli
from chatapp.config import settings
from chatapp.storage import operations
from tests.docs.pages import DOCUMENTS, TOP, anchors, headings, links, name_of, rows, section, text_of, words

OURS = ("user", "store", "export", "models", "config")
LONGEST_README_LINES = 150
LONGEST_DECISION_LINES = 40
LARGEST_PICTURE_BYTES = 150_000
DECISIONS = sorted((TOP / "docs/decisions").glob("*.md"))
# Paths that a page shows as an example or that exist only where the server has run.
MADE_WHILE_RUNNING = ("data/", ".venv/")
PATH = re.compile(
    r"^(?:chatapp|templates|static|tests|docs|bench|\.ci)(?:/[\w.-]+)*/?$|^[\w-]+\.(?:py|sh|txt|md|toml)$"
)


def commands() -> set[str]:
    """Return the words of every command that the application adds to ``flask``."""
    groups = {name: cli.create_app().cli.commands[name] for name in OURS}
    return {
        f"{name} {inner}".strip()
        for name, group in groups.items()
        for inner in (group.commands if isinstance(group, click.Group) else [""])
    }


def test_there_is_no_command_beside_those_looked_at() -> None:
    app = cli.create_app()
    foreign = set(Flask("empty").cli.commands) | {"limiter", "routes", "run", "shell"}

    assert set(app.cli.commands) - foreign == set(OURS)


def test_every_command_is_documented_and_no_other_is() -> None:
    table = section("docs/OPERATIONS.md", "Command line")
    documented = {re.sub(r" [A-Z]+", "", words(row[0])[0]).removeprefix("flask ") for row in rows(table)}

    assert documented == commands()


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_link_leads_somewhere(path: Path) -> None:
    assert [target for target in links(path) if not (path.parent / target).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_link_to_a_heading_finds_it(path: Path) -> None:
    assert [(file, anchor) for file, anchor in anchors(path) if anchor not in headings(file)] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_file_that_is_named_exists(path: Path) -> None:
    named = [word for word in words(path.read_text(encoding="utf-8")) if PATH.match(word)]

    assert [word for word in named if not (TOP / word).exists() and not made_later(word)] == []


def made_later(word: str) -> bool:
    return word.startswith(MADE_WHILE_RUNNING)


def test_every_package_of_the_house_is_on_the_map() -> None:
    page = section("docs/ARCHITECTURE.md", "The house")
    packages = {f"`chatapp/{path.parent.name}/`" for path in (TOP / "chatapp").glob("*/__init__.py")}
    modules = {f"`chatapp/{path.name}`" for path in (TOP / "chatapp").glob("*.py")}

    assert {name for name in packages | modules if name not in page} == set()


@pytest.mark.parametrize(
    "heading", ["The road of a message", "The road of a download", "The road of a write to the disk"]
)
def test_every_step_of_a_road_names_something_that_is_there(heading: str) -> None:
    steps = [
        (words(row[1])[0], words(row[2])[0])
        for row in rows(section("docs/ARCHITECTURE.md", heading))
        if row[1] != "File"
    ]

    assert len(steps) >= 8
    assert [
        (file, name)
        for file, name in steps
        if not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text_of(file))
    ] == []


def test_every_folder_of_tests_is_described() -> None:
    page = section("CONTRIBUTING.md", "Tests")
    folders = {path.parent.name for path in (TOP / "tests").glob("*/__init__.py")}

    assert {name for name in folders if f"`tests/{name}/`" not in page} == set()


def test_every_kind_of_change_in_the_journal_is_documented() -> None:
    source = Path(operations.__file__).read_text(encoding="utf-8")
    kinds = set(re.findall(r'"op":"([a-z.]+)"', source))

    documented = {words(row[0])[0] for row in rows(section("docs/DATA.md", "The journal"))} - {"op"}

    assert kinds
    assert documented == kinds


@pytest.mark.parametrize("record", ["User", "Session", "Settings", "ChatSummary", "Message"])
def test_every_stored_field_is_documented(record: str) -> None:
    from chatapp import models

    page = section("docs/DATA.md", "users.json and chats.json")

    assert [name for name in getattr(models, record).model_fields if f"`{name}`" not in page] == []


def test_the_commands_of_the_readme_exist_and_can_be_run() -> None:
    named = set(re.findall(r"^(\./[\w.]+)", text_of("README.md"), re.MULTILINE))

    assert named == {"./start.sh", "./test.sh"}
    assert [name for name in named if not os.access(TOP / name, os.X_OK)] == []


def test_the_settings_that_documents_name_exist() -> None:
    known = {entry.name for entry in settings().values()} | {
        f"{e.name}_FILE" for e in settings().values() if e.secret
    }
    pages = ("README.md", "SECURITY.md", "docs/OPERATIONS.md", "docs/ROUTES.md", "docs/DATA.md")
    named = {
        match
        for page in pages
        for match in re.findall(r"\b([A-Z]+(?:_[A-Z]+)+|HOST|PORT)\b(?:=|`)", text_of(page))
    }

    assert named
    assert named - known == set()


def test_the_version_is_in_the_changelog() -> None:
    assert __version__ in text_of("CHANGELOG.md")


def test_the_readme_is_short() -> None:
    assert len(text_of("README.md").splitlines()) <= LONGEST_README_LINES


@pytest.mark.parametrize("path", DECISIONS, ids=name_of)
def test_a_decision_is_short_and_has_its_three_parts(path: Path) -> None:
    text = path.read_text(encoding="utf-8")

    assert len(text.splitlines()) <= LONGEST_DECISION_LINES
    assert [part for part in ("Context", "Choice", "Consequences") if part not in text] == []


def test_decisions_are_numbered_once_each() -> None:
    numbers = [path.name[:4] for path in DECISIONS]

    assert sorted(set(numbers)) == numbers
    assert [number for number in numbers if not number.isdecimal()] == []


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-engine.txt"])
def test_every_library_that_is_asked_for_has_its_reason(name: str) -> None:
    asked = text_of(name).partition("# What these need")[0]
    libraries = re.findall(r"^([\w-]+)==", asked, re.MULTILINE)

    record = text_of("docs/decisions/0012-libraries.md")

    assert libraries
    assert [
        library for library in libraries if f"| {library} |" not in record and f"**{library}**" not in record
    ] == []


def test_pictures_are_small_and_shown_somewhere() -> None:
    pictures = sorted((TOP / "docs/images").iterdir())
    shown = {(path.parent / target).resolve() for path in DOCUMENTS for target in links(path)}

    assert [path.name for path in pictures if path.stat().st_size > LARGEST_PICTURE_BYTES] == []
    assert [path.name for path in pictures if path.resolve() not in shown] == []


def test_the_example_of_an_error_is_json_of_the_right_form() -> None:
    example = re.search(r"^```json\n(.*?)^```", text_of("docs/ERRORS.md"), re.MULTILINE | re.DOTALL)
    assert example is not None

    shown = json.loads(example[1])

    assert set(shown) == {"error", "request_id"}
    assert set(shown["error"]) == {"code", "message", "field"}


def test_the_address_that_is_printed_is_the_one_in_the_readme() -> None:
    from chatapp.config import Config

    default = Config()

    assert f"<http://{default.host}:{default.port}>" in text_of("README.md")


def test_the_server_says_its_version_as_the_security_page_asks() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "chatapp.serve", "--version"], cwd=TOP, capture_output=True, text=True
    )

    assert ended.stdout == f"chatapp {__version__}\n"
