"""The cookie of a browser: signed, holding only the session's id and the CSRF secret."""

from __future__ import annotations

from flask import Flask, Request, request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from itsdangerous import BadSignature


class BrowserSessions(SecureCookieSessionInterface):
    """Over https the cookie is Secure and bound to this host by its name (``__Host-``, RFC 6265bis)."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession:
        """Return what the cookie holds; an empty session for none and for one that somebody else made.

        How old the signature is does not count: the stored session decides that. A clock that was put back would
        make every newer signature invalid and sign everybody out.
        """
        serializer = self.get_signing_serializer(app)
        cookie = request.cookies.get(self.get_cookie_name(app), "")
        try:
            return self.session_class(serializer.loads(cookie) if serializer and cookie else None)
        except BadSignature:
            return self.session_class()

    def get_cookie_name(self, app: Flask) -> str:  # noqa: ARG002 - Flask's signature
        return "__Host-chatapp" if request.is_secure else "chatapp"

    def get_cookie_secure(self, app: Flask) -> bool:  # noqa: ARG002
        return request.is_secure

    def get_cookie_path(self, app: Flask) -> str:  # noqa: ARG002
        return "/"
