"""Accounts: registering, signing in and out, passwords, settings, and what root decides about others."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from chatapp.errors import BadLogin, Conflict, Invalid, NotAllowed, NotFound
from chatapp.ids import new_id, new_secret, now_utc
from chatapp.models import Role, Session, Settings, User
from chatapp.services import passwords
from chatapp.storage.base import UserRepository

log = structlog.get_logger()

SESSION_IDLE = timedelta(days=14)
SESSION_LONGEST = timedelta(days=60)
# A browser that is signed in on more devices than this loses the one used longest ago.
SESSIONS_KEPT = 20
# A session's last use is noted no more often than this.
_TOUCH_EVERY = timedelta(minutes=1)
_USERNAME = re.compile(r"[A-Za-z0-9._-]{2,32}")
# Imported accounts may have other names than those that can be chosen here.
_LONGEST_NAME = 128
_RESERVED = frozenset({"con", "nul", "aux", "prn"})
_WRONG = "The user name or the password is wrong."


class SetupCode(Protocol):
    """The code that proves that whoever registers first can read the server's console."""

    def fits(self, code: str) -> bool: ...

    def used(self) -> None: ...


class _ChangedMeanwhile(BadLogin):
    """The password may still fit: somebody else's log-in has given it a newer hash."""


class Accounts:
    """The rules about users. Methods that act for a person take the acting user first."""

    def __init__(
        self, users: UserRepository, setup_code: SetupCode, now: Callable[[], datetime] = now_utc
    ) -> None:
        self._users = users
        self._setup_code = setup_code
        self._now = now

    # -- coming and going

    @property
    def is_empty(self) -> bool:
        """True until the first account, root, exists."""
        return self._users.count() == 0

    def register(self, username: str, password: str, *, setup_code: str | None, local: bool) -> User:
        """Make an account; the first one becomes root and, unless ``local``, must give the setup code.

        Raises ``Invalid`` (field says which), ``NameTaken``, ``TooMany``.
        """
        check_username(username)
        passwords.check_new(password, username)
        code_needed = self.is_empty and not local
        if code_needed and not self._setup_code.fits(setup_code or ""):
            raise Invalid(
                "This is not the setup code that the server printed when it started.", field="setup_code"
            )
        user = self._users.add(self._new_user(username, password))
        if user.is_root:
            self._setup_code.used()
        log.info("registered", user=user.id, role=user.role)
        return user

    def ensure_root(self, username: str, password: str) -> None:
        """Create the root account of the configuration on a server that has none. Raises ``Invalid``."""
        if not self.is_empty:
            return
        check_username(username)
        passwords.check_new(password, username)
        self._users.add(self._new_user(username, password))
        self._setup_code.used()

    def _new_user(self, username: str, password: str) -> User:
        hashed = passwords.hash_password(password)
        return User(id=new_id(), username=username, password_hash=hashed, created_at=self._now())

    def log_in(self, username: str, password: str, user_agent: str) -> tuple[User, str]:
        """Return the user and a new session's secret. Raises ``BadLogin``, the same for every reason."""
        try:
            return self._log_in(username, password, user_agent)
        except _ChangedMeanwhile:
            return self._log_in(username, password, user_agent)

    def _log_in(self, username: str, password: str, user_agent: str) -> tuple[User, str]:
        user = self._users.by_name(username) if len(username) <= _LONGEST_NAME else None
        usable = passwords.is_usable(password)
        fits = passwords.verify(password if usable else "", user.password_hash if user and usable else None)
        if user is None or not fits or user.disabled:
            log.info("login_failed")
            raise BadLogin(_WRONG)
        new_hash = passwords.hash_password(password) if passwords.needs_rehash(user.password_hash) else None
        return self._open_session(user, user_agent, new_hash)

    def open_session(self, user: User, user_agent: str) -> tuple[User, str]:
        """Sign in somebody who just registered; as ``log_in`` without asking for the password again."""
        return self._open_session(user, user_agent, None)

    def _open_session(self, known: User, user_agent: str, new_hash: str | None) -> tuple[User, str]:
        """Add a session. Raises ``BadLogin`` when the password or the user was changed since ``known`` was read."""
        secret, now = new_secret(), self._now()
        session = Session(
            secret_sha256=_sha256(secret), created_at=now, last_used_at=now, user_agent=user_agent[:200]
        )

        def add(user: User) -> User:
            if user.password_hash != known.password_hash or user.disabled:
                raise _ChangedMeanwhile(_WRONG)
            live = sorted((s for s in user.sessions if self._is_live(s)), key=lambda s: s.last_used_at)
            sessions = (*live[-(SESSIONS_KEPT - 1) :], session)
            return _with(user, sessions=sessions, password_hash=new_hash or user.password_hash)

        try:
            user = self._users.update(known.id, add)
        except NotFound:
            raise BadLogin(_WRONG) from None  # deleted a moment ago
        log.info("login", user=user.id)
        return user, f"{user.id}.{secret}"

    def authenticate(self, session_id: str | None) -> tuple[User, Session] | None:
        """Return the user and session that a browser's session id stands for, or ``None``."""
        user_id, _, secret = (session_id or "").partition(".")
        if not user_id or not secret:
            return None
        try:
            user = self._users.get(user_id)
        except NotFound:
            return None
        wanted = _sha256(secret)
        session = next((s for s in user.sessions if secrets.compare_digest(s.secret_sha256, wanted)), None)
        if user.disabled or session is None or not self._is_live(session):
            return None
        if self._now() - session.last_used_at >= _TOUCH_EVERY:
            self._users.touch_session(user.id, session.secret_sha256, self._now())
        return user, session

    def is_signed_in(self, session_id: str | None) -> bool:
        """Return whether the session still stands; long connections ask this again and again."""
        return self.authenticate(session_id) is not None

    def _is_live(self, session: Session) -> bool:
        now = self._now()
        return now - session.last_used_at < SESSION_IDLE and now - session.created_at < SESSION_LONGEST

    def end_session(self, user: User, secret_sha256: str) -> None:
        """Sign one browser out. A session that is already gone changes nothing."""
        self._end_sessions(user.id, lambda session: session.secret_sha256 == secret_sha256)

    def end_other_sessions(self, user: User, kept_sha256: str) -> None:
        """Sign out all browsers but one."""
        self._end_sessions(user.id, lambda session: session.secret_sha256 != kept_sha256)

    def _end_sessions(self, user_id: str, ends: Callable[[Session], bool]) -> None:
        self._users.update(
            user_id, lambda user: _with(user, sessions=tuple(s for s in user.sessions if not ends(s)))
        )

    # -- one's own account

    def change_password(self, user: User, session: Session, current: str, new: str) -> None:
        """Set a new password and sign out everywhere else. Raises ``Invalid`` and ``TooMany``."""
        if not passwords.verify(current if passwords.is_usable(current) else "", user.password_hash):
            raise Invalid("This is not your current password.", field="current")
        passwords.check_new(new, user.username)
        self._set_password(user.id, new, keep=lambda kept: kept.secret_sha256 == session.secret_sha256)
        log.info("password_changed", user=user.id)

    def reset_password(self, username: str, new: str) -> User:
        """Set somebody's password from the command line and end their sessions. Raises ``NotFound``, ``Invalid``."""
        user = self._users.by_name(username)
        if user is None:
            raise NotFound(f"There is no user named {username}.")
        passwords.check_new(new, user.username)
        return self._set_password(user.id, new, keep=lambda _: False)

    def set_role(self, username: str, role: Role) -> User:
        """Make somebody root, or no longer, from the command line.

        Raises ``NotFound``, and ``Conflict`` when nobody would be root afterwards.
        """
        user = self._users.by_name(username)
        if user is None:
            raise NotFound(f"There is no user named {username}.")
        others = any(each.is_root and not each.disabled for each in self._users.all() if each.id != user.id)
        if user.is_root and role != "root" and not others:
            raise Conflict(f"{user.username} is the only root. Make somebody else root first.")
        log.info("role_set", user=user.id, role=role)
        return self._users.update(user.id, lambda stored: _with(stored, role=role))

    def _set_password(self, user_id: str, password: str, *, keep: Callable[[Session], bool]) -> User:
        """Replace the password and, in the same step, end every session but those to ``keep``."""
        hashed = passwords.hash_password(password)

        def change(user: User) -> User:
            return _with(user, password_hash=hashed, sessions=tuple(filter(keep, user.sessions)))

        return self._users.update(user_id, change)

    def change_settings(self, user: User, **changes: Any) -> User:
        """Replace some of the user's settings and return the user."""

        def change(stored: User) -> User:
            merged = Settings.model_validate({**stored.settings.model_dump(), **changes})
            return _with(stored, settings=merged)

        return self._users.update(user.id, change)

    # -- root

    def everybody(self, acting: User) -> Sequence[User]:
        """Return all users. Raises ``NotAllowed`` unless root asks."""
        _require_root(acting)
        return self._users.all()

    def allow_models(self, acting: User, user_id: str, allowed: bool) -> User:
        """Let a user download and delete models, or no longer. Raises ``NotAllowed``, ``NotFound``."""
        _require_root(acting)
        log.info("models_allowed", by=acting.id, user=user_id, allowed=allowed)
        return self._users.update(user_id, lambda user: _with(user, may_manage_models=allowed))


def check_username(username: str) -> None:
    """Raise ``Invalid`` unless the name is 2 to 32 letters, digits, ``.``, ``_`` or ``-``."""
    if not username.strip():
        raise Invalid("Choose a user name.", field="username")
    if not _USERNAME.fullmatch(username) or not any(c.isalnum() for c in username):
        raise Invalid("A user name has 2 to 32 letters (a to z), digits, dots, _ or -.", field="username")
    if username.casefold() in _RESERVED:
        raise Invalid("This name is reserved. Choose another.", field="username")


def _require_root(acting: User) -> None:
    if not acting.is_root:
        raise NotAllowed("Only root may do this.")


def _with(user: User, **changes: Any) -> User:
    return user.model_copy(update=changes)


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
