"""The forms in which people write Ollama's address."""

from __future__ import annotations

import pytest

from chatapp.ollama_address import from_ollama_host, normalise_url, public_url

FORMS = [
    ("example", "http://example:11434"),
    ("example:81", "http://example:81"),
    (":81", "http://127.0.0.1:81"),
    ("http://example", "http://example:80"),
    ("https://example/", "https://example:443"),
    ("HTTPS://Example:8443/ollama/", "https://Example:8443/ollama"),
    ("0.0.0.0", "http://127.0.0.1:11434"),
    ("http://0.0.0.0:11434", "http://127.0.0.1:11434"),
    ("[::1]", "http://[::1]:11434"),
    ("[::1]:5", "http://[::1]:5"),
    ("::1", "http://[::1]:11434"),
    ("[::]:5", "http://[::1]:5"),
    (' "10.0.0.1" ', "http://10.0.0.1:11434"),
    ("host.docker.internal", "http://host.docker.internal:11434"),
    ("http://me:p%40ss@example:1/x", "http://me:p%40ss@example:1/x"),
]
NO_ADDRESS = [
    "", "unix:///run/x", "ftp://example", "http://", "http://a b", "http://a?b=c", "http://a#b", "http://a\\b",
    "http://a:0", "http://a:70000", "http://a:", "http://a:x", "http://[::1", "http://[zz]", "http://-", "a\nb",
]  # fmt: skip
FORGIVEN = [
    ("", "http://127.0.0.1:11434"),
    ("example:abc", "http://example:11434"),
    ("http://example:99999", "http://example:80"),
    ("https://example:x/path", "https://example:443/path"),
    ("[::1]:x", "http://[::1]:11434"),
    ("unix:///run/x", "http://127.0.0.1:11434"),
    ("a b", "http://127.0.0.1:11434"),
]


@pytest.mark.parametrize(("text", "url"), FORMS)
def test_each_form_of_an_address_means_one_url(text: str, url: str) -> None:
    assert normalise_url(text) == url
    assert from_ollama_host(text) == url


@pytest.mark.parametrize("text", NO_ADDRESS)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the message is the text itself
        normalise_url(text)


@pytest.mark.parametrize(("text", "url"), FORGIVEN)
def test_ollamas_own_setting_is_never_refused(text: str, url: str) -> None:
    assert from_ollama_host(text) == url


def test_credentials_are_left_out_of_what_is_shown() -> None:
    assert public_url("https://me:p%40ss@[::1]:443/x") == "https://[::1]:443/x"
