"""GET /api/tags, /api/ps, /api/version, POST /api/show, DELETE /api/delete: what is here, and its details."""

from __future__ import annotations

import contextlib
import json

from chatapp.engine.call import Call
from chatapp.engine.gguf import Header, NotGguf, human_count
from chatapp.engine.scheduler import Loaded, Scheduler
from chatapp.engine.store import ModelStore, StoredModel
from chatapp.engine.wire import ApiError, Fields, Json, model_name, stamp

# The version of Ollama's API that this engine follows; programs compare it.
VERSION = {"version": "0.33.0", "engine": "chatapp"}


class Catalogue:
    """Endpoints about models."""

    def __init__(self, store: ModelStore, scheduler: Scheduler) -> None:
        self._store = store
        self._scheduler = scheduler

    def root(self, call: Call) -> None:
        call.send(200, b"Ollama is running", {"Content-Type": "text/plain; charset=utf-8"})

    def version(self, call: Call) -> None:
        call.answer(VERSION)

    def tags(self, call: Call) -> None:
        call.answer({"models": [_row(model) for model in self._store.models()]})

    def ps(self, call: Call) -> None:
        call.answer({"models": [_running_row(loaded) for loaded in self._scheduler.running()]})

    def show(self, call: Call) -> None:
        fields = Fields(call.body(), "ShowRequest")
        name = fields.model()
        if not name:
            raise ApiError(400, "model is required")
        call.answer(_description(self._store.find(name)))

    def delete(self, call: Call) -> None:
        fields = Fields(call.body(), "DeleteRequest")
        name = fields.model()
        if not name:
            raise ApiError(400, "model is required")
        model_name(name, refusal=f'name "{name}" is invalid')
        self._store.delete(name)
        call.send(200, b"")

    def embed(self, call: Call) -> None:
        fields = Fields(call.body(), "EmbedRequest")
        name = fields.model()
        try:
            self._store.find(name)
        except ApiError as error:
            raise ApiError(404, f'model "{name}" not found, try pulling it first') from error
        if fields.values.get("input"):
            raise ApiError(501, "This server does not support embeddings. Start it with `--embeddings`")
        call.answer({"model": name, "embeddings": []})


def capabilities(model: StoredModel) -> list[str]:
    """Return what this engine can do with the model: ``completion``, or nothing for weights it cannot read."""
    with contextlib.suppress(NotGguf, OSError):
        header = model.header
        return [] if f"{header.architecture}.pooling_type" in header.pairs else ["completion"]
    return []


def _row(model: StoredModel) -> Json:
    with contextlib.suppress(NotGguf, OSError):
        header = model.header
        lengths = {"context_length": header.context_length, "embedding_length": header.embedding_length}
        return _identity(model) | {
            "modified_at": stamp(model.modified_at),
            "size": model.size_bytes,
            "details": _details(header) | lengths,
            "capabilities": capabilities(model),
        }
    return _identity(model) | {
        "modified_at": stamp(model.modified_at),
        "size": model.size_bytes,
        "details": _details(Header({}, ())),
    }


def _running_row(loaded: Loaded) -> Json:
    return _identity(loaded.model) | {
        "size": loaded.size_bytes,
        "details": _details(loaded.header),
        "expires_at": stamp(loaded.expires_at),
        "size_vram": 0,
        "context_length": loaded.runner.num_ctx,
    }


def _identity(model: StoredModel) -> Json:
    return {"name": str(model.name), "model": str(model.name), "digest": model.digest}


def _details(header: Header) -> Json:
    return {
        "parent_model": "",
        "format": "gguf",
        "family": header.architecture,
        "families": [header.architecture],
        "parameter_size": human_count(header.parameter_count),
        "quantization_level": header.quantization,
    }


def _description(model: StoredModel) -> Json:
    header = model.header
    tensors = [{"name": t.name, "type": t.type, "shape": list(t.shape)} for t in header.tensors]
    described = {
        "license": model.license,
        "modelfile": _modelfile(model),
        "parameters": _parameter_lines(model.options),
        "template": header.chat_template,
        "system": model.system,
        "details": _details(header),
        "model_info": _model_info(header),
        "tensors": tensors,
        "capabilities": capabilities(model),
        "modified_at": stamp(model.modified_at),
    }
    return {name: value for name, value in described.items() if value or name in ("modelfile", "template")}


def _model_info(header: Header) -> Json:
    pairs = {name: value for name, value in header.pairs.items() if name not in _SHOWN_ELSEWHERE}
    return dict(sorted((pairs | {"general.parameter_count": header.parameter_count}).items()))


_SHOWN_ELSEWHERE = ("general.name", "tokenizer.chat_template")


def _parameter_lines(options: Json) -> str:
    pairs = [(name, item) for name, value in options.items() for item in _as_list(value)]
    return "\n".join(f"{name:<30} {json.dumps(item, ensure_ascii=False)}" for name, item in pairs)


def _as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _modelfile(model: StoredModel) -> str:
    lines = ['# Modelfile generated by "ollama show"']
    lines += ["# To build a new Modelfile based on this, replace FROM with:"]
    lines += [f"# FROM {model.name}", "", f"FROM {model.weights}"]
    lines += [f"TEMPLATE {json.dumps(model.header.chat_template, ensure_ascii=False)}"]
    lines += [f"SYSTEM {model.system}"] if model.system else []
    lines += [f"PARAMETER {name} {item}" for name, value in model.options.items() for item in _as_list(value)]
    return "\n".join(lines) + "\n"
