"""How often one may try: Flask-Limiter, counted in memory of this one process.

Failed log-ins count per address and per account at that address, so that nobody can lock another person out.
"""

from __future__ import annotations

from typing import Any

from flask import g
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from werkzeug.wrappers import Response

from chatapp.ids import now_s
from chatapp.routes import body

limiter = Limiter(key_func=get_remote_address, storage_uri="memory://", headers_enabled=False)


def _failed(response: Response) -> bool:
    return response.status_code in (400, 401)


def _worked(response: Response) -> bool:
    return not _failed(response)


def _wrong_setup_code(_response: Response) -> bool:
    return bool(g.get("error_field") == "setup_code")


def _account() -> str:
    return f"{get_remote_address()}|{body.kept('username').casefold()[:64]}"


def _person() -> str:
    return g.user.id if g.get("user") is not None else get_remote_address()


failed_logins_of_address = limiter.limit("30 per minute; 200 per hour", deduct_when=_failed, methods=["POST"])
failed_logins_of_account = limiter.limit(
    "10 per 5 minutes", key_func=_account, deduct_when=_failed, methods=["POST"]
)
registrations = limiter.limit("60 per hour", methods=["POST"], deduct_when=_worked)
wrong_setup_codes = limiter.limit("9 per 10 minutes", methods=["POST"], deduct_when=_wrong_setup_code)
messages = limiter.limit("120 per minute", key_func=_person, methods=["POST"])
pulls = limiter.limit("30 per minute", key_func=_person, methods=["POST"])
password_tries = limiter.limit("20 per 10 minutes", key_func=_person, deduct_when=_failed, methods=["POST"])


def seconds_left() -> int:
    """Return how long the limit that was just reached still holds, in whole seconds, at least 1."""
    limit: Any = limiter.current_limit
    return max(round(limit.reset_at - now_s()), 1) if limit is not None else 60
