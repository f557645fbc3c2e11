"""Settings: defaults, where values come from, and the one line that each kind of nonsense gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatapp.config import Config
from chatapp.errors import ConfigError

NUMBER = "it must be a whole number from"
REFUSED = [
    ({"PORT": "abc"}, f"PORT=abc is not allowed: {NUMBER} 1 to 65535."),
    ({"PORT": "0"}, f"PORT=0 is not allowed: {NUMBER} 1 to 65535."),
    ({"PORT": "70000"}, f"PORT=70000 is not allowed: {NUMBER} 1 to 65535."),
    ({"PORT": "-1"}, f"PORT=-1 is not allowed: {NUMBER} 1 to 65535."),
    ({"PORT": "٥٠٠٠"}, f"PORT=٥٠٠٠ is not allowed: {NUMBER} 1 to 65535."),
    ({"PORT": "5000\nX=1"}, f"PORT=5000\\nX=1 is not allowed: {NUMBER} 1 to 65535."),
    ({"MAX_STREAMS": "0"}, f"MAX_STREAMS=0 is not allowed: {NUMBER} 1 to 4096."),
    ({"MAX_STREAMS": "1" + "0" * 18}, f"MAX_STREAMS=1{'0' * 18} is not allowed: {NUMBER} 1 to 4096."),
    ({"MAX_STREAMS": "9" * 90}, f"MAX_STREAMS={'9' * 60}… is not allowed: {NUMBER} 1 to 4096."),
    ({"MAX_MESSAGE_CHARS": "ten"}, f"MAX_MESSAGE_CHARS=ten is not allowed: {NUMBER} 1 to 10000000."),
    ({"TRUSTED_PROXIES": "yes"}, f"TRUSTED_PROXIES=yes is not allowed: {NUMBER} 0 to 10."),
    (
        {"ACCESS_TOKEN_EXPIRE_MINUTES": "-1"},
        f"ACCESS_TOKEN_EXPIRE_MINUTES=-1 is not allowed: {NUMBER} 1 to 5256000.",
    ),
    (
        {"OLLAMA_TIMEOUT_S": "nan"},
        "OLLAMA_TIMEOUT_S=nan is not allowed: it must be a number from 1 to 86400.",
    ),
    (
        {"OLLAMA_TIMEOUT_S": "1e9"},
        "OLLAMA_TIMEOUT_S=1e9 is not allowed: it must be a number from 1 to 86400.",
    ),
    (
        {"OLLAMA_STALL_TIMEOUT_S": "-5"},
        "OLLAMA_STALL_TIMEOUT_S=-5 is not allowed: it must be a number from 1 to 86400.",
    ),
    ({"ENGINE": "maybe"}, "ENGINE=maybe is not allowed: it must be one of auto, always, never."),
    ({"LOG_LEVEL": "loud"}, "LOG_LEVEL=loud is not allowed: it must be one of debug, info, warning, error."),
    ({"RATELIMIT_ENABLED": "2"}, "RATELIMIT_ENABLED=2 is not allowed: it must be true or false."),
    ({"REGISTRY_LOOKUPS": "maybe"}, "REGISTRY_LOOKUPS=maybe is not allowed: it must be true or false."),
    (
        {"CORS_ORIGINS": "https://a.example, b.example"},
        "CORS_ORIGINS=https://a.example, b.example is not allowed: "
        "it must be origins like https://example.org, separated by commas.",
    ),
    (
        {"ALLOWED_REGISTRIES": "http://hf.co"},
        "ALLOWED_REGISTRIES=http://hf.co is not allowed: it must be host names, separated by commas.",
    ),
    (
        {"ALLOWED_HOSTS": "a b/c"},
        "ALLOWED_HOSTS=a b/c is not allowed: "
        "it must be host names, .domains or IP addresses, separated by commas.",
    ),
    (
        {"HOST": "1.2.3"},
        "HOST=1.2.3 is not allowed: "
        "it must be an IP address or a host name, for example 127.0.0.1 or 0.0.0.0.",
    ),
    (
        {"OLLAMA_URL": "unix:///run/ollama.sock"},
        "OLLAMA_URL=unix:///run/ollama.sock is not allowed: it must be an address like http://127.0.0.1:11434.",
    ),
    (
        {"OLLAMA_URL": "ftp://me:hidden@host"},
        "OLLAMA_URL=…@host is not allowed: it must be an address like http://127.0.0.1:11434.",
    ),
    (
        {"DEFAULT_MODEL": "../x"},
        "DEFAULT_MODEL=../x is not allowed: it must be a model name like llama3.2:1b.",
    ),
    (
        {"MODEL_LIBRARY": "/nowhere/list.json"},
        "MODEL_LIBRARY=/nowhere/list.json is not allowed: it must be the path of a file that exists.",
    ),
    (
        {"CHATAPP_DATA_DIR": "a\0b"},
        "CHATAPP_DATA_DIR=a\\x00b is not allowed: it must be the path of a folder.",
    ),
    (
        {"ROOT_USERNAME": "a b", "ROOT_PASSWORD": "long enough"},
        "ROOT_USERNAME=a b is not allowed: it must be 2 to 32 letters, digits, dots, underscores or hyphens.",
    ),
    (
        {"ROOT_USERNAME": "root", "ROOT_PASSWORD": "short"},
        "ROOT_PASSWORD (its value is not shown) is not allowed: it must be a password of 8 to 1024 bytes.",
    ),
    ({"ROOT_USERNAME": "root"}, "ROOT_USERNAME is set and ROOT_PASSWORD is not: set both, or neither."),
    (
        {"ROOT_PASSWORD": "long enough"},
        "ROOT_PASSWORD is set and ROOT_USERNAME is not: set both, or neither.",
    ),
    (
        {"SECRET_KEY": "x" * 40, "SECRET_KEY_FILE": "/run/secrets/key"},
        "SECRET_KEY and SECRET_KEY_FILE are both set: keep one of them.",
    ),
    (
        {"SECRET_KEY_FILE": "/nowhere/key"},
        "SECRET_KEY_FILE=/nowhere/key cannot be read: No such file or directory.",
    ),
]
SECRET_KEY_RULE = (
    "SECRET_KEY (its value is not shown) is not allowed: "
    "it must be at least 32 random characters (leave it unset and the server makes one)."
)


@pytest.mark.parametrize(("environ", "line"), REFUSED)
def test_what_is_not_allowed_is_refused_with_one_line(environ: dict[str, str], line: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Config.from_env(environ, None)

    assert refused.value.message == line


@pytest.mark.parametrize(
    "key",
    [
        "short",
        "a" * 64,
        "change-me-" * 6,
        "your_secret_key_goes_here_1234567890",
        "django-insecure-0123456789abcdefgh",
    ],
)
def test_a_weak_or_well_known_secret_key_is_refused(key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Config.from_env({"SECRET_KEY": key}, None)

    assert refused.value.message == SECRET_KEY_RULE


def test_an_empty_environment_gives_the_defaults() -> None:
    assert Config.from_env({}, None) == Config()


def test_an_empty_value_counts_as_unset() -> None:
    config = Config.from_env({"PORT": "", "OLLAMA_URL": "  "}, None)

    assert (config.port, config.ollama_url) == (5000, None)


def test_values_are_read_in_their_own_kind() -> None:
    config = Config.from_env(
        {
            "HOST": "[::1]",
            "PORT": " 8080 ",
            "ALLOWED_HOSTS": "Chat.Example, .lan  *.home.arpa,10.0.0.5,*",
            "CORS_ORIGINS": "https://A.example/ http://b.example:81",
            "ALLOWED_REGISTRIES": "hf.co,127.0.0.1:5001",
            "ENGINE": "Never",
            "REGISTRY_LOOKUPS": "ON",
            "OLLAMA_TIMEOUT_S": "2.5",
        },
        None,
    )

    assert (config.host, config.port, config.engine) == ("::1", 8080, "never")
    assert config.allowed_hosts == ("chat.example", ".lan", ".home.arpa", "10.0.0.5", "*")
    assert config.cors_origins == ("https://a.example", "http://b.example:81")
    assert config.allowed_registries == ("hf.co", "127.0.0.1:5001")
    assert (config.registry_lookups, config.ollama_timeout_s) == (True, 2.5)


def test_a_file_adds_settings_and_the_environment_wins(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text(
        "# comment\nexport PORT=6000\nHOST='0.0.0.0'\nROOT_PASSWORD=\"pa$HOME ss#word\"\nROOT_USERNAME=root\n"
    )

    config = Config.from_env({"PORT": "7000"}, dotenv)

    assert (config.host, config.port, config.root_password) == ("0.0.0.0", 7000, "pa$HOME ss#word")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"PORT=1\nthis is no setting\n", "line 2: NAME=value is expected there."),
        (b"PORT='5000\n", "line 1: NAME=value is expected there."),
        (b"\xff\xfe\x00", "cannot be read: it is not UTF-8 text."),
    ],
)
def test_a_broken_file_of_settings_stops_the_start(tmp_path: Path, content: bytes, reason: str) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_bytes(content)

    with pytest.raises(ConfigError) as refused:
        Config.from_env({}, dotenv)

    assert refused.value.message.startswith(str(dotenv))
    assert refused.value.message.endswith(reason)


def test_a_folder_in_place_of_the_file_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        Config.from_env({}, tmp_path)


def test_a_secret_is_read_from_the_file_that_is_named(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("0123456789abcdefghijklmnopqrstuv\n")

    config = Config.from_env({"SECRET_KEY_FILE": str(secret)}, None)

    assert config.secret_key == "0123456789abcdefghijklmnopqrstuv"


def test_secrets_and_credentials_never_show() -> None:
    config = Config(
        secret_key="key-that-is-hidden", root_password="password-hidden", ollama_url="http://me:hidden@host:1"
    )

    assert "hidden" not in repr(config)
    assert config.ollama_public_url == "http://host:1"


def test_a_password_keeps_its_outer_spaces() -> None:
    config = Config.from_env({"ROOT_USERNAME": "root", "ROOT_PASSWORD": "  spaces  "}, None)

    assert config.root_password == "  spaces  "


def test_ollama_is_expected_at_the_named_url_then_at_its_own_host_then_at_its_default() -> None:
    assert Config(ollama_url="http://a:1", ollama_host="b:2").effective_ollama_url == "http://a:1"
    assert Config(ollama_host="b:2").effective_ollama_url == "http://b:2"
    assert Config().effective_ollama_url == "http://127.0.0.1:11434"
