"""POST /api/chat and /api/generate: one reply, as a stream of pieces or whole."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from chatapp.engine.call import Call
from chatapp.engine.catalogue import capabilities
from chatapp.engine.history import Message, reply_room_tokens, shortened
from chatapp.engine.options import Options, read_options
from chatapp.engine.questions import Question, read_chat, read_generate
from chatapp.engine.runner import Counts, Piece, PromptTooLong, Runner
from chatapp.engine.scheduler import Scheduler
from chatapp.engine.store import ModelStore, StoredModel
from chatapp.engine.wire import ApiError, Json, encode, stamp

_LAST_MESSAGE_ROOM_TOKENS = 64
_FITTING_ROUNDS = 12


Form = Callable[[Piece], Json]


class Chats:
    """Endpoints. They differ in how they ask, and in how a piece of text is put into a line."""

    def __init__(self, store: ModelStore, scheduler: Scheduler) -> None:
        self._store = store
        self._scheduler = scheduler

    def chat(self, call: Call) -> None:
        started_ns = time.monotonic_ns()
        self._reply(call, read_chat(call.body()), _as_message, started_ns)

    def generate(self, call: Call) -> None:
        started_ns = time.monotonic_ns()
        self._reply(call, read_generate(call.body()), _as_response, started_ns)

    def _reply(self, call: Call, question: Question, form: Form, started_ns: int) -> None:
        model = self._store.find(question.typed_model)
        _refuse_what_it_cannot(question, model)
        options = read_options(question.options, model.options, model.header.context_length)
        answer = _Answer(call, question, form, started_ns)
        if not question.messages and question.keep_alive_s == 0:
            self._scheduler.expire(model)
            answer.whole({"done_reason": "unload"})
            return
        with self._scheduler.turn(
            model, options.num_ctx, question.keep_alive_s, call.raise_if_abandoned
        ) as runner:
            if question.messages:
                self._generate(runner, model, options, answer)
        if not question.messages:
            answer.whole({"done_reason": "load"})

    def _generate(self, runner: Runner, model: StoredModel, options: Options, answer: _Answer) -> None:
        answer.load_ns = time.monotonic_ns() - answer.started_ns
        messages = _with_system(answer.question.messages, model.system)
        answer.finish(_chat_that_fits(runner, messages, options, answer))


def _as_message(piece: Piece) -> Json:
    thinking = {"thinking": piece.thinking} if piece.thinking else {}
    return {"message": {"role": "assistant", "content": piece.content, **thinking}}


def _as_response(piece: Piece) -> Json:
    thinking = {"thinking": piece.thinking} if piece.thinking else {}
    return {"response": piece.content, **thinking}


@dataclass(slots=True)
class _Answer:
    """One answer on its way. Streams line by line, or gathers everything for the one object at the end."""

    call: Call
    question: Question
    form: Form
    started_ns: int
    load_ns: int = 0
    _gathered: list[Piece] = field(default_factory=list)

    def add(self, piece: Piece) -> None:
        if self.question.stream:
            self.call.line(self._head() | self.form(piece) | {"done": False})
        else:
            self._gathered.append(piece)

    def finish(self, counts: Counts) -> None:
        content = "".join(piece.content for piece in self._gathered)
        thinking = "".join(piece.thinking for piece in self._gathered)
        last = self._head() | self.form(Piece(content, thinking)) | {"done": True} | self._figures(counts)
        if self.question.stream:
            self.call.line(last)
            self.call.end()
        else:
            self.call.answer(last)

    def whole(self, ending: Json) -> None:
        self.call.answer(self._head() | self.form(Piece("")) | {"done": True} | ending)

    def _head(self) -> Json:
        return {"model": self.question.typed_model, "created_at": stamp()}

    def _figures(self, counts: Counts) -> Json:
        figures = {
            "total_duration": time.monotonic_ns() - self.started_ns,
            "load_duration": self.load_ns,
            "prompt_eval_count": counts.prompt_tokens,
            "prompt_eval_duration": counts.prompt_ns,
            "eval_count": counts.reply_tokens,
            "eval_duration": counts.reply_ns,
        }
        return {"done_reason": counts.done_reason} | {name: value for name, value in figures.items() if value}


def _chat_that_fits(runner: Runner, messages: list[Message], options: Options, answer: _Answer) -> Counts:
    question = answer.question
    request = options.as_llama_request() | _response_format(question.format)
    check = answer.call.raise_if_abandoned
    for _ in range(_FITTING_ROUNDS):
        room = _room_tokens(messages, options)
        try:
            return runner.chat(request | {"messages": messages}, room, answer.add, check)
        except PromptTooLong as problem:
            if not question.truncate:
                raise _too_long(problem, options.num_ctx) from None
            messages = shortened(messages, problem.prompt_tokens, room)
    raise ApiError(400, "the prompt does not fit the context, even shortened")


def _room_tokens(messages: list[Message], options: Options) -> int:
    has_history = sum(message["role"] != "system" for message in messages) > 1
    reserve = reply_room_tokens(options.num_ctx, options.num_predict)
    return options.num_ctx - (reserve if has_history else min(reserve, _LAST_MESSAGE_ROOM_TOKENS))


def _too_long(problem: PromptTooLong, num_ctx: int) -> ApiError:
    inner = {
        "code": 400,
        "message": f"{problem}, try increasing it",
        "type": "exceed_context_size_error",
        "n_prompt_tokens": problem.prompt_tokens,
        "n_ctx": num_ctx,
    }
    return ApiError(400, encode({"error": inner}).decode())


def _response_format(wanted: Json | str | None) -> Json:
    if not wanted:
        return {}
    if wanted == "json":
        return {"response_format": {"type": "json_object"}}
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "reply", "schema": wanted}}}


def _with_system(messages: list[Message], system: str) -> list[Message]:
    if not system or messages[0]["role"] == "system":
        return messages
    return [{"role": "system", "content": system}, *messages]


def _refuse_what_it_cannot(question: Question, model: StoredModel) -> None:
    able = capabilities(model)
    if "completion" not in able:
        raise ApiError(400, f'"{question.typed_model}" does not support chat')
    if question.has_tools and "tools" not in able:
        raise ApiError(400, f"{model.name.full} does not support tools")
    if question.think and "thinking" not in able:
        raise ApiError(400, f'"{question.typed_model}" does not support thinking')
    if question.has_images and "vision" not in able:
        text = "Multimodal data provided, but model does not support multimodal requests."
        inner = {"code": 400, "message": text, "type": "invalid_request_error"}
        raise ApiError(400, encode({"error": inner}).decode())
