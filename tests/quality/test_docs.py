"""What the documents say about settings is what the code does."""

from __future__ import annotations

from pathlib import Path

from chatapp import config_docs
from chatapp.config import settings

ROOT = Path(__file__).resolve().parent.parent.parent
REWRITE = "write it anew: python -m chatapp.config_docs"


def test_the_page_about_configuration_is_what_the_table_of_settings_gives() -> None:
    assert (ROOT / "docs/CONFIGURATION.md").read_text() == config_docs.configuration_md(), REWRITE


def test_the_example_file_is_what_the_table_of_settings_gives() -> None:
    assert (ROOT / ".env.example").read_text() == config_docs.env_example(), REWRITE


def test_both_files_are_written_where_asked(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()

    config_docs.write(tmp_path)

    assert (tmp_path / "docs/CONFIGURATION.md").read_text() == config_docs.configuration_md()
    assert (tmp_path / ".env.example").read_text() == config_docs.env_example()


def test_every_setting_is_named_and_explained() -> None:
    page, example = config_docs.configuration_md(), config_docs.env_example()

    names = [entry.name for entry in settings().values()]

    assert [name for name in names if f"| `{name}`" not in page] == []
    assert [name for name in names if f"\n#{name}=" not in example] == []
    assert [entry.name for entry in settings().values() if len(entry.help) < 12] == []
