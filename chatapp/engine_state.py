"""What the embedded engine is doing, told by the supervisor to the site through one small file.

The site cannot see the supervisor's children, and a first start is the very moment when somebody looks at the
page and wonders why nothing answers.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

_FILE = "state"
_MAX_CHARACTERS = 500

INSTALLING = "installing"
STARTED = "started"
_SENTENCES = {
    INSTALLING: "The built-in engine is being installed. At the first start this takes a minute; this page follows.",
    STARTED: "The built-in engine is starting. Try again in a moment.",
}


def tell(folder: Path, state: str) -> None:
    """Note the state: ``INSTALLING``, ``STARTED``, or a sentence that says why there is no engine."""
    (folder / _FILE).write_text(state, encoding="utf-8")


def sentence(folder: Path) -> str:
    """Return why the engine in ``folder`` does not answer, for a person who waits for it."""
    state = STARTED
    with contextlib.suppress(OSError, UnicodeDecodeError):
        state = (folder / _FILE).read_text(encoding="utf-8")[:_MAX_CHARACTERS]
    return _SENTENCES.get(state, state)
