"""Models as the dashboard and ``/models/list`` show them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import url_for

from chatapp.jobs.job import Job
from chatapp.ollama.types import ModelDetails, ModelInfo, RunningModel
from chatapp.routes.access import services
from chatapp.services.library import Shelf


def list_view(shelf: Shelf) -> dict[str, Any]:
    """Return the public JSON of ``/models/list``."""
    view = shelf_view(shelf)
    problem = view["problem"]
    return {
        "installed": [_json_times(model) for model in view["installed"]],
        "available": view["available"],
        "running": [_json_times(model) for model in view["running"]],
        "pulls": view["pulls"],
        "problem": {"code": problem["code"], "message": problem["message"]} if problem else None,
    }


def shelf_view(shelf: Shelf) -> dict[str, Any]:
    """Return the shelf for the template: times as datetimes, texts unescaped."""
    version = shelf.version
    problem = shelf.problem
    return {
        "reachable": problem is None,
        "problem": (
            {"code": problem.code, "message": problem.message, "detail": problem.detail} if problem else None
        ),
        "ollama": {
            "version": version.version if version else None,
            "embedded": version is not None and version.engine is not None,
            "public_url": services().library.public_url,
        },
        "installed": [_installed(model, shelf.is_loaded(model)) for model in shelf.installed],
        "available": [asdict(offer) for offer in shelf.available],
        "running": [_running(model) for model in shelf.running],
        "pulls": [pull_view(job) for job in shelf.pulls],
    }


def _installed(model: ModelInfo, loaded: bool) -> dict[str, Any]:
    return {
        "name": model.name,
        "size_bytes": model.size_bytes,
        "digest": model.digest,
        "modified_at": model.modified_at,
        "parameter_size": model.parameter_size,
        "quantization_level": model.quantization_level,
        "family": model.family,
        "capabilities": list(model.capabilities),
        "loaded": loaded,
    }


def _running(model: RunningModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "digest": model.digest,
        "size_bytes": model.size_bytes,
        "size_vram_bytes": model.size_vram_bytes,
        "expires_at": model.expires_at,
        "context_length": model.context_length,
    }


def pull_view(job: Job) -> dict[str, Any]:
    """Return a pull: who started it, how far it is, where to follow it."""
    progress = job.latest("progress")
    last = job.last_event
    data = dict(progress.data) if progress else {}
    return {
        "name": job.about["name"],
        "state": _state(job),
        "status": data.get("status"),
        "completed_bytes": data.get("completed_bytes", 0),
        "total_bytes": data.get("total_bytes"),
        "percent": data.get("percent"),
        "bytes_per_s": data.get("bytes_per_s"),
        "eta_s": data.get("eta_s"),
        "started_by": services().library.username_of(job.owner_id),
        "events_url": url_for("models.watch", name=job.about["name"]),
        "error": last.data.get("message") if last is not None and last.name == "failed" else None,
    }


def _state(job: Job) -> str:
    """Return ``running``, ``queued``, ``stalled``, ``retrying``, or the terminal event's name."""
    last = job.last_event
    if last is None or last.name == "progress":
        return "running"
    return last.name


def details_view(name: str, details: ModelDetails) -> dict[str, Any]:
    """Return the JSON of one model's details."""
    return {"name": name, **_json_times(asdict(details))}


def _json_times(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in fields.items()
    }
