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


FIRST_USE_BY_MANY = """
import sys, threading
from chatapp.services.passwords import check_new

# A few milliseconds apart, so that some come while the lists are being read and some when they are let go of.
threads = [
    threading.Timer(number * 0.003, check_new, ["correct horse battery", "alice"]) for number in range(50)
]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print([name for name in sys.modules if "zxcvbn" in name])
"""


def test_the_word_lists_are_read_by_many_at_once_and_do_not_stay_in_memory() -> None:
    program = [sys.executable, "-c", FIRST_USE_BY_MANY]

    answer = subprocess.run(program, capture_output=True, text=True, check=True)

    assert (answer.stdout, answer.stderr) == ("[]\n", "")
