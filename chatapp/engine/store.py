"""Models on disk, laid out as Ollama lays them out.

    blobs/sha256-<hex>                          weights, config, system text, options, licence: by content
    manifests/<host>/<namespace>/<model>/<tag>  JSON that names the blobs of one model
    incoming/                                   work of running pulls; emptied at every start

A blob or manifest appears whole or not at all: written aside, made durable, renamed. Safe for many threads.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from chatapp.engine.gguf import Header, human_count, read_header
from chatapp.engine.wire import ApiError, Json, model_name
from chatapp.errors import Invalid
from chatapp.ollama.names import ModelName

_MEDIA = "application/vnd.ollama.image."
_MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"


@dataclass(frozen=True, slots=True)
class StoredModel:
    """One model of the store. The small layers are read; the weights are only named.

    ``digest`` is the manifest's, 64 hex digits; ``size_bytes`` sums all blobs, as Ollama lists it.
    """

    name: ModelName
    digest: str
    size_bytes: int
    modified_at: datetime
    weights: Path
    options: Json
    system: str = ""
    license: str = ""

    @property
    def header(self) -> Header:
        """What the weights file says about itself; raises NotGguf or OSError when it cannot be read."""
        return read_header(self.weights)


class ModelStore:
    def __init__(self, folder: Path) -> None:
        self._blobs = folder / "blobs"
        self._manifests = folder / "manifests"
        self._incoming = folder / "incoming"
        self._lock = threading.Lock()
        for part in (self._blobs, self._manifests):
            part.mkdir(parents=True, exist_ok=True)
        self._sweep()

    def models(self) -> list[StoredModel]:
        """Return all models, newest first. One whose manifest or small layers cannot be read is left out."""
        found = [model for path in self._manifest_files() if (model := self._read(path))]
        return sorted(found, key=lambda model: model.modified_at, reverse=True)

    def find(self, typed: str) -> StoredModel:
        """Return the model of this name; case does not matter.

        Raises:
            ApiError: 400, this is no model name; 404, no such model, or its weights are missing.
        """
        wanted = model_name(typed).full.lower()
        for path in self._manifest_files():
            if self._name_of(path).full.lower() == wanted:
                model = self._read(path)
                if model is not None and model.weights.is_file():
                    return model
        raise ApiError(404, f"model '{typed}' not found")

    def delete(self, typed: str) -> None:
        """Remove the name, and those of its blobs that no other model uses. Raises ApiError 404."""
        wanted = model_name(typed).full.lower()
        with self._lock:
            paths = [path for path in self._manifest_files() if self._name_of(path).full.lower() == wanted]
            if not paths:
                raise ApiError(404, f"model '{typed}' not found")
            self._drop(paths[0])

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """Give a new empty folder on the same file system, which is removed at the end with whatever is in it."""
        self._incoming.mkdir(exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=self._incoming))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def add(self, name: ModelName, weights: Path, layers: Mapping[str, bytes]) -> None:
        """Make a model out of a weights file in a workspace, which is moved, and its small layers by kind.

        Durable when it returns. An earlier model of the same name is replaced, and with it its layers.
        """
        header = read_header(weights)
        with self._lock:
            if self._manifest_path(name).exists():
                self._drop(self._manifest_path(name))
            parts = [self._keep_weights(weights)]
            parts += [self._keep(kind, content) for kind, content in layers.items()]
            manifest = {
                "schemaVersion": 2,
                "mediaType": _MANIFEST_TYPE,
                "config": self._keep_config(header, parts),
                "layers": parts,
            }
            self._write_aside(self._manifest_path(name), _json_bytes(manifest))

    def touch(self, model: StoredModel) -> None:
        """Mark the model as just pulled."""
        self._manifest_path(model.name).touch()

    def _keep_weights(self, weights: Path) -> Json:
        layer = _descriptor(_MEDIA + "model", file_digest(weights), weights.stat().st_size)
        with weights.open("rb") as file:
            os.fsync(file.fileno())
        weights.replace(self._blob(layer["digest"]))
        _sync_folder(self._blobs)
        return layer

    def _keep_config(self, header: Header, parts: list[Json]) -> Json:
        config = {
            "model_format": "gguf",
            "model_family": header.architecture,
            "model_families": [header.architecture],
            "model_type": human_count(header.parameter_count),
            "file_type": header.quantization,
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [part["digest"] for part in parts]},
        }
        return self._keep("config", _json_bytes(config))

    def _keep(self, kind: str, content: bytes) -> Json:
        media_type = _CONFIG_TYPE if kind == "config" else _MEDIA + kind
        layer = _descriptor(media_type, hashlib.sha256(content).hexdigest(), len(content))
        self._write_aside(self._blob(layer["digest"]), content)
        return layer

    def _write_aside(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with self.workspace() as workspace:
            aside = workspace / path.name
            with aside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        _sync_folder(path.parent)

    def _read(self, path: Path) -> StoredModel | None:
        try:
            raw = path.read_bytes()
            return self._model(path, raw, json.loads(raw))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _model(self, path: Path, raw: bytes, manifest: Json) -> StoredModel:
        layers = {str(layer["mediaType"]).removeprefix(_MEDIA): layer for layer in manifest["layers"]}
        return StoredModel(
            name=self._name_of(path),
            digest=hashlib.sha256(raw).hexdigest(),
            size_bytes=sum(int(part["size"]) for part in [manifest["config"], *manifest["layers"]]),
            modified_at=datetime.fromtimestamp(path.stat().st_mtime, UTC),
            weights=self._blob(layers["model"]["digest"]),
            options=json.loads(self._text(layers, "params") or "{}"),
            system=self._text(layers, "system"),
            license=self._text(layers, "license"),
        )

    def _text(self, layers: Json, kind: str) -> str:
        return self._blob(layers[kind]["digest"]).read_text("utf-8") if kind in layers else ""

    def _manifest_files(self) -> Iterator[Path]:
        for path in self._manifests.glob("*/*/*/*"):
            if path.is_file() and self._is_name(path):
                yield path

    def _is_name(self, path: Path) -> bool:
        try:
            self._name_of(path)
        except Invalid:
            return False
        return True

    def _name_of(self, path: Path) -> ModelName:
        host, namespace, model, tag = path.relative_to(self._manifests).parts
        return ModelName.parse(f"{host}/{namespace}/{model}:{tag}")

    def _manifest_path(self, name: ModelName) -> Path:
        return self._manifests / name.host / name.namespace / name.model / name.tag

    def _blob(self, digest: str) -> Path:
        kind, _, hex_digits = digest.partition(":")
        if kind != "sha256" or len(hex_digits) != 64 or not hex_digits.isalnum():
            raise ValueError(f"not a digest: {digest!r}")
        return self._blobs / f"sha256-{hex_digits}"

    def _drop(self, manifest: Path) -> None:
        digests = _digests_in(manifest)
        manifest.unlink(missing_ok=True)
        _sync_folder(manifest.parent)
        still_used = {digest for path in self._manifest_files() for digest in _digests_in(path)}
        for digest in digests - still_used:
            self._blob(digest).unlink(missing_ok=True)

    def _sweep(self) -> None:
        # What a killed pull left behind; nothing in there is ever read again.
        shutil.rmtree(self._incoming, ignore_errors=True)


def file_digest(path: Path) -> str:
    """Return the file's SHA-256 as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _descriptor(media_type: str, hex_digits: str, size_bytes: int) -> Json:
    return {"mediaType": media_type, "digest": f"sha256:{hex_digits}", "size": size_bytes}


def _digests_in(path: Path) -> set[str]:
    try:
        manifest = json.loads(path.read_bytes())
        return {part["digest"] for part in [manifest["config"], *manifest["layers"]]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _json_bytes(value: Json) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
