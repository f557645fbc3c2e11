"""Unfinished replies: joined, durable soon, never in the way of anybody."""

from __future__ import annotations

import json
import math
import threading
from pathlib import Path
from typing import Any

import pytest

from chatapp.errors import StorageFailed
from chatapp.models import Message
from chatapp.storage import parts, upkeep
from chatapp.storage.json_store import JsonStore
from tests.fakes.files import FaultyFiles, disk_full
from tests.records import a_chat, a_message, a_reply, a_user
from tests.start.processes import eventually
from tests.unit.storage.conftest import Opener
from tests.unit.storage.killed import contents, lay_out, reopened, stored_texts


class Streaming:
    """A store with one reply that is being written."""

    def __init__(self, store: JsonStore) -> None:
        self.store = store
        self.owner_id = store.users.add(a_user("alice")).id
        self.reply = a_reply()
        self.chat_id = store.chats.add(a_chat(self.owner_id, messages=(self.reply,))).id

    def part(self, offset: int, text: str) -> None:
        self.store.chats.append_part(self.owner_id, self.chat_id, self.reply.id, offset, text)

    def write(self, words: int) -> str:
        """Hand over so many words one by one and return them all."""
        text = ""
        for number in range(words):
            self.part(len(text), f"word{number} ")
            text += f"word{number} "
        return text

    def stored(self) -> Message:
        [message] = self.store.chats.get(self.owner_id, self.chat_id).messages
        return message


def part_records(folder: Path) -> list[dict[str, Any]]:
    """Return the parts that the journal holds."""
    lines = [line for path in sorted(folder.glob("journal/*")) for line in path.read_text().splitlines()]
    return [record for record in map(json.loads, lines) if record["op"] == "msg.part"]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a flush that is asked for writes anything."""
    monkeypatch.setattr(parts, "_DELAY_S", 3600.0)


@pytest.mark.usefixtures("slow")
def test_the_words_of_a_reply_become_one_record(open_folder: Opener, folder: Path) -> None:
    streaming = Streaming(open_folder())

    text = streaming.write(50)
    streaming.store._parts.flush()

    assert [record["text"] for record in part_records(folder)] == [text]
    assert streaming.stored().content == text


@pytest.mark.usefixtures("slow")
def test_words_that_keep_coming_do_not_put_off_those_before_them(open_folder: Opener) -> None:
    streaming = Streaming(open_folder())
    streaming.part(0, "first ")
    due_at_s = streaming.store._parts.due_at_s

    streaming.part(6, "second ")

    assert streaming.store._parts.due_at_s == due_at_s


@pytest.mark.usefixtures("slow")
def test_a_long_text_does_not_wait(open_folder: Opener, folder: Path, tmp_path: Path) -> None:
    """4 KB is the most that a kill may take of a reply however quick the model is."""
    streaming = Streaming(open_folder())

    streaming.part(0, "x" * 1_500)
    eventually(lambda: streaming.stored().content != "")
    lay_out(tmp_path / "left", contents(folder))

    with reopened(tmp_path / "left") as after:
        assert stored_texts(after) == ["x" * 1_500]


def test_the_last_words_before_a_silence_are_durable_soon(
    open_folder: Opener, folder: Path, tmp_path: Path
) -> None:
    """A model may think for minutes between two words; what it said before must not wait for the next."""
    streaming = Streaming(open_folder())

    text = streaming.write(3)
    eventually(lambda: streaming.stored().content == text)
    lay_out(tmp_path / "left", contents(folder))

    with reopened(tmp_path / "left") as after:
        assert stored_texts(after) == [text]


@pytest.mark.usefixtures("slow")
def test_what_the_disk_refused_is_written_when_it_works_again(
    open_folder: Opener, files: FaultyFiles
) -> None:
    streaming = Streaming(open_folder(files))
    files.fault = lambda call, _: disk_full() if call == "write" else None
    text = streaming.write(3)
    streaming.store._parts.flush()
    streaming.part(len(text), "and more")

    files.fault = lambda *_: None
    streaming.store._parts.flush()

    assert streaming.stored().content == text + "and more"


@pytest.mark.usefixtures("slow")
def test_words_that_come_while_the_disk_refuses_follow_those_before_them(
    open_folder: Opener, files: FaultyFiles
) -> None:
    streaming = Streaming(open_folder(files))
    text = streaming.write(3)

    def refuse(call: str, _name: str) -> OSError | None:
        if call != "write":
            return None
        streaming.part(len(text), "and more")
        return disk_full()

    files.fault = refuse
    streaming.store._parts.flush()
    files.fault = lambda *_: None
    streaming.store._parts.flush()

    assert streaming.stored().content == text + "and more"


@pytest.mark.usefixtures("slow")
def test_other_changes_do_not_wait_for_parts(open_folder: Opener, folder: Path) -> None:
    streaming = Streaming(open_folder())
    streaming.write(3)

    streaming.store.chats.add_messages(streaming.owner_id, streaming.chat_id, [a_message("after")])

    assert part_records(folder) == []


@pytest.mark.usefixtures("slow")
def test_nothing_is_written_of_a_reply_that_is_finished(open_folder: Opener, folder: Path) -> None:
    streaming = Streaming(open_folder())
    streaming.write(3)

    final = streaming.reply.model_copy(update={"content": "The end.", "status": "complete"})
    streaming.store.chats.finish_message(streaming.owner_id, streaming.chat_id, final)
    streaming.store._parts.flush()

    assert part_records(folder) == []
    assert streaming.stored().content == "The end."


@pytest.mark.usefixtures("slow")
def test_a_reply_that_cannot_be_finished_keeps_its_words(open_folder: Opener, files: FaultyFiles) -> None:
    streaming = Streaming(open_folder(files))
    text = streaming.write(3)
    files.fault = lambda call, _: disk_full() if call == "write" else None
    with pytest.raises(StorageFailed):
        streaming.store.chats.finish_message(streaming.owner_id, streaming.chat_id, streaming.reply)

    files.fault = lambda *_: None
    streaming.store._parts.flush()

    assert streaming.stored().content == text


def test_words_of_many_threads_are_all_there(open_folder: Opener) -> None:
    store = open_folder()
    owner_id = store.users.add(a_user("alice")).id
    replies = [a_reply() for _ in range(20)]
    chat_id = store.chats.add(a_chat(owner_id, messages=tuple(replies))).id

    def write(reply: Message) -> None:
        for number in range(200):
            store.chats.append_part(owner_id, chat_id, reply.id, number, "x")

    threads = [threading.Thread(target=write, args=[reply]) for reply in replies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store._parts.flush()

    assert [len(each.content) for each in store.chats.get(owner_id, chat_id).messages] == [200] * 20


def test_a_part_that_cannot_be_written_does_not_end_the_upkeep(open_folder: Opener, folder: Path) -> None:
    streaming = Streaming(open_folder(checkpoint_after_s=0.05))
    streaming.part(0, "half \ud83d")
    eventually(lambda: math.isinf(streaming.store._parts.due_at_s))

    streaming.store.chats.add_messages(streaming.owner_id, streaming.chat_id, [a_message("later")])

    eventually(lambda: b"later" in (folder / "chats.json").read_bytes())


@pytest.mark.parametrize("character", ["a", "ä", "🌍"])
def test_no_text_waits_longer_than_a_second_or_is_longer_than_4_kb(
    open_folder: Opener, monkeypatch: pytest.MonkeyPatch, character: str
) -> None:
    """That is what a kill may take away."""
    monkeypatch.setattr(upkeep.Upkeep, "_run", lambda _: None)
    monkeypatch.setattr(parts, "monotonic_s", lambda: 100.0)
    streaming = Streaming(open_folder())

    waiting_bytes = 0
    while streaming.store._parts.due_at_s > 100.0:
        streaming.part(waiting_bytes // len(character.encode()), character)
        waiting_bytes += len(character.encode())

        assert streaming.store._parts.due_at_s <= 101.0
        assert waiting_bytes <= 4096
