"""The dashboard and what it does to models."""

from __future__ import annotations

from flask import Blueprint, Response, flash, jsonify, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from chatapp.errors import ChatAppError
from chatapp.jobs.job import Job
from chatapp.routes import answers, body, rates
from chatapp.routes.access import current_user, login_required, services
from chatapp.routes.errors import shown_by
from chatapp.routes.model_views import details_view, list_view, shelf_view
from chatapp.routes.schemas import PullBody

bp = Blueprint("models", __name__)

_REFRESH_S = 3


def _dashboard(error: ChatAppError | None = None, **_arguments: str) -> str:
    shelf = services().library.shelf()
    fragment = request.headers.get("X-Fragment") == "models"
    return render_template(
        "_models.html" if fragment else "dashboard.html",
        library=shelf_view(shelf),
        disk=services().library.disk(shelf),
        can_manage=current_user().manages_models,
        notices=services().store.notices if current_user().is_root else [],
        chats=services().chats.list(current_user())[:12],
        error=error.message if error else None,
        typed_name=body.kept("name") if error else "",
        refresh_s=_REFRESH_S if any(job.is_running for job in shelf.pulls) else None,
    )


@bp.get("/dashboard")
@login_required
def dashboard() -> str:
    """Show the models: installed, on the way, available. Opens at once without Ollama, and says so."""
    return _dashboard()


@bp.get("/models/list")
@answers.data_only
@login_required
def list_models() -> Response:
    """Return the same as JSON."""
    return jsonify(list_view(services().library.shelf()))


@bp.get("/model/show/<path:name>")
@answers.data_only
@login_required
def show(name: str) -> Response:
    """Return what Ollama knows about one model."""
    return jsonify(details_view(name, services().library.show(name)))


@bp.post("/model/download")
@rates.pulls
@shown_by(_dashboard)
@login_required
def download_typed() -> AnyResponse:
    """Start the download of the name in the form."""
    return _started(services().library.pull(current_user(), body.read(PullBody).name))


@bp.post("/model/download/<path:name>")
@rates.pulls
@shown_by(_dashboard)
@login_required
def download(name: str) -> AnyResponse:
    """Start a download, or join the one that runs."""
    return _started(services().library.pull(current_user(), name))


def _started(job: Job) -> AnyResponse:
    events_url = url_for("models.watch", name=job.about["name"])
    return answers.done({"job_id": job.id, "events_url": events_url}, url_for("models.dashboard"), 202)


@bp.get("/model/download/<path:name>")
@answers.data_only
@login_required
def watch(name: str) -> Response:
    """Stream a download's events. Only watches: a GET never starts one."""
    job = services().library.pull_job(name)
    return answers.nothing_to_follow() if answers.already_seen(job) else answers.events(job)


@bp.delete("/model/download/<path:name>")
@bp.post("/model/cancel/<path:name>")
@shown_by(_dashboard)
@login_required
def cancel(name: str) -> AnyResponse:
    """End a running download; what was fetched is kept for the next try."""
    job = services().library.cancel_pull(current_user(), name)
    job.wait_ended(2.0)
    return answers.done({"status": "cancelled"}, url_for("models.dashboard"))


@bp.delete("/model/delete/<path:name>")
@bp.post("/model/delete/<path:name>")
@shown_by(_dashboard)
@login_required
def delete(name: str) -> AnyResponse:
    """Delete a model."""
    services().library.delete(current_user(), name)
    if not answers.wants_json():
        flash(f"Deleted {name}.", "ok")
    return answers.done({"status": "deleted"}, url_for("models.dashboard"))


@bp.post("/model/load/<path:name>")
@shown_by(_dashboard)
@login_required
def load(name: str) -> AnyResponse:
    """Bring a model into memory; answers when it is there."""
    services().library.load(current_user(), name)
    return answers.done({"status": "loaded"}, url_for("models.dashboard"))


@bp.post("/model/unload/<path:name>")
@shown_by(_dashboard)
@login_required
def unload(name: str) -> AnyResponse:
    """Take a model out of memory."""
    services().library.unload(current_user(), name)
    return answers.done({"status": "unloaded"}, url_for("models.dashboard"))
