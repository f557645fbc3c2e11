"""The cookie of a browser: signed, holding only the session's id and the CSRF secret."""

from __future__ import annotations

from flask import Flask, request
from flask.sessions import SecureCookieSessionInterface


class BrowserSessions(SecureCookieSessionInterface):
    """Over https the cookie is Secure and bound to this host by its name (``__Host-``, RFC 6265bis)."""

    def get_cookie_name(self, app: Flask) -> str:  # noqa: ARG002 - Flask's signature
        return "__Host-chatapp" if request.is_secure else "chatapp"

    def get_cookie_secure(self, app: Flask) -> bool:  # noqa: ARG002
        return request.is_secure

    def get_cookie_path(self, app: Flask) -> str:  # noqa: ARG002
        return "/"
