"""How gunicorn runs chatapp: one worker process with many threads, ended in order.

Used by ``python -m chatapp.serve`` and by a plain ``gunicorn wsgi:app`` alike.
"""

import os
import signal
import threading
from types import FrameType
from typing import Any

from chatapp.config import Config
from chatapp.supervisor import preflight, status

REPLY_GRACE_S = 5.0
SPARE_THREADS = 32  # pages still open while every stream is taken

with status.one_line_failures():
    preflight.refuse_many_workers(os.environ)
    _config = Config.from_env()

bind = f"[{_config.host}]:{_config.port}" if ":" in _config.host else f"{_config.host}:{_config.port}"
workers = 1
worker_class = "gthread"
threads = _config.max_streams + SPARE_THREADS
worker_connections = 2 * threads + 1000
backlog = 2048
# The main loop of the worker reports to the master however long a stream runs; this only ends a worker that hangs.
timeout = 120
graceful_timeout = 8
keepalive = 5
loglevel = "warning"
accesslog = None
control_socket_disable = True
# Who is asking, and over which scheme, is decided by TRUSTED_PROXIES alone.
forwarded_allow_ips = ""
secure_scheme_headers: dict[str, str] = {}
proc_name = "chatapp"


def on_starting(server: Any) -> None:
    """Refuse what would put two writers on one data folder."""
    settings = server.cfg
    if settings.workers != 1 or settings.preload_app or settings.worker_class_str != "gthread":
        status.fail("chatapp runs as one gthread worker without preload: one process writes the data.")


def nworkers_changed(server: Any, new_value: int, old_value: int | None) -> None:
    """Keep one worker when a signal (TTIN) asks for another; what was asked for at the start is refused above."""
    if old_value is not None and new_value > 1:
        server._num_workers = 1


def post_worker_init(worker: Any) -> None:
    """Let the first SIGTERM end the followers at once: gunicorn itself would wait for their streams."""
    graceful = signal.getsignal(signal.SIGTERM)

    def ending(number: int, frame: FrameType | None) -> None:
        threading.Thread(target=_shut_down, args=(worker,)).start()
        if callable(graceful):
            graceful(number, frame)

    signal.signal(signal.SIGTERM, ending)
    signal.siginterrupt(signal.SIGTERM, False)
    status.end_with_supervisor()
    status.report_ready()


def worker_exit(server: Any, worker: Any) -> None:  # noqa: ARG001 - gunicorn passes it
    """Close the store, whichever way the worker ends."""
    _shut_down(worker)


def _shut_down(worker: Any) -> None:
    application = worker.app.callable
    if application is not None:
        application.extensions["chatapp"].shutdown(REPLY_GRACE_S)
