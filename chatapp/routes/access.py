"""Who is asking, and may they: one ``authenticate`` for every request, and a policy on every route.

A route without a policy is refused, so that forgetting one can never open a door. Checks run in this order:
host, user, policy, cross-site. They live here and nowhere else.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from flask import Flask, current_app, g, request, session
from flask_wtf.csrf import CSRFError, CSRFProtect

from chatapp.errors import CrossSite, Invalid, NotAllowed, NotAuthenticated
from chatapp.models import Session, User
from chatapp.services.bundle import Services

View = TypeVar("View", bound=Callable[..., Any])

SESSION_KEY = "sid"
_UNSAFE = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_LOCAL_SUFFIXES = (".local", ".localhost", ".internal")
# What proxies, tunnels and content networks add to a request that they pass on.
_FORWARDING_HEADER = re.compile(
    r"forwarded|via|x-(forwarded|original)-.*|.*-ip|cf-.*|cdn-loop", re.IGNORECASE
)
_EXPIRED = (
    "This page has expired, or your browser sent no cookie. Nothing was changed. "
    "Reload the page and try again; cookies must be allowed for this site."
)

csrf = CSRFProtect()


def public(view: View) -> View:
    """Open to everybody."""
    return _with_policy(view, "public")


def login_required(view: View) -> View:
    """For whoever is signed in."""
    return _with_policy(view, "login")


def root_required(view: View) -> View:
    """For root only."""
    return _with_policy(view, "root")


def _with_policy(view: View, policy: str) -> View:
    cast("Any", view).policy = policy
    return view


def services() -> Services:
    """Return the services of the running application."""
    return cast("Services", current_app.extensions["chatapp"])


def current_user() -> User:
    """Return who is signed in. Raises ``NotAuthenticated``."""
    if g.user is None:
        raise NotAuthenticated("Sign in to go on.")
    return cast("User", g.user)


def current_session() -> Session:
    """Return the session of this request; only where somebody is signed in."""
    return cast("Session", g.session)


def still_signed_in() -> Callable[[], bool]:
    """Return a question that long answers ask again and again, long after this request's context is gone."""
    accounts, session_id = services().accounts, session.get(SESSION_KEY)
    return lambda: accounts.is_signed_in(session_id)


def sign_in(user: User, session_id: str) -> None:
    """Give the browser a new cookie that holds nothing of the old one."""
    session.clear()
    session[SESSION_KEY] = session_id
    session.permanent = True
    g.user = user


def install(app: Flask) -> None:
    """Make every request pass the checks."""
    csrf.init_app(app)
    app.before_request(_check_host)
    app.before_request(authenticate)
    app.before_request(_check_policy)
    app.before_request(_check_cross_site)


def authenticate() -> None:
    """Set ``g.user`` and ``g.session`` from the cookie; both are ``None``, and it is emptied, for anybody unknown."""
    if request.endpoint == "static":
        g.user, g.session = None, None  # the same for everybody, so that caches may keep it
        return
    session_id = session.get(SESSION_KEY)
    known = services().accounts.authenticate(session_id if isinstance(session_id, str) else None)
    if known is None and SESSION_KEY in session:
        del session[SESSION_KEY]
    g.user, g.session = known if known is not None else (None, None)


def policy_of(app: Flask, endpoint: str | None) -> str | None:
    """Return the policy of an endpoint, ``None`` for one without."""
    if endpoint == "static":
        return "public"
    return getattr(app.view_functions.get(endpoint or ""), "policy", None)


def _check_policy() -> None:
    if request.routing_exception is not None:
        return  # the 404 or 405 follows on its own
    policy = policy_of(current_app, request.endpoint)
    if policy == "public":
        return
    current_user()
    if policy == "login" or (policy == "root" and g.user.is_root):
        return
    raise NotAllowed("Only root may open this page.")


def _check_cross_site() -> None:
    if request.method not in _UNSAFE or request.routing_exception is not None:
        return
    if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        raise CrossSite("This request came from another site and was refused. Nothing was changed.")
    origin = request.headers.get("Origin")
    if origin is not None and _place(origin) != _place(request.host_url):
        raise CrossSite("This request came from another site and was refused. Nothing was changed.")
    if request.mimetype == "application/x-www-form-urlencoded":
        request.get_data(cache=True)  # body.py reads it once more; parsing alone would use it up
    try:
        csrf.protect()
    except CSRFError as error:
        raise CrossSite(_EXPIRED) from error


def _place(origin: str) -> tuple[str | None, int | None]:
    """Return host and port. The scheme is left out: a proxy may speak https for us without saying so."""
    try:
        parts = urlsplit(origin)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None, -1
    return parts.hostname, None if port in (80, 443) else port


def _check_host() -> None:
    """Refuse names that are not ours, so that no foreign name can be pointed at this server (DNS rebinding)."""
    if request.blueprint == "health":
        # It says nothing secret, and whoever watches the server may know it by another name.
        g.host_is_ours = True
        return
    host = _hostname(request.host) if _asks_for_a_path() else None
    if host is None or not is_allowed_host(host, services().config.allowed_hosts):
        raise Invalid(
            "This server does not answer to that name. Root can add it to ALLOWED_HOSTS, "
            "or open the site by its IP address.",
            field="Host",
        )
    g.host_is_ours = True


def _asks_for_a_path() -> bool:
    """Return whether the request line holds a path; a whole address there would name a host of its own."""
    return str(request.environ.get("RAW_URI", "/")).startswith("/")


def _hostname(host: str) -> str | None:
    try:
        parts = urlsplit(f"//{host}")
        return parts.hostname if parts.port is None or parts.port > 0 else None
    except ValueError:
        return None


def is_allowed_host(host: str, allowed: tuple[str, ...]) -> bool:
    """Return whether the site answers to this name.

    Without a list: IP addresses, localhost, this machine's name, and names that only a local network resolves.
    """
    host = host.lower().rstrip(".")
    if allowed:
        return any(
            name in ("*", host) or (name.startswith(".") and (host.endswith(name) or host == name[1:]))
            for name in allowed
        )
    own = socket.gethostname().lower()
    return host in ("localhost", own, own.partition(".")[0]) or host.endswith(_LOCAL_SUFFIXES) or _is_ip(host)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_local_request() -> bool:
    """Return whether this request can only come from this very machine, so that no setup code is needed."""
    config = services().config
    if config.trusted_proxies or any(_FORWARDING_HEADER.fullmatch(name) for name, _ in request.headers):
        return False
    return _is_loopback(config.host) and _is_loopback(_hostname(request.host) or "")


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_ip(host) and ipaddress.ip_address(host).is_loopback)
