"""The signing key and the setup code, when their files cannot be used."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from chatapp.errors import StorageFailed
from chatapp.storage.secrets import SetupCodeFile, load_or_make_key
from tests.fakes.files import error


@pytest.mark.parametrize(
    ("number", "cure"),
    [
        (errno.ENOSPC, "Free some space and start again."),
        (errno.EACCES, "or remove it: the next start makes a new one."),
    ],
)
def test_a_secret_that_cannot_be_written_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, cure: str
) -> None:
    def fail(_: int) -> None:
        raise error(number)

    monkeypatch.setattr(os, "fsync", fail)

    code = SetupCodeFile(tmp_path / "setup-code")
    makers: list[Callable[[], str]] = [partial(load_or_make_key, tmp_path / "secret.key"), code.prepare]
    for make in makers:
        with pytest.raises(StorageFailed) as refused:
            make()
        assert refused.value.message.endswith(cure)
        assert os.strerror(number) in refused.value.message
