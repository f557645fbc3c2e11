"""The list of passwords that everybody tries first."""

from __future__ import annotations

import subprocess
import sys

import pytest

from chatapp.errors import Invalid
from chatapp.services.passwords import check_new


@pytest.mark.parametrize("password", ["password", "PASSWORD", "qwertyuiop", "1234567890"])
def test_a_password_that_everybody_tries_is_refused(password: str) -> None:
    with pytest.raises(Invalid, match="one of the first that anybody tries"):
        check_new(password, "alice")


def test_a_password_of_ones_own_is_taken() -> None:
    check_new("correct horse battery", "alice")


def test_the_word_lists_do_not_stay_in_memory() -> None:
    program = (
        "import sys; from chatapp.services.passwords import check_new; "
        "check_new('correct horse battery', 'alice'); print([name for name in sys.modules if 'zxcvbn' in name])"
    )

    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert answer.stdout == "[]\n"
