"""``python -m chatapp.engine``: the embedded engine, a process of its own that speaks Ollama's HTTP API.

It prints one line of JSON, ``{"url": …}``, when it listens, and writes its log to standard error.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import select
import signal
import sys
import threading
from pathlib import Path

from chatapp.engine.catalogue import Catalogue
from chatapp.engine.chats import Chats
from chatapp.engine.library import Library
from chatapp.engine.pulls import Pulls
from chatapp.engine.runner import Runner
from chatapp.engine.scheduler import Scheduler
from chatapp.engine.server import EngineServer, Routes
from chatapp.engine.store import ModelStore

log = logging.getLogger("chatapp.engine")

_PARENT_POLL_S = 0.5
_CLEAN_UP_S = 0.7


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=options.log_level.upper(), format="engine: %(message)s")
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    pulls = Pulls()
    try:
        server = _build_server(options, pulls)
    except OSError as error:
        print(f"chatapp.engine: cannot start: {error}", file=sys.stderr)
        return 1
    _serve(server, options.parent_pid, stopping)
    pulls.cancel_all(_CLEAN_UP_S)
    # A reply that is still being computed must not hold up the end: its threads live in llama.cpp.
    sys.stderr.flush()
    os._exit(0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m chatapp.engine", description=_DESCRIPTION)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: 0, a free one)")
    parser.add_argument("--models", type=Path, required=True, metavar="DIR", help="folder of the models")
    parser.add_argument("--parent-pid", type=int, metavar="N", help="end when the process with this id ends")
    levels = ("debug", "info", "warning")
    parser.add_argument(
        "--log-level", choices=levels, default="info", help="detail of the log (default: info)"
    )
    return parser


_DESCRIPTION = (
    "Serve Ollama's HTTP API with llama.cpp inside: version, tags, show, ps, pull, delete, chat, generate. "
    'Prints one line of JSON, {"url": "http://127.0.0.1:PORT"}, as soon as it listens. '
    "The model that can be pulled is smollm2:135m, a small demonstration model. SIGTERM ends it."
)


def _build_server(options: argparse.Namespace, pulls: Pulls) -> EngineServer:
    store = ModelStore(options.models.expanduser().resolve())
    scheduler = Scheduler(Runner)
    return EngineServer(options.host, options.port, _routes(store, scheduler, pulls))


def _routes(store: ModelStore, scheduler: Scheduler, pulls: Pulls) -> Routes:
    catalogue, chats, library = Catalogue(store, scheduler), Chats(store, scheduler), Library(store, pulls)
    return {
        "/": {"GET": catalogue.root, "HEAD": catalogue.root},
        "/api/version": {"GET": catalogue.version, "HEAD": catalogue.version},
        "/api/tags": {"GET": catalogue.tags, "HEAD": catalogue.tags},
        "/api/ps": {"GET": catalogue.ps},
        "/api/show": {"POST": catalogue.show},
        "/api/delete": {"DELETE": catalogue.delete},
        "/api/embed": {"POST": catalogue.embed},
        "/api/pull": {"POST": library.pull},
        "/api/chat": {"POST": chats.chat},
        "/api/generate": {"POST": chats.generate},
    }


def _serve(server: EngineServer, parent_pid: int | None, stopping: threading.Event) -> None:
    if parent_pid:
        threading.Thread(target=_stop_with, args=(parent_pid, stopping), name="parent", daemon=True).start()
    threading.Thread(target=server.serve_forever, args=(0.2,), name="accept", daemon=True).start()
    print(json.dumps({"url": server.url}), flush=True)
    log.info("listening on %s", server.url)
    stopping.wait()
    log.info("ending")


def _stop_with(parent_pid: int, stopping: threading.Event) -> None:
    if hasattr(os, "pidfd_open"):
        _wait_for_process(parent_pid)
    else:
        while _is_alive(parent_pid):
            stopping.wait(_PARENT_POLL_S)
    stopping.set()


def _wait_for_process(pid: int) -> None:
    # A handle, unlike a number, can never come to mean another process.
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    select.select([handle], [], [])


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


if __name__ == "__main__":
    sys.exit(main())
