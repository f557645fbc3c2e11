"""What stores live through in the crash tests, and how each step shows in what a store holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from chatapp.models import Chat, ChatSummary, Message, User
from chatapp.storage.json_store import JsonStore
from tests.crash.unlucky import UnluckyFiles
from tests.records import a_chat, a_message, a_reply, a_session, a_user, minutes_after_noon
from tests.unit.storage.killed import contents, lay_out, reopened

ALICE, BOB, CHAT, OTHER, REPLY = "alice-id", "bob-id", "chat-id", "other-chat-id", "reply-id"
REPLY_TEXT = "Für den Anfang: eins, zwei, drei."
BOBS_CHATS = tuple(f"bobs-chat-{number}" for number in range(6))

Shown = Literal["whole", "absent", "half"]


@dataclass(frozen=True, slots=True)
class Held:
    """Everything that a store holds, by id."""

    users: dict[str, User]
    chats: dict[str, Chat]

    def texts(self, chat_id: str) -> list[str]:
        chat = self.chats.get(chat_id)
        return [message.content for message in chat.messages] if chat else []

    def message(self, chat_id: str, message_id: str) -> Message | None:
        chat = self.chats.get(chat_id)
        return chat.message(message_id) if chat else None


def held_by(store: JsonStore) -> Held:
    users = {user.id: user for user in store.users.all()}
    owners = {*users, ALICE, BOB}  # the store keeps chats of people whose account was refused, too
    chats = [store.chats.get(owner, each.id) for owner in owners for each in store.chats.list(owner)]
    return Held(users, {chat.id: chat for chat in chats})


def anything(_: Held) -> Shown:
    """Is shown by a step that changes nothing which could be read."""
    return "whole"


@dataclass(frozen=True, slots=True)
class Step:
    """One change, and how much of it a store shows."""

    name: str
    call: Callable[[JsonStore, UnluckyFiles], object]
    shown: Callable[[Held], Shown] = anything


RESTART = Step("restart", lambda *_: None)


@dataclass(frozen=True, slots=True)
class Life:
    """Steps over a folder that was prepared while all was well.

    Args:
        kept_bytes: what quarantine must hold in the end.
    """

    name: str
    steps: Sequence[Step]
    prepare: Callable[[Path], None] = lambda _: None
    kept_bytes: tuple[bytes, ...] = ()


def both(*shown: bool) -> Shown:
    """Return how much is shown of what belongs together."""
    if all(shown):
        return "whole"
    return "half" if any(shown) else "absent"


def add(text: str, chat_id: str = CHAT) -> Step:
    message = a_message(text)

    def shown(held: Held) -> Shown:
        count = held.texts(chat_id).count(text)
        return "half" if count > 1 else "whole" if count else "absent"

    return Step(text, lambda store, _: store.chats.add_messages(ALICE, chat_id, [message]), shown)


def add_user(name: str = "alice", user_id: str = ALICE) -> Step:
    user = a_user(name, id=user_id)
    return Step(
        name,
        lambda store, _: store.users.add(user),
        lambda held: "whole" if user_id in held.users else "absent",
    )


def add_chat(chat_id: str = CHAT, *texts: str) -> Step:
    messages = [a_message(text) for text in texts]
    chat = a_chat(ALICE, id=chat_id, messages=messages)
    return Step(
        chat_id,
        lambda store, _: store.chats.add(chat),
        lambda held: both(chat_id in held.chats, *(text in held.texts(chat_id) for text in texts)),
    )


CHECKPOINT = Step("checkpoint", lambda store, _: store.checkpoint())


def entitle(text: str) -> Step:
    """Add a message and give the chat its title, in one transaction."""
    message = a_message(text)

    def change(chat: ChatSummary) -> ChatSummary:
        return chat.model_copy(update={"title": text})

    return Step(
        text,
        lambda store, _: store.chats.add_messages(ALICE, CHAT, [message], change),
        lambda held: both(text in held.texts(CHAT), CHAT in held.chats and held.chats[CHAT].title == text),
    )


def _add_reply(store: JsonStore, _: UnluckyFiles) -> None:
    store.chats.add_messages(ALICE, CHAT, [a_reply(id=REPLY)])


def _has_reply(held: Held) -> Shown:
    reply = held.message(CHAT, REPLY)
    return "absent" if reply is None else "whole" if REPLY_TEXT.startswith(reply.content) else "half"


def part(start: int, end: int) -> Step:
    """Bring a piece of the reply to the journal at once, which its writer never waits for."""

    def call(store: JsonStore, _: UnluckyFiles) -> None:
        store.chats.append_part(ALICE, CHAT, REPLY, start, REPLY_TEXT[start:end])
        store._parts.flush()

    return Step("part", call)


def _finish(store: JsonStore, _: UnluckyFiles) -> None:
    store.chats.finish_message(ALICE, CHAT, a_reply(REPLY_TEXT, id=REPLY, status="complete"))


def _is_finished(held: Held) -> Shown:
    reply = held.message(CHAT, REPLY)
    if reply is not None and reply.status == "complete":
        return "whole" if reply.content == REPLY_TEXT else "half"
    return "absent"


REPLIED = Step("reply", _add_reply, _has_reply)
FINISHED = Step("finished", _finish, _is_finished)

MESSAGES = Life(
    "messages",
    (
        add_user(), add_chat(), add("one"), CHECKPOINT, entitle("two"), REPLIED, part(0, 9), CHECKPOINT, FINISHED,
        add("three"), add_chat(OTHER, "a", "b"), CHECKPOINT,
    ),
)  # fmt: skip
FIRST_START = Life("first start", (add_user(), add_chat(), CHECKPOINT, RESTART, add("one")))


def _prepare_streaming(folder: Path) -> None:
    with reopened(folder) as store:
        store.users.add(a_user("alice", id=ALICE))
        store.chats.add(a_chat(ALICE, id=CHAT))
        store.chats.add_messages(ALICE, CHAT, [a_message("old"), a_reply("Half", id="old-reply-id")])


def _is_interrupted(held: Held) -> Shown:
    reply = held.message(CHAT, "old-reply-id")
    assert reply is not None
    assert reply.content == "Half"
    return "whole" if reply.status == "interrupted" else "absent"


INTERRUPTED = Step("interrupted", lambda store, _: store.chats.interrupt_streaming(), _is_interrupted)
STREAMING = Life(
    "streaming",
    (
        INTERRUPTED, REPLIED, part(0, 5), part(5, 12), add("meanwhile"), CHECKPOINT, part(12, 20), add("later"),
        FINISHED, RESTART, Step("again", lambda store, _: store.chats.interrupt_streaming()), add("last"),
    ),
    _prepare_streaming,
)  # fmt: skip


def _prepare_two_users(folder: Path) -> None:
    with reopened(folder) as store:
        store.users.add(a_user("alice", id=ALICE, sessions=(a_session("old"),)))
        store.users.add(a_user("bob", id=BOB))
        store.chats.add(a_chat(ALICE, id=CHAT, title="old"))
        store.chats.add(a_chat(ALICE, id=OTHER, messages=[a_message("doomed")]))
        for chat_id in BOBS_CHATS:
            store.chats.add(a_chat(BOB, id=chat_id, messages=[a_message("mine")]))


def _rename(store: JsonStore, _: UnluckyFiles) -> None:
    store.chats.update(ALICE, CHAT, lambda chat: chat.model_copy(update={"title": "new"}))


def _open_session(store: JsonStore, _: UnluckyFiles) -> None:
    store.users.update(
        ALICE, lambda user: user.model_copy(update={"username": "Alicia", "sessions": (a_session("new"),)})
    )


DELETES = Life(
    "deletes",
    (
        Step("title", _rename, lambda held: "whole" if held.chats[CHAT].title == "new" else "absent"),
        Step(
            "session", _open_session,
            lambda held: both(
                held.users[ALICE].username == "Alicia", held.users[ALICE].sessions[0].secret_sha256 == "new"
            ),
        ),
        CHECKPOINT,
        Step("use", lambda store, _: store.users.touch_session(ALICE, "new", minutes_after_noon(5))),
        Step(
            "delete bob", lambda store, _: store.users.delete(BOB),
            lambda held: both(BOB not in held.users, *(chat_id not in held.chats for chat_id in BOBS_CHATS)),
        ),
        Step(
            "delete chat", lambda store, _: store.chats.delete(ALICE, OTHER),
            lambda held: "absent" if OTHER in held.chats else "whole",
        ),
        CHECKPOINT,
        *(add_chat(f"many-{number}", "x") for number in range(4)),
        RESTART,
        add_user("charlie", "charlie-id"),
    ),
    _prepare_two_users,
)  # fmt: skip

TORN, DAMAGED = b'{"n":', b'"content":"broken \x00 line"'


def _prepare_damage(folder: Path) -> None:
    """Leave what a kill and a bad block leave: the end of a line, and a chat that is no JSON any more."""
    with reopened(folder) as store:
        store.users.add(a_user("alice", id=ALICE))
        store.chats.add(a_chat(ALICE, id=CHAT, messages=[a_message("kept")]))
        store.chats.add(a_chat(ALICE, id=OTHER, messages=[a_message("broken - line")]))
        store.checkpoint()
        store.chats.add_messages(ALICE, CHAT, [a_message("kept too")])
        left = contents(folder)
    journal = max(name for name, data in left.items() if name.startswith("journal/") and data)
    left["chats.json"] = left["chats.json"].replace(b"broken - line", b"broken \x00 line")
    lay_out(folder, left | {journal: left[journal] + TORN})


RECOVERY = Life(
    "recovery",
    (
        Step("kept", lambda *_: None, lambda held: both(held.texts(CHAT)[:2] == ["kept", "kept too"])),
        add("one"), CHECKPOINT, RESTART, add("two"),
    ),
    _prepare_damage,
    (TORN, DAMAGED),
)  # fmt: skip


def _fail_syncs(_: JsonStore, files: UnluckyFiles) -> None:
    files.journal_syncs_fail = True


def _heal_syncs(_: JsonStore, files: UnluckyFiles) -> None:
    files.journal_syncs_fail = False


RESCUE = Life(
    "rescue",
    (
        add_user(), add_chat(), add("one"), Step("trouble", _fail_syncs), add("two"), add("three"),
        Step("no more trouble", _heal_syncs), CHECKPOINT, add("four"), CHECKPOINT, add("five"), RESTART, add("six"),
    ),
)  # fmt: skip

LIVES = (FIRST_START, MESSAGES, STREAMING, DELETES, RECOVERY, RESCUE)
