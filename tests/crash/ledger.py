"""What was acknowledged, kept by the side that stays alive."""

from __future__ import annotations

from collections.abc import Iterable

from chatapp.models import Chat


class Ledger:
    """Takes the writer's reports and says what of it a store has lost, doubled or mixed up."""

    def __init__(self) -> None:
        self._expected: dict[str, dict[str, str]] = {}
        """Chat → message → content, in the order of the acknowledgements, which is the order of the messages."""
        self._doomed: set[str] = set()
        self._dropped: set[str] = set()

    def take(self, report: str) -> None:
        kind, chat_id, *rest = report.split(" ")
        if kind in {"add", "done"}:
            self._expected.setdefault(chat_id, {})[rest[0]] = rest[1]
        elif kind == "doom":
            self._doomed.add(chat_id)
        else:
            self._dropped.add(chat_id)
            self._expected.pop(chat_id, None)

    def complaints(self, chats: Iterable[Chat]) -> list[str]:
        """Compare with what a store holds after the kill."""
        held = {chat.id: chat for chat in chats}
        lost = [
            f"{chat_id} is lost"
            for chat_id in self._expected
            if chat_id not in held | dict.fromkeys(self._doomed)
        ]
        undead = [f"{chat_id} came back" for chat_id in self._dropped if chat_id in held]
        return lost + undead + [each for chat in held.values() for each in self._complaints_about(chat)]

    def _complaints_about(self, chat: Chat) -> list[str]:
        expected = self._expected.get(chat.id, {})
        ids = [message.id for message in chat.messages]
        doubled = [f"{chat.id} has {each} twice" for each in set(ids) if ids.count(each) > 1]
        mixed = (
            [f"{chat.id} is out of order"]
            if [each for each in ids if each in expected] != list(expected)
            else []
        )
        wrong = [
            f"{chat.id} {message.id} holds {message.content!r}"
            for message in chat.messages
            if message.content != expected.get(message.id, message.content)
            and (message.content, message.status) != ("done", "complete")
            and not (message.status == "interrupted" and message.content == "done")
        ]
        return doubled + mixed + wrong
