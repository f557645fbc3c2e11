"""The process that gets killed: four writers and constant checkpoints over one data folder.

Started once; for every line on standard input, a number and the path of a folder, it forks a writer that tells
``pid N`` before it opens the store. With a number of 0 or more the writer kills itself at that call to the file system,
otherwise it waits to be killed. It reports each change on standard output after the store has acknowledged it, one line
with one write:

    add CHAT MESSAGE NUMBER     a message with the content NUMBER was stored
    done CHAT MESSAGE NUMBER    its final state was stored
    drop CHAT                   the chat was deleted
    doom CHAT                   the chat is about to be deleted

and ``end`` when it is gone.
"""

from __future__ import annotations

import itertools
import math
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from chatapp.storage.files import Files
from chatapp.storage.json_store import JsonStore, open_store
from tests.fakes.files import FaultyFiles
from tests.records import a_chat, a_message, a_reply

THREADS = 4
OWNER = "owner-id"
MESSAGES_PER_CHAT = 12


def tell(*words: object) -> None:
    os.write(1, (" ".join(str(word) for word in words) + "\n").encode())


def write_chats(store: JsonStore) -> None:
    """Fill one chat after another; delete every third."""
    for number in itertools.count():
        chat = store.chats.add(a_chat(OWNER, title=f"{number}"))
        for place in range(MESSAGES_PER_CHAT):
            [question] = store.chats.add_messages(OWNER, chat.id, [a_message(f"{place}")])
            tell("add", chat.id, question.id, place)
        write_reply(store, chat.id)
        if number % 3 == 2:
            tell("doom", chat.id)
            store.chats.delete(OWNER, chat.id)
            tell("drop", chat.id)


def write_reply(store: JsonStore, chat_id: str) -> None:
    [reply] = store.chats.add_messages(OWNER, chat_id, [a_reply()])
    tell("add", chat_id, reply.id, "")
    store.chats.append_part(OWNER, chat_id, reply.id, 0, "done")
    store.chats.finish_message(
        OWNER, chat_id, reply.model_copy(update={"content": "done", "status": "complete"})
    )
    tell("done", chat_id, reply.id, "done")


def checkpoint_always(store: JsonStore) -> None:
    while True:
        store.checkpoint()


class DeadlyFiles(FaultyFiles):
    """The real file system, whose N-th call is the process's last."""

    def __init__(self, deadly_call: int) -> None:
        super().__init__()
        self._calls_left = itertools.count(deadly_call, -1)

    def watch(self, call: str, arguments: tuple[Any, ...]) -> None:
        if next(self._calls_left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def write_until_killed(folder: Path, deadly_call: int) -> None:
    tell("pid", os.getpid())
    files = DeadlyFiles(deadly_call) if deadly_call >= 0 else Files()
    store = open_store(folder, files=files, checkpoint_after_s=math.inf)
    for _ in range(THREADS):
        threading.Thread(target=write_chats, args=[store], daemon=True).start()
    checkpoint_always(store)


def main() -> None:
    for line in sys.stdin:
        deadly_call, folder = line.rstrip("\n").split(" ", 1)
        child = os.fork()
        if child == 0:
            try:
                write_until_killed(Path(folder), int(deadly_call))
            except BaseException as problem:
                tell("problem", repr(problem))
                raise
            finally:
                os._exit(1)
        os.waitpid(child, 0)
        tell("end")


if __name__ == "__main__":
    main()
