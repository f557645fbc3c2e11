"""Every setting of the server, once: name, default, what is allowed, and what it does.

Settings come from the environment and from a ``.env`` file; the environment wins. An empty value counts as unset.
A secret ``NAME`` may also be given as ``NAME_FILE``, the path of a file that holds it.
``docs/CONFIGURATION.md`` and ``.env.example`` are written from this table (``python -m chatapp.config_docs``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from dotenv.parser import parse_stream

from chatapp import ollama_address
from chatapp.errors import ConfigError
from chatapp.setting import (
    ADDRESS,
    ANY_TEXT,
    BIND_HOST,
    FOLDER,
    MODEL_NAME,
    ORIGIN,
    PASSWORD,
    READABLE_FILE,
    REGISTRY_HOST,
    SECRET_KEY,
    SERVED_HOST,
    USER_NAME,
    YES_OR_NO,
    Kind,
    listed,
    number,
    one_of,
    optional,
    whole,
)

T = TypeVar("T")
_MAX_SECRET_FILE_BYTES = 8192
_MAX_SHOWN_CHARS = 60
_MAY_HOLD_CREDENTIALS = (ADDRESS, ANY_TEXT)


@dataclass(frozen=True)
class Setting:
    """What is known about one setting besides its value. ``shown_default`` is for people, ``unit`` may be empty."""

    name: str
    kind: Kind[Any]
    shown_default: str
    unit: str
    help: str
    secret: bool


def _setting(
    name: str,
    kind: Kind[T],
    default: T,
    help: str,
    *,
    shown: str | None = None,
    unit: str = "",
    secret: bool = False,
) -> T:
    shown_default = str(default) if shown is None else shown
    entry = Setting(name, kind, shown_default, unit, help, secret)
    in_repr = not secret and kind not in _MAY_HOLD_CREDENTIALS
    value: T = field(default=default, repr=in_repr, metadata={"setting": entry})
    return value


@dataclass(frozen=True)
class Config:
    """The settings of one server, checked. Secrets never show in ``repr``."""

    host: str = _setting(
        "HOST", BIND_HOST, "127.0.0.1", "Address to listen on. 0.0.0.0 opens the site to the network."
    )
    port: int = _setting("PORT", whole(1, 65535), 5000, "Port to listen on.")
    allowed_hosts: tuple[str, ...] = _setting(
        "ALLOWED_HOSTS",
        listed(SERVED_HOST, "host names, .domains or IP addresses"),
        (),
        "Names under which the site may be asked for; a leading dot takes in all names below it, * takes any. "
        "Unset: IP addresses, localhost, this machine's name, and names ending in .local, .localhost or .internal.",
        shown="unset",
    )
    trusted_proxies: int = _setting(
        "TRUSTED_PROXIES",
        whole(0, 10),
        0,
        "How many reverse proxies stand in front and set X-Forwarded-* headers.",
    )
    ollama_url: str | None = _setting(
        "OLLAMA_URL",
        optional(ADDRESS),
        None,
        "Address of Ollama; user:password@ is allowed and never shown. Unset: OLLAMA_HOST, then 127.0.0.1:11434, "
        "then `ollama serve`, then the embedded engine, whichever is found first.",
        shown="unset",
    )
    ollama_host: str | None = _setting(
        "OLLAMA_HOST",
        optional(ANY_TEXT),
        None,
        "Ollama's own setting, read as Ollama reads it: host, host:port, :port or a URL.",
        shown="unset",
    )
    ollama_timeout_s: float = _setting(
        "OLLAMA_TIMEOUT_S",
        number(1, 86400),
        600.0,
        "How long to wait for the first words of a reply while a model loads.",
        shown="600",
        unit="seconds",
    )
    ollama_stall_timeout_s: float = _setting(
        "OLLAMA_STALL_TIMEOUT_S",
        number(1, 86400),
        120.0,
        "How long a reply that has begun may stay silent before it counts as failed.",
        shown="120",
        unit="seconds",
    )
    engine: str = _setting(
        "ENGINE",
        one_of("auto", "always", "never"),
        "auto",
        "The embedded engine: auto starts it where no Ollama is found, always uses it, never leaves it out.",
    )
    default_model: str | None = _setting(
        "DEFAULT_MODEL", optional(MODEL_NAME), None, "Model that a new chat starts with.", shown="unset"
    )
    model_library: Path | None = _setting(
        "MODEL_LIBRARY",
        optional(READABLE_FILE),
        None,
        "JSON file with the models the dashboard offers, in the form of chatapp/library.json.",
        shown="the list that comes with chatapp",
    )
    allowed_registries: tuple[str, ...] = _setting(
        "ALLOWED_REGISTRIES",
        listed(REGISTRY_HOST, "host names"),
        (),
        "Registries besides Ollama's own that a model name may begin with, for example hf.co.",
        shown="none",
    )
    registry_lookups: bool = _setting(
        "REGISTRY_LOOKUPS",
        YES_OR_NO,
        False,
        "Ask the registry for sizes and newer versions of models. Not used yet: nothing is asked of any other server.",
        shown="false",
    )
    data_dir: Path = _setting(
        "CHATAPP_DATA_DIR", FOLDER, Path("data"), "Folder that holds everything that is kept."
    )
    secret_key: str | None = _setting(
        "SECRET_KEY",
        optional(SECRET_KEY),
        None,
        "Key that signs cookies. Changing it signs everybody out.",
        shown="made at the first start and kept in the data folder",
        secret=True,
    )
    root_username: str | None = _setting(
        "ROOT_USERNAME",
        optional(USER_NAME),
        None,
        "Together with ROOT_PASSWORD: makes the root account when there is no account yet.",
        shown="unset",
    )
    root_password: str | None = _setting(
        "ROOT_PASSWORD", optional(PASSWORD), None, "See ROOT_USERNAME.", shown="unset", secret=True
    )
    max_streams: int = _setting(
        "MAX_STREAMS", whole(1, 4096), 512, "How many replies and downloads may be watched at the same time."
    )
    max_message_chars: int = _setting(
        "MAX_MESSAGE_CHARS",
        whole(1, 10_000_000),
        100_000,
        "Longest message a person may send.",
        unit="characters",
    )
    ratelimit_enabled: bool = _setting(
        "RATELIMIT_ENABLED",
        YES_OR_NO,
        True,
        "Limit how often one may try to log in, register and send. Limits of size and of streams stay either way.",
        shown="true",
    )
    cors_origins: tuple[str, ...] = _setting(
        "CORS_ORIGINS",
        listed(ORIGIN, "origins like https://example.org"),
        (),
        "Other sites whose pages may call the programming interface. Not used yet: there is none.",
        shown="none",
    )
    access_token_expire_minutes: int = _setting(
        "ACCESS_TOKEN_EXPIRE_MINUTES",
        whole(1, 5_256_000),
        1440,
        "How long an access token is good. Not used yet: there are none.",
        unit="minutes",
    )
    log_level: str = _setting(
        "LOG_LEVEL", one_of("debug", "info", "warning", "error"), "info", "Least level of what is logged."
    )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, dotenv: Path | None = Path(".env")) -> Config:
        """Return the settings of this environment.

        Args:
            environ: the variables; the process's own when not given.
            dotenv: a file of further variables; ``None`` or a missing file adds none.

        Raises:
            ConfigError: with one line that names the setting, the value given and what is allowed.
        """
        own = os.environ if environ is None else environ
        texts = {**_read_dotenv(dotenv), **{name: text for name, text in own.items() if text.strip()}}
        values = {attribute: _value(entry, texts) for attribute, entry in settings().items()}
        config = cls(**{attribute: value for attribute, value in values.items() if value is not None})
        config._check_root()
        return config

    def _check_root(self) -> None:
        if (self.root_username is None) != (self.root_password is None):
            given, absent = ("ROOT_USERNAME", "ROOT_PASSWORD")[:: 1 if self.root_username else -1]
            raise ConfigError(f"{given} is set and {absent} is not: set both, or neither.")

    @property
    def effective_ollama_url(self) -> str:
        """Where Ollama is expected: OLLAMA_URL, else what OLLAMA_HOST means, else its default address."""
        return self.ollama_url or ollama_address.from_ollama_host(self.ollama_host or "")

    @property
    def ollama_public_url(self) -> str:
        """The same address without credentials, fit to be shown."""
        return ollama_address.public_url(self.effective_ollama_url)


def settings() -> dict[str, Setting]:
    """Return what is known about each setting, by attribute of :class:`Config`, in the order of the table."""
    return {entry.name: entry.metadata["setting"] for entry in fields(Config)}


def _read_dotenv(path: Path | None) -> dict[str, str]:
    if path is None or not path.exists():
        return {}
    try:
        with path.open(encoding="utf-8-sig") as lines:
            bindings = list(parse_stream(lines))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {_reason(error)}.") from error
    for binding in bindings:
        if binding.error or (binding.key and binding.value is None):
            raise ConfigError(f"{path}, line {binding.original.line}: NAME=value is expected there.")
    return {b.key: b.value for b in bindings if b.key and b.value and b.value.strip()}


def _value(entry: Setting, texts: Mapping[str, str]) -> Any:
    text = _secret_text(entry, texts) if entry.secret else texts.get(entry.name)
    if text is None:
        return None
    try:
        return entry.kind.parse(text if entry.secret else text.strip())
    except ValueError:
        raise ConfigError(
            f"{entry.name}{_shown(entry, text)} is not allowed: it must be {entry.kind.allowed}."
        ) from None


def _secret_text(entry: Setting, texts: Mapping[str, str]) -> str | None:
    file_name = texts.get(f"{entry.name}_FILE")
    if file_name is None:
        return texts.get(entry.name)
    if entry.name in texts:
        raise ConfigError(f"{entry.name} and {entry.name}_FILE are both set: keep one of them.")
    return _read_secret(f"{entry.name}_FILE", Path(file_name.strip()).expanduser())


def _read_secret(name: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_SECRET_FILE_BYTES).decode().rstrip("\r\n")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{name}={path} cannot be read: {_reason(error)}.") from error


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror or "input/output error") if isinstance(error, OSError) else "it is not UTF-8 text"


def _shown(entry: Setting, text: str) -> str:
    if entry.secret:
        return " (its value is not shown)"
    without_credentials = "…@" + text.rpartition("@")[2] if "@" in text else text
    shown = without_credentials.strip()
    shown = shown if shown.isprintable() else repr(shown)[1:-1]
    return "=" + (shown if len(shown) <= _MAX_SHOWN_CHARS else shown[:_MAX_SHOWN_CHARS] + "…")
