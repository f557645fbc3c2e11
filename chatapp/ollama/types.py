"""What Ollama answers, with units in the names. Frozen, and safe to hand to any thread.

Only ``name`` is sure to be there. Text that Ollama left out is ``""``, a number or a time is ``None``
(or 0 for a size), whatever version of Ollama, or other server that speaks its language, is on the far end.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Version:
    """``engine`` is ``"chatapp"`` for the embedded engine and ``None`` for Ollama itself."""

    version: str
    engine: str | None = None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One installed model, a row of ``/api/tags``. ``digest`` is 64 hex digits without ``sha256:``."""

    name: str
    size_bytes: int = 0
    digest: str = ""
    modified_at: datetime | None = None
    parameter_size: str = ""
    quantization_level: str = ""
    family: str = ""
    capabilities: tuple[str, ...] = ()
    context_length: int | None = None


@dataclass(frozen=True, slots=True)
class RunningModel:
    """One model in memory, a row of ``/api/ps``. A model that is still loading is not among them.

    Two names with the same weights share one row, under the name that was loaded first.
    """

    name: str
    digest: str = ""
    size_bytes: int = 0
    size_vram_bytes: int = 0
    expires_at: datetime | None = None
    context_length: int | None = None


@dataclass(frozen=True, slots=True)
class ModelDetails:
    """What ``/api/show`` says about one model. ``parameters`` is one text of ``key   value`` lines."""

    license: str = ""
    template: str = ""
    parameters: str = ""
    system: str = ""
    capabilities: tuple[str, ...] = ()
    context_length: int | None = None
    format: str = ""
    family: str = ""
    parameter_size: str = ""
    quantization_level: str = ""
    modified_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ChatPiece:
    """What one line adds to a reply. Either text may be empty, not both."""

    content: str = ""
    thinking: str = ""


@dataclass(frozen=True, slots=True)
class ChatEnd:
    """The end of a whole reply. ``done_reason`` is Ollama's word: ``stop``, ``length``, ``load`` or none."""

    done_reason: str | None = None
    prompt_tokens: int | None = None
    reply_tokens: int | None = None
    load_ms: float | None = None
    prompt_ms: float | None = None
    eval_ms: float | None = None
    total_ms: float | None = None

    @property
    def tokens_per_s(self) -> float | None:
        """The speed at which the reply was made, or ``None`` where Ollama did not measure it."""
        if not self.reply_tokens or not self.eval_ms:
            return None
        return self.reply_tokens / self.eval_ms * 1000


@dataclass(frozen=True, slots=True)
class PullStatus:
    """One line of a pull.

    ``digest`` names the layer the numbers belong to. ``total_bytes`` may be unknown for a while or less than
    what is completed, a layer's last line need not reach it, ``completed_bytes`` may run backwards, and small
    layers may have no line at all. Numbers are never negative.
    """

    status: str
    digest: str | None = None
    total_bytes: int | None = None
    completed_bytes: int | None = None


class Cancelled(Exception):
    """Ends the iteration of a stream on which ``cancel()`` was called."""
