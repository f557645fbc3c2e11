"""Start everything and keep it running: ``python -m chatapp.serve``.

Settings come from the environment and ``.env`` (docs/CONFIGURATION.md). Ctrl-C or SIGTERM ends it in order within
ten seconds, a second one at once. It may run as process 1 of a container.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence

from chatapp import __version__
from chatapp.config import Config
from chatapp.errors import ConfigError
from chatapp.supervisor import discovery, preflight
from chatapp.supervisor.house import EXIT_FAILED, Supervisor
from chatapp.supervisor.terminal import complain


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to end; return the exit code. A setting that is not allowed ends it with one line."""
    parser = argparse.ArgumentParser(
        prog="./start.sh", description="Start chatapp. Settings: docs/CONFIGURATION.md.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"chatapp {__version__}")
    parser.parse_args(arguments)
    try:
        return _serve()
    except ConfigError as error:
        complain(error.message)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_FAILED


def _serve() -> int:
    config = Config.from_env()
    preflight.refuse_many_workers(os.environ)
    preflight.prepare_folder(config.data_dir)
    listener = preflight.open_listener(config)
    upstream = discovery.choose(config, discovery.ollama_answers, shutil.which)
    return Supervisor(config, upstream, listener).run()


if __name__ == "__main__":
    sys.exit(main())
