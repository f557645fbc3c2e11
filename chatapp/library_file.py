"""The curated library: the models that the dashboard offers for download, read from a JSON file."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from chatapp.errors import ConfigError

PACKAGED = Path(__file__).with_name("library.json")
_MAX_FILE_BYTES = 1_000_000


class LibraryEntry(BaseModel):
    """One model on offer. ``size_bytes`` is what a download takes, roughly; ``note`` is one short sentence.

    ``engine_size_bytes`` is set for what the embedded engine can fetch by itself: the size of that download.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=350, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:/-]*$")
    size_bytes: int = Field(gt=0)
    engine_size_bytes: int | None = Field(default=None, gt=0)
    note: str = Field(default="", max_length=200)


def read_library(path: Path | None = None) -> tuple[LibraryEntry, ...]:
    """Return the entries of ``path``, or of the list that comes with the application, in the file's order.

    Raises:
        ConfigError: when the file cannot be read or does not have the form of ``library.json``.
    """
    place = path or PACKAGED
    try:
        with place.open("rb") as file:
            text = file.read(_MAX_FILE_BYTES)
        return TypeAdapter(tuple[LibraryEntry, ...]).validate_json(text)
    except OSError as error:
        raise ConfigError(f"MODEL_LIBRARY={place} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        raise ConfigError(f"MODEL_LIBRARY={place} is not a list of models: {_first_fault(error)}.") from error


def _first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    place = " → ".join(str(part) for part in fault["loc"])
    return f"{place}: {fault['msg']}" if place else json.dumps(fault["msg"])[1:-1]
