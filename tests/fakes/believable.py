"""What the scriptable Ollama answers on its own: models that can be listed, pulled, deleted and asked."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.fakes import scripts
from tests.fakes.wire import Wire

REPLY = (
    "Paris is the **capital** of France. 🇫🇷\n\n"
    "- It lies on the Seine.\n- About two million people live there.\n\n"
    "```python\nprint('Bonjour')\n```\n"
)
_LAYERS_BYTES = (98_000_000, 11_000, 500)
_PULL_STEPS = 20


@dataclass
class BelievableOllama:
    """The state of a small Ollama. Models are known by name; ``reply`` is what every model says.

    Pulling a model adds it, unless its name begins with ``nope``. A name that holds ``think`` thinks first.
    """

    reply: str = REPLY
    thinking: str = "The question is about France."
    tokens_per_s: float = 1_000.0
    first_token_s: float = 0.0
    pull_s: float = 0.1
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    loaded: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("smollm2:135m", "llama3.2:1b"):
            self.add(name)

    def add(self, name: str, size_bytes: int = sum(_LAYERS_BYTES)) -> None:
        """Install a model."""
        self.models[_listed(name)] = {
            "name": _listed(name),
            "model": _listed(name),
            "modified_at": _now(),
            "size": size_bytes,
            "digest": hashlib.sha256(_listed(name).encode()).hexdigest(),
            "details": {
                "parent_model": "",
                "format": "gguf",
                "family": "llama",
                "families": ["llama"],
                "parameter_size": "134.52M",
                "quantization_level": "Q4_1",
                "context_length": 8192,
            },
            "capabilities": ["completion", "thinking"] if "think" in name else ["completion"],
        }

    def answer(self, wire: Wire) -> None:
        """Answer any request."""
        endpoints: dict[tuple[str, str], Callable[[Wire], None]] = {
            ("GET", "/"): scripts.answer(200, b"Ollama is running", "text/plain; charset=utf-8"),
            ("GET", "/api/version"): scripts.answer(200, {"version": "0.33.0"}),
            ("GET", "/api/tags"): scripts.answer(200, {"models": list(self.models.values())}),
            ("GET", "/api/ps"): scripts.answer(200, {"models": list(self.loaded.values())}),
            ("POST", "/api/show"): self._show,
            ("POST", "/api/chat"): self._chat,
            ("POST", "/api/pull"): self._pull,
            ("DELETE", "/api/delete"): self._delete,
        }
        unknown = scripts.answer(404, b"404 page not found", "text/plain")
        endpoints.get((wire.call.method, wire.call.path), unknown)(wire)

    def _installed(self, wire: Wire) -> dict[str, Any] | None:
        """Return the model that is asked for; without it, answer as Ollama does and return ``None``."""
        asked = wire.call.json.get("model", "")
        wanted = _listed(asked).lower()
        found = next((row for name, row in list(self.models.items()) if name.lower() == wanted), None)
        if found is None:
            scripts.error(404, f"model '{asked}' not found")(wire)
        return found

    def _show(self, wire: Wire) -> None:
        model = self._installed(wire)
        if model is None:
            return
        shown = {
            "license": "Apache License 2.0",
            "parameters": 'stop    "<|im_end|>"',
            "template": "{{ .Prompt }}",
            "details": model["details"],
            "model_info": {"general.architecture": "llama", "llama.context_length": 8192},
            "capabilities": model["capabilities"],
            "modified_at": model["modified_at"],
        }
        scripts.answer(200, shown)(wire)

    def _delete(self, wire: Wire) -> None:
        model = self._installed(wire)
        if model is not None:
            self.models.pop(model["name"], None)
            scripts.answer(200)(wire)

    def _chat(self, wire: Wire) -> None:
        model = self._installed(wire)
        if model is None:
            return
        asked = wire.call.json
        if not asked.get("messages"):
            self._load_or_unload(wire, model, asked)
            return
        self._load(model)
        if asked.get("stream") is False:
            scripts.answer(200, scripts.done(self.reply) | self._counters(len(_tokens(self.reply))))(wire)
            return
        thinks = "thinking" in model["capabilities"] and asked.get("think") is not False
        self._stream(wire, _tokens(self.thinking) if thinks else [], _tokens(self.reply))

    def _load_or_unload(self, wire: Wire, model: dict[str, Any], asked: dict[str, Any]) -> None:
        if asked.get("keep_alive") == 0:
            self.loaded.pop(model["name"], None)
            scripts.answer(200, scripts.done(done_reason="unload"))(wire)
            return
        self._load(model)
        scripts.answer(200, scripts.done(done_reason="load"))(wire)

    def _load(self, model: dict[str, Any]) -> None:
        expires_at = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
        more = {"expires_at": expires_at, "size_vram": 0, "context_length": 4096}
        self.loaded[model["name"]] = {**model, **more, "size": 160_000_000}

    def _stream(self, wire: Wire, thinking: list[str], content: list[str]) -> None:
        wire.pause(self.first_token_s)
        wire.begin()
        lines = [scripts.piece("", thinking=text) for text in thinking]
        lines += [scripts.piece(text) for text in content]
        begun_s = time.monotonic()
        for number, line in enumerate(lines):
            wire.pause_until(begun_s + number / self.tokens_per_s)
            line["created_at"] = _now()
            wire.line(line)
        wire.line(scripts.done() | self._counters(len(lines)))
        wire.end()

    def _counters(self, tokens: int) -> dict[str, int]:
        eval_ns = round(tokens / self.tokens_per_s * 1e9)
        return {
            "total_duration": eval_ns + 30_000_000,
            "load_duration": 10_000_000,
            "prompt_eval_count": 28,
            "prompt_eval_duration": 20_000_000,
            "eval_count": tokens,
            "eval_duration": eval_ns,
        }

    def _pull(self, wire: Wire) -> None:
        name = wire.call.json.get("model", "")
        wire.begin()
        wire.line({"status": "pulling manifest"})
        if name.lower().startswith("nope"):
            wire.line({"error": "pull model manifest: file does not exist"})
        else:
            self._pull_layers(wire, name)
        wire.end()

    def _pull_layers(self, wire: Wire, name: str) -> None:
        is_here = _listed(name) in self.models
        for layer, total in enumerate(_LAYERS_BYTES):
            digest = hashlib.sha256(f"{_listed(name)} {layer}".encode()).hexdigest()
            row = {"status": f"pulling {digest[:12]}", "digest": f"sha256:{digest}", "total": total}
            steps = _PULL_STEPS if layer == 0 and not is_here else 1
            for step in range(1, steps + 1):
                wire.pause(self.pull_s / steps if steps > 1 else 0)
                wire.line(row | {"completed": total * step // steps})
        for status in ("verifying sha256 digest", "writing manifest"):
            wire.line({"status": status})
        self.add(name)
        wire.line({"status": "success"})


def _tokens(text: str) -> list[str]:
    """Cut a text as models do: a word with the space before it."""
    return re.findall(r"\s*\S+|\s+$", text)


def _listed(name: str) -> str:
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
