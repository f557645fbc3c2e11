"""Messages of one chat that came after its line in the snapshot, as the JSON that the next one will hold.

A log only grows. Successive states of a chat share it, and each sees its beginning up to its own length, so that one
more message costs the same after ten thousand others, and a reader of an older state never sees a newer message.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

_SPARE_ENTRIES = 32


class MessageLog:
    """See above. Growing it is for one thread at a time; reading is for any.

    Args:
        entries: message ids with their texts; a later text of the same id takes the place of the earlier one.
    """

    __slots__ = ("_entries", "_last")

    def __init__(self, entries: Iterable[tuple[str, bytes]] = ()) -> None:
        self._entries = list(entries)
        self._last = {message_id: place for place, (message_id, _) in enumerate(self._entries)}

    def __len__(self) -> int:
        return len(self._entries)

    def with_entry(self, length: int, message_id: str, text: bytes) -> MessageLog:
        """Return a log whose first ``length`` entries are those of this one, and which has one more.

        It is this one, unless it is empty (that one is shared), has grown already, or holds mostly texts that were
        replaced.
        """
        log = self
        if not length or length != len(self._entries) or length > 2 * len(self._last) + _SPARE_ENTRIES:
            log = MessageLog(self.texts(length).items())
        log._entries.append((message_id, text))
        log._last[message_id] = len(log._entries) - 1
        return log

    def get(self, length: int, message_id: str) -> bytes | None:
        """Return the newest text of a message among the first ``length`` entries, or ``None``."""
        place = self._last.get(message_id)
        if place is None:
            return None
        return self._entries[place][1] if place < length else self.texts(length).get(message_id)

    def texts(self, length: int) -> dict[str, bytes]:
        """Return the newest texts among the first ``length`` entries by id, in the order of the first mention."""
        return dict(islice(self._entries, length))


EMPTY_LOG = MessageLog()
