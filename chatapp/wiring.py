"""The composition root: the only place where concrete classes meet."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from chatapp import engine_state, logs
from chatapp.config import Config
from chatapp.errors import NotFound
from chatapp.jobs.registry import JobRegistry
from chatapp.library_file import read_library
from chatapp.ollama.client import OllamaClient
from chatapp.routes import (
    access,
    admin,
    auth,
    chats,
    errors,
    filters,
    headers,
    health,
    models,
    rates,
    settings,
    shell,
    static_files,
)
from chatapp.routes.cookies import BrowserSessions
from chatapp.services.accounts import SESSION_LONGEST, Accounts
from chatapp.services.bundle import Services
from chatapp.services.chats import Chats
from chatapp.services.library import Library
from chatapp.services.limits import StreamSlots
from chatapp.services.replies import Replies
from chatapp.storage.base import Store
from chatapp.storage.json_store import open_store
from chatapp.storage.secrets import SetupCodeFile, load_or_make_key

# A message of 100,000 characters, four bytes each and every byte written as %XX, still fits.
_MAX_BODY_BYTES = 2_000_000


def build(
    config: Config | None, top: Path, *, store: Store | None = None, ollama: OllamaClient | None = None
) -> Flask:
    """Return the application; see :func:`chatapp.create_app`."""
    config = config or Config.from_env()
    logs.configure(config.log_level)
    static = top / "static"
    app = Flask(
        "chatapp",
        root_path=str(top / "chatapp"),
        template_folder=str(top / "templates"),
        static_folder=str(static),
        static_url_path=static_files.url_path(static),
    )
    store = store or open_store(config.data_dir)
    app.extensions["chatapp"] = _services(config, store, ollama or _ollama(config))
    _configure(app, config)
    _install_routes(app)
    return app


def _ollama(config: Config) -> OllamaClient:
    embedded = config.engine == "always"  # as the supervisor tells its web server
    return OllamaClient(
        config.effective_ollama_url,
        first_token_timeout_s=config.ollama_timeout_s,
        stall_timeout_s=config.ollama_stall_timeout_s,
        name="The built-in engine" if embedded else "Ollama",
        if_absent=partial(engine_state.sentence, config.data_dir / "engine") if embedded else None,
    )


def _services(config: Config, store: Store, ollama: OllamaClient) -> Services:
    jobs = JobRegistry()
    accounts = _accounts(config, store)
    chats_service = Chats(store.chats, jobs)
    library = Library(
        ollama,
        jobs,
        read_library(config.model_library),
        config.allowed_registries,
        username_of=lambda user_id: _username(store, user_id),
        models_folder=config.data_dir,
    )
    replies = Replies(
        chats_service,
        store.chats,
        jobs,
        ollama,
        max_message_chars=config.max_message_chars,
        installed=library.names,
        ollama_problem=library.problem,
        check_name=library.check_name,
        default_model=config.default_model,
    )
    store.chats.interrupt_streaming()
    chats_service.purge_deleted()
    return Services(
        config, store, jobs, accounts, chats_service, library, replies, StreamSlots(config.max_streams)
    )


def _accounts(config: Config, store: Store) -> Accounts:
    setup_code = SetupCodeFile(config.data_dir / "setup-code")
    accounts = Accounts(store.users, setup_code)
    if config.root_username and config.root_password:
        accounts.ensure_root(config.root_username, config.root_password)
    if accounts.is_empty:
        setup_code.prepare()
    else:
        setup_code.used()
    return accounts


def _username(store: Store, user_id: str) -> str:
    try:
        return store.users.get(user_id).username
    except NotFound:
        return "somebody"


def _configure(app: Flask, config: Config) -> None:
    app.secret_key = config.secret_key or load_or_make_key(config.data_dir / "secret.key")
    app.config.update(
        MAX_CONTENT_LENGTH=_MAX_BODY_BYTES,
        MAX_FORM_MEMORY_SIZE=_MAX_BODY_BYTES,
        MAX_FORM_PARTS=100,
        PERMANENT_SESSION_LIFETIME=SESSION_LONGEST,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_REFRESH_EACH_REQUEST=False,
        SEND_FILE_MAX_AGE_DEFAULT=31_536_000,
        RATELIMIT_ENABLED=config.ratelimit_enabled,
        WTF_CSRF_CHECK_DEFAULT=False,  # access.py asks for it, in its own order
        WTF_CSRF_TIME_LIMIT=None,
        WTF_CSRF_SSL_STRICT=False,  # Origin and Sec-Fetch-Site are checked instead of Referer
    )
    app.session_interface = BrowserSessions()
    if config.trusted_proxies:
        hops = config.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]


def _install_routes(app: Flask) -> None:
    logs.install(app)
    access.install(app)
    headers.install(app)
    static_files.install(app)
    errors.install(app)
    filters.install(app)
    shell.install(app)
    rates.limiter.init_app(app)
    for module in (auth, chats, models, settings, admin, health):
        app.register_blueprint(module.bp)
