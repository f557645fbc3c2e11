"""On a build server a test that is skipped fails the run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(("ci", "code"), [("true", 1), ("", 0)])
def test_a_skipped_test_fails_the_run_on_a_build_server(tmp_path: Path, ci: str, code: int) -> None:
    shutil.copy(TOP / "conftest.py", tmp_path)
    (tmp_path / "test_it.py").write_text(
        "import pytest\n\ndef test_left_out():\n    pytest.skip('no browser')\n\ndef test_done():\n    assert True\n"
    )
    command = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_it.py")

    ended = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "CI": ci}, capture_output=True, text=True
    )

    assert ended.returncode == code
    assert "1 passed, 1 skipped" in ended.stdout.splitlines()[-1]
