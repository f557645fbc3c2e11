"""Asking Ollama for something a page wants to show, without ever letting the page wait long for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import NoReturn, TypeVar

from chatapp.errors import OllamaTimeout

T = TypeVar("T")

_WAIT_S = 1.0
_AT_ONCE = 16
_SLOW = (
    "Ollama is not answering right now. It may be busy, or its machine may be asleep. "
    "Your chats are all here; try again in a moment."
)


class Glance:
    """Runs questions in threads of their own and gives up on an answer after a second.

    A question that hangs goes on alone until its own time-out; at most 16 do, later ones wait their second in vain.
    """

    def __init__(self, wait_s: float | None = None) -> None:
        self._wait_s = _WAIT_S if wait_s is None else wait_s
        self._free = threading.BoundedSemaphore(_AT_ONCE)

    def ask(self, question: Callable[[], T]) -> T:
        """Return ``question()``. Raises what it raises, or ``OllamaTimeout`` when it takes too long."""
        if not self._free.acquire(timeout=self._wait_s):
            raise OllamaTimeout(_SLOW)
        answers: SimpleQueue[Callable[[], T]] = SimpleQueue()
        threading.Thread(target=self._answer, args=(question, answers), name="glance", daemon=True).start()
        try:
            return answers.get(timeout=self._wait_s)()
        except Empty:
            raise OllamaTimeout(_SLOW) from None

    def _answer(self, question: Callable[[], T], answers: SimpleQueue[Callable[[], T]]) -> None:
        try:
            result = question()
        except Exception as error:  # noqa: BLE001 - handed over to whoever asked
            answers.put(_raising(error))
        else:
            answers.put(lambda: result)
        finally:
            self._free.release()


def _raising(error: Exception) -> Callable[[], NoReturn]:
    def again() -> NoReturn:
        raise error

    return again
