"""Model names: what is one, what never leaves this server, and which two are the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.errors import Invalid
from chatapp.ollama.names import ModelName, checked_name, same_name

_FIRST = "abcXYZ019_"
_PART = st.builds(str.__add__, st.sampled_from(_FIRST), st.text(_FIRST + "-", max_size=79))
_HOST = st.builds("{}.example:{}".format, _PART, st.integers(1, 65535))

GOOD = [
    ("llama3.2", "llama3.2:latest", "registry.ollama.ai/library/llama3.2:latest"),
    ("llama3.2:1b", "llama3.2:1b", "registry.ollama.ai/library/llama3.2:1b"),
    ("SmolLM2:135M", "SmolLM2:135M", "registry.ollama.ai/library/SmolLM2:135M"),
    ("me/model:tag", "me/model:tag", "registry.ollama.ai/me/model:tag"),
    ("library/qwen3", "qwen3:latest", "registry.ollama.ai/library/qwen3:latest"),
    ("qwen3:0.6b-q4_K_M", "qwen3:0.6b-q4_K_M", "registry.ollama.ai/library/qwen3:0.6b-q4_K_M"),
    ("hf.co/user/repo-GGUF:Q4_K_M", "hf.co/user/repo-GGUF:Q4_K_M", "hf.co/user/repo-GGUF:Q4_K_M"),
    (
        "127.0.0.1:5001/library/smollm2",
        "127.0.0.1:5001/library/smollm2:latest",
        "127.0.0.1:5001/library/smollm2:latest",
    ),
    ("registry.ollama.ai/library/qwen3", "qwen3:latest", "registry.ollama.ai/library/qwen3:latest"),
    ("_x:_1", "_x:_1", "registry.ollama.ai/library/_x:_1"),
    (
        "a" * 80 + ":" + "b" * 80,
        "a" * 80 + ":" + "b" * 80,
        "registry.ollama.ai/library/" + "a" * 80 + ":" + "b" * 80,
    ),
]

NOT_A_NAME = [
    "",
    "   ",
    "http://127.0.0.1:8000/x",
    "https://ollama.com/library/llama3.2",
    "file:///etc/passwd",
    "[::ffff:7f00:1]/a/b",
    "registry.ollama.ai@evil/a/b",
    "user:pass@host/a/b",
    "../../blobs/sha256-x",
    "a/../b",
    "..",
    ".",
    "a..b",
    "a:b..c",
    "a%2f..",
    "a\\b",
    "/a",
    "a/",
    "a//b",
    "a/b/c/d",
    "evil.com/m",
    "a:",
    ":a",
    "a:b:c",
    "-a",
    ".hidden",
    "a:-b",
    "a@sha256-0123",
    "m@sha256:" + "0" * 64,
    "<svg onload>",
    "<svg/onload=alert(1)>",
    "a\nb",
    "a\n",
    "\na",
    "a\r\nX: y",
    "a\tb",
    "a\0b",
    "a b",
    "a;rm",
    "a;rm -rf /",
    "$(id)",
    "`id`",
    "a'b",
    'a"b',
    "a|b",
    "a?b",
    "a#b",
    "modèle",
    "ⅼlama",
    "llama３",
    "ллама",
    "a\u200bb",
    "\u202ea",
    "a\u0301",
    "١",
    "a" * 81,
    "a:" + "b" * 81,
    "n" * 81 + "/a",
    "h" * 351 + "/a/b",
    "a" * 1_000_000,
]

FOREIGN = [
    ("evil.com/ns/m", "evil.com"),
    ("127.0.0.1:80/a/b", "127.0.0.1:80"),
    ("hf.co/user/repo:Q4_K_M", "hf.co"),
    ("localhost/a/b", "localhost"),
    ("hf.co:443/user/repo", "hf.co:443"),
    ("hf.co.evil.com/user/repo", "hf.co.evil.com"),
]


@pytest.mark.parametrize(("text", "listed", "full"), GOOD)
def test_a_name_is_shown_as_ollama_lists_it(text, listed, full):
    name = ModelName.parse(text)

    assert str(name) == listed
    assert name.full == full


@pytest.mark.parametrize("text", NOT_A_NAME, ids=lambda text: repr(text[:24]))
def test_what_is_not_a_name_is_refused_with_an_example(text):
    with pytest.raises(Invalid) as refused:
        checked_name(text)

    assert refused.value.message == "A model name looks like name:tag, for example llama3.2:1b."
    assert refused.value.field == "model"


@pytest.mark.parametrize(
    "text", [text for text in NOT_A_NAME if text.strip()], ids=lambda text: repr(text[:24])
)
def test_allowing_a_host_opens_no_other_door(text):
    with pytest.raises(Invalid):
        checked_name(text, allowed_hosts=["hf.co", "evil.com", "127.0.0.1:8000", ""])


@pytest.mark.parametrize(("text", "host"), FOREIGN)
def test_a_host_that_is_not_allowed_is_named_in_the_refusal(text, host):
    with pytest.raises(Invalid) as refused:
        checked_name(text)

    assert refused.value.message == (
        f"This server takes no models from {host}. A model name looks like name:tag, for example llama3.2:1b."
    )
    assert refused.value.field == "model"


def test_a_host_with_a_port_is_another_host():
    with pytest.raises(Invalid):
        checked_name("hf.co:8080/user/repo", allowed_hosts=["hf.co"])


def test_an_allowed_host_may_be_written_in_any_case():
    assert checked_name("HF.co/user/repo:Q4", allowed_hosts=["hf.co"]) == "HF.co/user/repo:Q4"


def test_a_checked_name_keeps_its_spelling_without_the_spaces_around_it():
    assert checked_name("  SmolLM2:135M ") == "SmolLM2:135M"


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("llama3.2", "llama3.2:latest"),
        ("SMOLLM2:135M", "smollm2:135m"),
        ("library/qwen3", "qwen3"),
        ("registry.ollama.ai/library/qwen3:latest", "QWEN3"),
        ("HF.co/a/b", "hf.co/A/B:LATEST"),
        ("not a name", "not a name"),
    ],
)
def test_two_spellings_of_one_model_are_the_same(a, b):
    assert same_name(a, b)
    assert same_name(b, a)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("qwen3", "qwen3:0.6b"),
        ("me/qwen3", "qwen3"),
        ("hf.co/a/b", "a/b"),
        ("not a name", "other"),
        ("", "a"),
    ],
)
def test_two_models_are_not_the_same(a, b):
    assert not same_name(a, b)


@given(host=_HOST, namespace=_PART.map(lambda part: part.replace(".", "-")), model=_PART, tag=_PART)
def test_the_parts_of_every_full_name_come_back(host, namespace, model, tag):
    name = ModelName(host=host, namespace=namespace, model=model, tag=tag)

    assert ModelName.parse(name.full) == name


@given(st.text(max_size=40))
def test_any_text_is_either_refused_or_a_plain_name(text):
    try:
        name = checked_name(text)
    except Invalid:
        return
    assert name.isascii()
    assert ".." not in name
    assert "://" not in name
    assert name.count("/") <= 1
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:/")


@given(st.text("ab.:/-_@% A\n", max_size=30))
def test_a_text_made_of_the_letters_of_names_keeps_its_meaning_when_listed(text):
    try:
        name = ModelName.parse(text)
    except Invalid:
        return
    assert ModelName.parse(str(name)).full.lower() == name.full.lower()
    assert same_name(text, str(name))
