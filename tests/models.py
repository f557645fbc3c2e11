"""The small real model, fetched once and kept between runs, for every test that needs one."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from pathlib import Path

from tests.engine.process import EngineProcess

MODEL = "smollm2:135m"
_CACHE = Path(__file__).parent.parent / ".cache" / "models"


def small_model_dir() -> Path:
    """Return a folder for the engine's ``--models`` that holds the small model. Only to be read; see below.

    The model is pulled by the real engine when it is not there or damaged. Several test runs may ask at once.
    """
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_whole(_CACHE):
            _pull(_CACHE)
    return _CACHE


def copy_of_small_model(folder: Path) -> Path:
    """Return ``folder`` filled with the small model, for a test that deletes or adds. Costs no disk space."""
    source = small_model_dir()
    for part in ("blobs", "manifests"):
        shutil.copytree(source / part, folder / part, copy_function=os.link)
    return folder


def _is_whole(folder: Path) -> bool:
    blobs = list(folder.glob("blobs/sha256-*"))
    has_manifest = (folder / "manifests/registry.ollama.ai/library/smollm2/135m").is_file()
    return has_manifest and bool(blobs) and all(_digest(blob) == blob.name for blob in blobs)


def _digest(blob: Path) -> str:
    with blob.open("rb") as file:
        return "sha256-" + hashlib.file_digest(file, "sha256").hexdigest()


def _pull(folder: Path) -> None:
    engine = EngineProcess(folder)
    try:
        last = engine.lines("/api/pull", {"model": MODEL})[-1]
    finally:
        engine.stop()
    if last != {"status": "success"}:
        raise RuntimeError(f"the small model could not be fetched: {last}")
