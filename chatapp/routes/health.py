"""For whoever watches the server: is it up, and does it reach Ollama."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from chatapp import __version__
from chatapp.routes.access import public, services

bp = Blueprint("health", __name__)


@bp.get("/health")
@public
def health() -> Response:
    """Say that the server is up, and whether Ollama answers. Always 200: a missing Ollama is not our illness."""
    library = services().library
    return jsonify(
        status="ok",
        version=__version__,
        ollama_url=library.public_url,
        ollama="unreachable" if library.problem() else "reachable",
    )


@bp.get("/ready")
@public
def ready() -> Response:
    """Say that requests are served. Asks nobody else."""
    return jsonify(status="ready")
