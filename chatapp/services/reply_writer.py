"""One reply being written: Ollama's pieces become job events, and the text is stored whatever happens."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import structlog

from chatapp.errors import ChatAppError, NotFound, StorageFailed
from chatapp.ids import monotonic_s
from chatapp.jobs.job import Job
from chatapp.models import Message, MessageError, MessageStatus, PartField, Usage
from chatapp.ollama.names import same_name
from chatapp.ollama.types import Cancelled, ChatEnd, ChatPiece, RunningModel
from chatapp.services.render import BlockStream
from chatapp.storage.base import ChatRepository

log = structlog.get_logger()

# The open end of a reply is rendered at most this often.
_TAIL_EVERY_S = 0.2
# Silence after which we look whether the model is still being loaded.
_LOADING_AFTER_S = 0.4
# A reply that grows past this is ended: no model means to write a novel's length into one message.
LONGEST_REPLY_CHARACTERS = 1_000_000

_STATUS: Mapping[str, MessageStatus] = {"stopped": "stopped", "interrupted": "interrupted"}


class ReplyStream(Protocol):
    """Pieces, then one end. See :class:`chatapp.ollama.client.ChatStream`."""

    def __iter__(self) -> Iterator[ChatPiece | ChatEnd]: ...

    def cancel(self) -> None: ...


class ChatModel(Protocol):
    """What a reply needs of Ollama."""

    def chat(
        self, model: str, messages: Sequence[Mapping[str, Any]], *, options: Mapping[str, Any] | None = None
    ) -> AbstractContextManager[ReplyStream]: ...

    def ps(self) -> Sequence[RunningModel]: ...


class ReplyWriter:
    """Writes one reply, from the request to Ollama to the stored message. Used by one job thread only."""

    def __init__(
        self,
        job: Job,
        owner_id: str,
        chat_id: str,
        reply: Message,
        history: Sequence[Message],
        chats: ChatRepository,
        ollama: ChatModel,
    ) -> None:
        self._job = job
        self._owner_id = owner_id
        self._chat_id = chat_id
        self._reply = reply
        self._history = history
        self._chats = chats
        self._ollama = ollama
        self._blocks = BlockStream(anchor=reply.id)
        self._content: list[str] = []
        self._length = 0
        self._thinking: list[str] = []
        self._thinking_length = 0
        self._digest: str | None = None
        self._began_s = monotonic_s()
        self._first_s: float | None = None
        self._thought_s: float | None = None
        self._tail_s = self._began_s

    def write(self) -> None:
        """Ask Ollama, publish every piece, and end the job with one terminal event once the reply is stored."""
        status: MessageStatus = "failed"
        error: ChatAppError | None = None
        end: ChatEnd | None = None
        try:
            end = self._relay()
            status = "complete"
            self._digest = self._loaded_digest()
        except Cancelled:
            status = _STATUS.get(self._job.cancelled_as or "", "stopped")
        except ChatAppError as failure:
            error = failure
        except Exception:
            log.exception("reply_crashed", job=self._job.id)
            error = ChatAppError("Something went wrong on the server. Try again.")
        self._finish(status, error, end)

    def _relay(self) -> ChatEnd:
        messages = [{"role": m.role, "content": m.content} for m in self._history if _is_sent(m)]
        model = self._reply.model or ""
        with self._ollama.chat(model, messages, options=self._reply.options or None) as stream:
            self._job.on_cancel(stream.cancel)
            watch = threading.Timer(_LOADING_AFTER_S, self._tell_loading, [model])
            watch.daemon = True
            watch.start()
            try:
                return self._read(stream)
            finally:
                watch.cancel()

    def _read(self, stream: ReplyStream) -> ChatEnd:
        for item in stream:
            if self._first_s is None:
                self._first_s = monotonic_s()
                self._job.publish("started")
            if isinstance(item, ChatEnd):
                return item
            self._add(item)
            if not self._room:
                stream.cancel()
                return ChatEnd(done_reason="length")
        raise Cancelled  # a stream ends with a ChatEnd or an error; anything else was our own doing

    def _add(self, piece: ChatPiece) -> None:
        if piece.thinking:
            self._think(_storable(piece.thinking)[: self._room])
        if not piece.content:
            return
        if self._thinking and self._thought_s is None:
            self._thought_s = monotonic_s()
        text = _storable(piece.content)[: self._room]
        self._save_part("content", self._length, text)
        self._content.append(text)
        self._length += len(text)
        self._job.publish_text("piece", text)
        self._show(text)

    @property
    def _room(self) -> int:
        """How many characters the reply may still grow by; thoughts count."""
        return max(LONGEST_REPLY_CHARACTERS - self._length - self._thinking_length, 0)

    def _think(self, text: str) -> None:
        self._save_part("thinking", self._thinking_length, text)
        self._thinking.append(text)
        self._thinking_length += len(text)
        self._job.publish_text("thinking", text)

    def _show(self, text: str) -> None:
        """Publish blocks that ``text`` finished, and the open end now and then."""
        finished = self._blocks.add(text)
        for index, html in finished:
            self._job.publish("block", {"index": index, "html": html})
        now_s = monotonic_s()
        if (finished or now_s - self._tail_s >= _TAIL_EVERY_S) and (tail := self._blocks.tail()) is not None:
            self._job.show_tail(tail)
            self._tail_s = now_s

    def _save_part(self, field: PartField, offset: int, text: str) -> None:
        """Hand over what came, for the case that the server is killed; the store joins pieces and waits for nobody."""
        try:
            self._chats.append_part(self._owner_id, self._chat_id, self._reply.id, offset, text, field)
        except StorageFailed:
            # The words go on to the reader; whether they can be kept shows at the end.
            log.warning("part_not_saved", job=self._job.id)

    def _tell_loading(self, model: str) -> None:
        try:
            loaded = any(same_name(running.name, model) for running in self._ollama.ps())
        except ChatAppError:
            return
        if not loaded and self._first_s is None:
            self._job.publish("loading", {"model": model})

    # -- the end

    def _finish(self, status: MessageStatus, error: ChatAppError | None, end: ChatEnd | None) -> None:
        self._show_rest()
        usage = self._usage(end)
        self._job.publish("usage", usage.model_dump(exclude_none=True))
        reply = self._reply.model_copy(
            update={
                "content": "".join(self._content),
                "thinking": "".join(self._thinking),
                "thinking_ms": self._thinking_ms(),
                "status": status,
                "error": _stored_error(error),
                "model_digest": self._digest,
                "usage": usage,
            }
        )
        try:
            self._chats.finish_message(self._owner_id, self._chat_id, reply)
        except NotFound:
            self._fail("deleted", "This chat was deleted while it was being answered.")
        except StorageFailed as failure:
            log.error("reply_not_saved", job=self._job.id, reason=failure.message)
            self._fail(
                failure.code, f"The reply could not be saved: {failure.public} Copy it before you leave."
            )
        self._publish_end(reply)

    def _show_rest(self) -> None:
        """Publish the last blocks. A text that cannot be rendered is no reason not to store it."""
        try:
            for index, html in self._blocks.finish():
                self._job.publish("block", {"index": index, "html": html})
        except Exception:
            log.exception("rendering_failed", job=self._job.id)

    def _publish_end(self, reply: Message) -> None:
        """End the job; does nothing when it ended already."""
        message = reply.model_dump(mode="json", exclude_none=True)
        if reply.status == "failed" and reply.error is not None:
            self._fail(reply.error.code, reply.error.message, message)
        else:
            self._job.publish("done" if reply.status == "complete" else reply.status, {"message": message})

    def _fail(self, code: str, sentence: str, reply: Mapping[str, Any] | None = None) -> None:
        data: dict[str, Any] = {"code": code, "message": sentence}
        if reply is not None:
            data["reply"] = reply
        self._job.publish("failed", data)

    def _usage(self, end: ChatEnd | None) -> Usage:
        now_s = monotonic_s()
        return Usage(
            prompt_tokens=end.prompt_tokens if end else None,
            reply_tokens=end.reply_tokens if end else None,
            first_token_ms=_ms(self._first_s - self._began_s) if self._first_s is not None else None,
            tokens_per_s=_rounded(end.tokens_per_s) if end else None,
            duration_ms=_ms(now_s - self._began_s),
            done_reason=end.done_reason if end else None,
        )

    def _loaded_digest(self) -> str | None:
        """Return which weights answered: a name may stand for others tomorrow. ``None`` when Ollama does not say."""
        try:
            running = self._ollama.ps()
        except ChatAppError:
            return None
        return next((m.digest for m in running if same_name(m.name, self._reply.model or "")), None) or None

    def _thinking_ms(self) -> float | None:
        if not self._thinking or self._first_s is None:
            return None
        return _ms((self._thought_s or monotonic_s()) - self._first_s)


def _is_sent(message: Message) -> bool:
    """Return whether Ollama should see the message: an empty reply would only confuse a model."""
    return bool(message.content)


def _stored_error(error: ChatAppError | None) -> MessageError | None:
    return MessageError(code=error.code, message=error.message, detail=error.detail) if error else None


def _storable(text: str) -> str:
    """Replace what is no Unicode text: a lone half of a surrogate pair can be neither sent nor stored."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


def _rounded(number: float | None) -> float | None:
    return round(number, 1) if number is not None else None
