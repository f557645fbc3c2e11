"""The models on the server: listing, pulling as a job, deleting, loading, unloading."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import structlog

from chatapp.errors import ChatAppError, Conflict, Invalid, NotAllowed, NotFound
from chatapp.jobs.job import Job
from chatapp.jobs.registry import JobRegistry
from chatapp.library_file import LibraryEntry
from chatapp.models import User
from chatapp.ollama.names import ModelName, checked_name, same_name
from chatapp.ollama.types import ModelDetails, ModelInfo, RunningModel, Version
from chatapp.services.glance import Glance
from chatapp.services.pull_turns import PullTurns
from chatapp.services.puller import Puller, PullSource

log = structlog.get_logger()


class OllamaModels(PullSource, Protocol):
    """What the library needs of Ollama."""

    @property
    def public_url(self) -> str: ...

    def version(self) -> Version: ...

    def ps(self) -> Sequence[RunningModel]: ...

    def show(self, name: str) -> ModelDetails: ...

    def delete(self, name: str) -> None: ...

    def load(self, name: str) -> None: ...

    def unload(self, name: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Available:
    """A model of the curated list that is not installed. ``fetchable`` is False where nothing can bring it here."""

    name: str
    size_bytes: int | None
    note: str
    fetchable: bool


@dataclass(frozen=True, slots=True)
class Shelf:
    """Everything the dashboard shows of models. Without Ollama ``problem`` is set and the lists are empty."""

    installed: Sequence[ModelInfo]
    running: Sequence[RunningModel]
    available: Sequence[Available]
    pulls: Sequence[Job]
    version: Version | None
    problem: ChatAppError | None

    def is_loaded(self, model: ModelInfo) -> bool:
        """Return whether the model is in memory; two names of the same weights share one place there."""
        return any(
            same_name(running.name, model.name) or (running.digest and running.digest == model.digest)
            for running in self.running
        )


class Library:
    """The rules about models. Changing them is for root and for users whom root allows."""

    def __init__(
        self,
        ollama: OllamaModels,
        jobs: JobRegistry,
        curated: Sequence[LibraryEntry],
        allowed_hosts: Collection[str],
        username_of: Callable[[str], str],
        models_folder: Path,
    ) -> None:
        self._ollama = ollama
        self._jobs = jobs
        self._curated = curated
        self._allowed_hosts = allowed_hosts
        self.username_of = username_of
        self._models_folder = models_folder
        self._glance = Glance()
        self._turns = PullTurns()
        self._dismissed: set[str] = set()
        self._known_names: tuple[str, ...] = ()

    @property
    def public_url(self) -> str:
        """Ollama's address without credentials."""
        return self._ollama.public_url

    def check_name(self, name: str) -> str:
        """Return the name as it may be sent to Ollama. Raises ``Invalid``."""
        return checked_name(name, self._allowed_hosts)

    def shelf(self) -> Shelf:
        """Return everything about models. Never raises for a missing Ollama: the shelf says what is wrong."""
        pulls = [job for job in self._jobs.of_kind("pull") if job.is_running or self._is_shown(job)]
        try:
            version, installed, running = self._glance.ask(self._look)
        except ChatAppError as problem:
            return Shelf((), (), self._available((), None), pulls, None, problem)
        return Shelf(installed, running, self._available(installed, version), pulls, version, None)

    def _is_shown(self, ended: Job) -> bool:
        """A failed pull stays in the list until somebody dismisses it or the job is forgotten."""
        return _failed(ended) and ended.id not in self._dismissed

    def _look(self) -> tuple[Version, Sequence[ModelInfo], Sequence[RunningModel]]:
        installed = sorted(self._ollama.tags(), key=lambda model: model.name.casefold())
        return self._ollama.version(), installed, self._ollama.ps()

    def _available(self, installed: Sequence[ModelInfo], version: Version | None) -> list[Available]:
        embedded = version is not None and version.engine is not None
        offers = [
            Available(entry.name, entry.engine_size_bytes, entry.note, fetchable=True)
            if embedded and entry.engine_size_bytes
            else Available(entry.name, entry.size_bytes, entry.note, fetchable=not embedded)
            for entry in self._curated
            if not any(same_name(entry.name, model.name) for model in installed)
        ]
        return sorted(offers, key=lambda offer: not offer.fetchable)

    def disk(self, shelf: Shelf) -> dict[str, int] | None:
        """Return ``free_bytes`` and ``total_bytes`` of the disk that holds the models.

        ``None`` when it cannot be known: only the embedded engine is sure to keep them on this machine.
        """
        if shelf.version is None or shelf.version.engine is None:
            return None
        usage = shutil.disk_usage(self._models_folder)
        return {"free_bytes": usage.free, "total_bytes": usage.total}

    def names(self) -> list[str]:
        """Return the names of the installed models, sorted; the last known ones when Ollama does not answer."""
        try:
            found = sorted((model.name for model in self._glance.ask(self._ollama.tags)), key=str.casefold)
        except ChatAppError:
            return list(self._known_names)
        self._known_names = tuple(found)
        return found

    def problem(self) -> ChatAppError | None:
        """Return why Ollama does not answer right now, or ``None`` when it does."""
        try:
            self._glance.ask(self._ollama.version)
        except ChatAppError as error:
            return error
        return None

    def show(self, name: str) -> ModelDetails:
        """Return what Ollama knows about a model. Raises ``Invalid``, ``ModelMissing``, ``OllamaFailed``."""
        return self._ollama.show(self.check_name(name))

    def pull(self, acting: User, name: str) -> Job:
        """Start the pull, or return the one that already runs. Raises ``Invalid`` and ``NotAllowed``."""
        _require_manager(acting)
        name = self.check_name(name)
        job, is_new = self._jobs.reserve("pull", _key(name), acting.id, {"name": name})
        if is_new:
            log.info("pull_started", by=acting.id, model=name)
            check = partial(self._check_fetchable, name)
            puller = Puller(job, name, self._ollama, self._turns, check)
            self._jobs.run(job, lambda _: puller.pull())
        return job

    def _check_fetchable(self, name: str) -> None:
        """Raise ``Invalid`` where the embedded engine could only fail. A silent Ollama is the pull's own affair."""
        try:
            embedded = self._glance.ask(self._ollama.version).engine is not None
        except ChatAppError:
            return
        known = [entry.name for entry in self._curated if entry.engine_size_bytes]
        if embedded and not any(same_name(name, each) for each in known):
            raise Invalid(
                f"The built-in engine can download {' and '.join(known)} only. For other models, install Ollama "
                "and start chatapp again: it is found by itself.",
                field="name",
            )

    def pull_job(self, name: str) -> Job:
        """Return the running or last pull of a model. Raises ``Invalid``, ``NotFound``."""
        job = self._jobs.latest("pull", _key(self.check_name(name)))
        if job is None:
            raise NotFound("Nobody is downloading this model. POST to this address starts a download.")
        return job

    def cancel_pull(self, acting: User, name: str) -> Job:
        """End a running pull; what was fetched stays for the next try. One that failed leaves the list.

        Raises as ``pull_job``, and ``NotAllowed``.
        """
        _require_manager(acting)
        job = self.pull_job(name)
        job.cancel("cancelled")
        self._dismissed.add(job.id)
        return job

    def delete(self, acting: User, name: str) -> None:
        """Delete a model. Raises ``NotAllowed``, ``Conflict`` while it is pulled, ``ModelMissing``."""
        _require_manager(acting)
        name = self.check_name(name)
        job = self._jobs.latest("pull", _key(name))
        if job is not None and job.is_running:
            raise Conflict(f"{name} is being downloaded. Cancel that first.")
        self._ollama.delete(name)
        log.info("model_deleted", by=acting.id, model=name)

    def load(self, acting: User, name: str) -> None:
        """Bring a model into memory. Raises ``NotAllowed``, ``ModelMissing``, ``OllamaFailed``."""
        _require_manager(acting)
        self._ollama.load(self.check_name(name))

    def unload(self, acting: User, name: str) -> None:
        """Take a model out of memory. Raises as ``load``."""
        _require_manager(acting)
        self._ollama.unload(self.check_name(name))


def _require_manager(acting: User) -> None:
    if not acting.manages_models:
        raise NotAllowed("Downloading and deleting models is for root and for people whom root allows to.")


def _key(name: str) -> str:
    return ModelName.parse(name).full.casefold()


def _failed(job: Job) -> bool:
    return job.last_event is not None and job.last_event.name == "failed"
