"""The supervisor: starts the web server and what it needs, keeps them running, and ends them in order."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Mapping
from dataclasses import replace

from chatapp.config import Config
from chatapp.supervisor import announce, web
from chatapp.supervisor.child import Children, Command
from chatapp.supervisor.discovery import Upstream
from chatapp.supervisor.engine import Engine
from chatapp.supervisor.kept import Kept
from chatapp.supervisor.loop import Loop
from chatapp.supervisor.terminal import complain, say

WEB_PATIENCE_S = (
    8.5  # replies get 5 s, saving and open connections the rest; with the engine all is gone within 10 s
)
ENGINE_PATIENCE_S = 1.0
EXIT_FAILED = 1


class Supervisor:
    """Runs one server from its start to its end. :meth:`run` is called once, from the main thread."""

    def __init__(
        self,
        config: Config,
        upstream: Upstream,
        listener: socket.socket,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._config = config
        self._listener = listener
        self._loop = Loop()
        self._children = Children()
        self._models = self._model_source(upstream, environ)
        self._upstream = (
            replace(upstream, url=self._models.url) if isinstance(self._models, Engine) else upstream
        )
        self._readiness = web.Readiness(self._loop, listener, self._ready, self._failed)
        web_environ = web.environment(environ, self._upstream)
        self._web = Kept(
            self._loop,
            self._children,
            "The web server",
            lambda: web.command(listener, self._readiness.there.fileno(), web_environ),
            may_restart=self._may_restart_web,
            on_gone=self._web_gone,
        )
        self._announced = False
        self._stopping = False
        self._exit_code = 0

    def run(self) -> int:
        """Serve until told to end; return the exit code for the process."""
        self._loop.on_signal(signal.SIGCHLD, self._children.collect)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.on_signal(number, self._asked_to_stop)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
            self._loop.on_signal(signal.SIGHUP, self._asked_to_stop)
        try:
            self._web.start()
            self._loop.run()
        finally:
            self._clean_up()
        return self._exit_code

    def _clean_up(self) -> None:
        self._children.kill_all()
        self._readiness.close()
        self._listener.close()
        self._loop.close()

    def _model_source(self, upstream: Upstream, environ: Mapping[str, str]) -> Engine | Kept | None:
        if upstream.source == "engine":
            folder = self._config.data_dir.absolute() / "engine"
            requirements = web.ROOT / "requirements-engine.txt"
            return Engine(self._loop, self._children, folder, requirements, environ, self._loop.stop)
        if upstream.source == "program":
            log = self._config.data_dir / "ollama.log"
            command = Command((upstream.program, "serve"), environ, log=log)
            return Kept(self._loop, self._children, "Ollama", lambda: command, on_gone=self._loop.stop)
        return None

    def _ready(self) -> None:
        if self._announced or self._stopping:
            return
        self._announced = True
        if self._models is not None:
            self._models.start()  # now the data folder is ours; another server's engine may be at work in it before
        for line in announce.lines(self._config, self._upstream):
            say(line)

    def _failed(self, line: str) -> None:
        complain(line)
        self._give_up()

    def _may_restart_web(self, code: int) -> bool:
        if not self._announced and not self._stopping:
            complain(f"The web server could not start (exit code {code}); the lines above say why.")
            self._give_up()
        return self._announced

    def _give_up(self) -> None:
        self._stopping = True
        self._exit_code = EXIT_FAILED
        self._loop.stop()

    def _asked_to_stop(self) -> None:
        if self._stopping:
            self._exit_code = 128 + signal.SIGINT
            self._loop.stop()
            return
        self._stopping = True
        say("Stopping: replies that are being written are saved. Once more ends at once.")
        self._listener.close()
        self._web.end(WEB_PATIENCE_S)

    def _web_gone(self) -> None:
        if self._models is None:
            self._loop.stop()
        else:
            self._models.end(ENGINE_PATIENCE_S)
