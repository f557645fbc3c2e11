"""Every error that this application raises on purpose.

Each class carries an HTTP status and a stable code; :mod:`chatapp.routes.errors` turns them into a page or
into JSON, and nothing else does. A message is one or two sentences for a person: what happened, and what to do.

    ChatAppError                    500  internal
    ├── NotAuthenticated            401  not_authenticated   nobody is signed in
    │   └── BadLogin                401  bad_login           name or password is wrong
    ├── NotAllowed                  403  not_allowed         signed in, but not for this
    │   └── CrossSite               403  cross_site          token or Origin does not fit
    ├── NotFound                    404  not_found           absent, or another person's
    │   └── ModelMissing            404  model_missing       Ollama does not have this model
    ├── Invalid                     400  invalid             a field breaks a rule (``field`` names it)
    ├── Conflict                    409  conflict
    │   ├── NameTaken               409  name_taken
    │   └── ReplyRunning            409  reply_running       this chat is still being answered
    ├── TooLarge                    413  too_large
    ├── UnsupportedType             415  unsupported_type    the body is neither a form nor JSON
    ├── TooMany                     429  too_many            ``retry_after_s`` says when again
    ├── ConfigError                 500  config              the start stops with this one line
    ├── StorageFailed               503  storage_failed      not saved; what was typed must be kept
    │   ├── StorageFull             503  storage_full
    │   ├── StorageReadOnly         503  storage_read_only
    │   ├── StoreLocked             503  store_locked        another server holds the data folder
    │   └── StoreDamaged            503  store_damaged       a data file cannot be trusted
    └── OllamaFailed                502  ollama_failed       Ollama answered with an error
        ├── OllamaUnreachable       502  ollama_unreachable  no connection
        ├── OllamaTimeout           502  ollama_timeout      connected, then silent for too long
        ├── OllamaBroken            502  ollama_broken       the answer ended early or was not understood
        ├── OllamaBusy              503  ollama_busy         its waiting line is full
        └── OllamaRefused           502  ollama_refused      it understood and said no
"""

from __future__ import annotations


class ChatAppError(Exception):
    """Base of the tree.

    Args:
        message: what happened and what to do, in plain words, ready to be shown.
        field: the form or JSON field that is at fault, if one is.
        detail: the raw text of the other side (Ollama, the operating system), shown folded; never a secret.
    """

    status = 500
    code = "internal"

    def __init__(self, message: str, *, field: str | None = None, detail: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.detail = detail

    @property
    def public(self) -> str:
        """The message without what only those who look after the server may read, such as its paths."""
        return self.message


class NotAuthenticated(ChatAppError):
    status = 401
    code = "not_authenticated"


class BadLogin(NotAuthenticated):
    code = "bad_login"


class NotAllowed(ChatAppError):
    status = 403
    code = "not_allowed"


class CrossSite(NotAllowed):
    code = "cross_site"


class NotFound(ChatAppError):
    status = 404
    code = "not_found"


class ModelMissing(NotFound):
    code = "model_missing"


class Invalid(ChatAppError):
    status = 400
    code = "invalid"


class Conflict(ChatAppError):
    status = 409
    code = "conflict"


class NameTaken(Conflict):
    code = "name_taken"


class ReplyRunning(Conflict):
    code = "reply_running"


class TooLarge(ChatAppError):
    status = 413
    code = "too_large"


class UnsupportedType(ChatAppError):
    status = 415
    code = "unsupported_type"


class TooMany(ChatAppError):
    status = 429
    code = "too_many"

    def __init__(self, message: str, *, retry_after_s: int, field: str | None = None) -> None:
        super().__init__(message, field=field)
        self.retry_after_s = retry_after_s


class ConfigError(ChatAppError):
    code = "config"


class StorageFailed(ChatAppError):
    status = 503
    code = "storage_failed"


class StorageFull(StorageFailed):
    code = "storage_full"


class StorageReadOnly(StorageFailed):
    code = "storage_read_only"


class StoreLocked(StorageFailed):
    code = "store_locked"


class StoreDamaged(StorageFailed):
    code = "store_damaged"

    @property
    def public(self) -> str:
        return "This cannot be read from the server's disk. Tell whoever looks after the server; its log says more."


class OllamaFailed(ChatAppError):
    status = 502
    code = "ollama_failed"


class OllamaUnreachable(OllamaFailed):
    code = "ollama_unreachable"


class OllamaTimeout(OllamaFailed):
    code = "ollama_timeout"


class OllamaBroken(OllamaFailed):
    code = "ollama_broken"


class OllamaBusy(OllamaFailed):
    status = 503
    code = "ollama_busy"


class OllamaRefused(OllamaFailed):
    code = "ollama_refused"
