"""The two answers that come line by line: a reply and a pull.

Both are context managers and are iterated once, in one thread. Nothing is sent before the first step of the
iteration, so that :meth:`~_Stream.cancel` can already be handed to somebody else by then.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from chatapp.errors import ChatAppError
from chatapp.ollama import rows
from chatapp.ollama.answers import error_text, expect_success
from chatapp.ollama.exchange import Exchange
from chatapp.ollama.failures import (
    chat_failure,
    ended_early,
    pull_ended_early,
    pull_failure,
    unexpected_answer,
)
from chatapp.ollama.ndjson import LineDecoder, NotJson
from chatapp.ollama.types import ChatEnd, ChatPiece, PullStatus

Item = TypeVar("Item")


class _Stream(ABC, Generic[Item]):
    def __init__(self, exchange: Exchange, *, model: str, stall_timeout_s: float, public_url: str) -> None:
        self._exchange = exchange
        self._model = model
        self._stall_timeout_s = stall_timeout_s
        self._public_url = public_url
        self._items = self._read()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Item]:
        return self._items

    def cancel(self) -> None:
        """Close the connection to Ollama now; Ollama then stops working on it. From any thread, at any time.

        The iteration ends by raising :class:`~chatapp.ollama.types.Cancelled`, unless it was over already.
        """
        self._exchange.cancel()

    def close(self) -> None:
        """Let go of the connection. Only for the thread that iterates; leaving the ``with`` block does it."""
        self._exchange.close()

    @abstractmethod
    def _read(self) -> Iterator[Item]:
        """Yield what the lines mean; raise when they end too early."""

    @abstractmethod
    def _failure(self, text: str, *, status: int | None = None) -> ChatAppError:
        """Return the error that Ollama's ``text`` stands for; ``status`` when it came instead of a stream."""

    def _lines(self) -> Iterator[dict[str, Any]]:
        expect_success(self._exchange, self._failure, self._public_url)
        for count, line in enumerate(self._objects()):
            if count == 0:
                self._exchange.set_read_timeout(self._stall_timeout_s)
            self._exchange.raise_if_cancelled()
            if line.get("error"):
                raise self._failure(error_text(line))
            yield line

    def _objects(self) -> Iterator[dict[str, Any]]:
        decoder = LineDecoder()
        try:
            while piece := self._exchange.read():
                yield from decoder.feed(piece)
        except NotJson as error:
            raise unexpected_answer(error.start) from error
        # A last line that breaks off is an end before the end, which the reader of the lines notices.
        with suppress(NotJson):
            yield from decoder.finish()


class ChatStream(_Stream[ChatPiece | ChatEnd]):
    """A reply: any number of :class:`ChatPiece`, then exactly one :class:`ChatEnd`.

    Iterating raises:
        Cancelled: :meth:`cancel` was called.
        OllamaFailed: and its kinds: no connection, an error of Ollama's, silence, an end before the end.
        ModelMissing: Ollama does not have the model.
    """

    def _read(self) -> Iterator[ChatPiece | ChatEnd]:
        for line in self._lines():
            piece = rows.chat_piece(line)
            if piece is not None:
                yield piece
            end = rows.chat_end(line)
            if end is not None:
                self.close()
                yield end
                return
        raise ended_early()

    def _failure(self, text: str, *, status: int | None = None) -> ChatAppError:
        return chat_failure(text, model=self._model, status=status)


class PullStream(_Stream[PullStatus]):
    """A pull: :class:`PullStatus` lines; the iteration ends by itself only after Ollama said ``success``.

    Iterating raises:
        Cancelled: :meth:`cancel` was called; what has arrived stays with Ollama, a later pull goes on there.
        OllamaFailed: and its kinds, also when the lines just end.
        ModelMissing: there is no model of this name where it should come from.
    """

    def __enter__(self) -> PullStream:
        return self

    def _read(self) -> Iterator[PullStatus]:
        for line in self._lines():
            status = rows.pull_status(line)
            if status.status == "success":
                self.close()
                yield status
                return
            yield status
        raise pull_ended_early(self._model)

    def _failure(self, text: str, *, status: int | None = None) -> ChatAppError:
        return pull_failure(text, model=self._model, status=status)
