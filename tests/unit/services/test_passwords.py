"""Hashing and judging passwords."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from werkzeug.security import generate_password_hash

from chatapp.errors import Invalid
from chatapp.services import passwords
from chatapp.services.passwords import check_new, hash_password, is_usable, needs_rehash, verify


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


def test_hashes_are_made_by_the_method_that_is_asked_for_today() -> None:
    stored = hash_password("correct horse battery")

    assert stored.startswith("scrypt:32768:8:3$")
    assert not needs_rehash(stored)
    assert verify("correct horse battery", stored)
    assert not verify("correct horse battery ", stored)


@pytest.mark.parametrize("method", ["pbkdf2:sha256", "pbkdf2:sha256:1000", "scrypt", "scrypt:32768:8:1"])
def test_a_hash_of_an_older_method_fits_and_is_due_for_another(method: str) -> None:
    stored = generate_password_hash("correct horse battery", method)

    assert verify("correct horse battery", stored)
    assert needs_rehash(stored)


@pytest.mark.parametrize(
    "stored", ["", "x", "$$", "scrypt:a:b:c$salt$00", "pbkdf2:sha256:" + "9" * 40 + "$salt$00"]
)
def test_what_is_no_hash_fits_nothing(stored: str) -> None:
    assert not verify("correct horse battery", stored)


def test_nothing_fits_nobody() -> None:
    assert not verify("correct horse battery", None)


@pytest.mark.parametrize("password", ["", "\0", "password\0", "x" * 1025, "é" * 513])
def test_a_text_that_can_be_no_password_is_known_before_it_is_hashed(password: str) -> None:
    assert not is_usable(password)


@pytest.mark.parametrize("password", ["x", " ", "x" * 1024, "🔑"])
def test_any_other_text_is_tried(password: str) -> None:
    assert is_usable(password)


class CrowdedHash:
    """Stands in for a hash: lasts until two are being made, then long enough for a third to come."""

    def __init__(self) -> None:
        self.most_at_once = 0
        self._at_once = 0
        self._counting = threading.Lock()
        self._two, self._three = threading.Event(), threading.Event()

    def __call__(self, *_arguments: str) -> str:
        with self._counting:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        if self.most_at_once >= 2:
            self._two.set()
        if self.most_at_once >= 3:
            self._three.set()
        self._two.wait(10)
        self._three.wait(0.05)
        with self._counting:
            self._at_once -= 1
        return "x"


def test_two_hashes_are_made_at_once_however_many_sign_in(monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = CrowdedHash()
    monkeypatch.setattr(passwords, "generate_password_hash", crowd)
    monkeypatch.setattr(passwords, "check_password_hash", crowd)

    with ThreadPoolExecutor(20) as pool:
        made = [pool.submit(hash_password, "correct horse battery") for _ in range(10)]
        checked = [pool.submit(verify, "correct horse battery", "x") for _ in range(10)]

    assert all(done.result() for done in made + checked)
    assert crowd.most_at_once == 2
