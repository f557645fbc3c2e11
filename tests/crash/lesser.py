"""A process without root's powers, so that permissions bite: it opens data folders and tells what came of it.

Everything is imported first, because a lesser user may not be allowed to read the interpreter's files. For every line
of JSON on standard input, ``[verb, argument]``, it answers with one line of JSON:

    open FOLDER      make the application over the folder; ``"open"``
    add NAME         store a user; ``"added"``
    names            the names of all users
    checkpoint       write the files; ``"written"``
    close            end the application; ``"closed"``
    check FOLDER     run ``flask store check``; its exit code and what it printed. Likewise stats and backup (to "copy")

A refusal is ``{"refused": text, "status": number}``, anything else that goes wrong ``{"crashed": text}``.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from flask import Flask

from chatapp import cli, create_app
from chatapp.config import Config
from chatapp.errors import ChatAppError
from chatapp.storage.base import Store
from tests.cast import services_of
from tests.records import a_user

NOBODY = 65534


class Lesser:
    """The application, while there is one."""

    def __init__(self) -> None:
        self._app: Flask | None = None

    def do(self, verb: str, argument: str = "") -> object:
        match verb:
            case "open":
                self._app = open_app(Path(argument))
                return "open"
            case "add":
                self._store.users.add(a_user(argument))
                return "added"
            case "names":
                return [user.username for user in self._store.users.all()]
            case "checkpoint":
                self._store.checkpoint()
                return "written"
            case "close" if self._app is not None:
                services_of(self._app).shutdown(grace_s=0)
                return "closed"
            case "check" | "stats" | "backup":
                return run(Path(argument), "store", verb, *(["copy"] if verb == "backup" else []))
        raise ValueError(verb)

    @property
    def _store(self) -> Store:
        assert self._app is not None
        return services_of(self._app).store


def open_app(folder: Path) -> Flask:
    environment = {
        "CHATAPP_DATA_DIR": str(folder),
        "OLLAMA_URL": "http://127.0.0.1:9",
        "LOG_LEVEL": "error",
    }
    return create_app(Config.from_env(environment, dotenv=None))


def run(folder: Path, *words: str) -> tuple[int, str]:
    runner = cli.create_app().test_cli_runner(env={"CHATAPP_DATA_DIR": str(folder)})
    result = runner.invoke(args=list(words))
    return result.exit_code, result.output


def answer(lesser: Lesser, line: str) -> Any:
    try:
        return lesser.do(*json.loads(line))
    except ChatAppError as refusal:
        return {"refused": refusal.message, "status": refusal.status}
    except Exception:  # noqa: BLE001 - it is told to the test, which fails
        return {"crashed": traceback.format_exc()}


def give_up_power() -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def main() -> None:
    os.umask(0)
    with tempfile.TemporaryDirectory() as folder:
        lesser = Lesser()
        for verb in ("open", "checkpoint", "names", "close", "check"):
            lesser.do(verb, folder)
    give_up_power()
    lesser = Lesser()
    for line in sys.stdin:
        print(json.dumps(answer(lesser, line)), flush=True)


if __name__ == "__main__":
    main()
