"""The changes that the journal knows, as records and as JSON.

user.put {user}            a new user, or the new state of one       user.del {id}
chat.put {chat}            a new chat without messages, or its new title and so on       chat.del {id}
msg.add  {chat,msg}        one more message at the end
msg.part {chat,id,offset,text}   a streaming message's content goes on at ``offset`` (characters); with
         {field}                 "thinking" its thoughts do
msg.done {chat,msg}        the final state of the message with that id
tx       {ops:[…]}         several of them, all or none
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import PydanticSerializationError, from_json

from chatapp.errors import Invalid
from chatapp.models import ChatSummary, Message, PartField, User


@dataclass(frozen=True, slots=True)
class UserPut:
    user: User


@dataclass(frozen=True, slots=True)
class UserDelete:
    user_id: str


@dataclass(frozen=True, slots=True)
class ChatPut:
    summary: ChatSummary


@dataclass(frozen=True, slots=True)
class ChatDelete:
    chat_id: str


@dataclass(frozen=True, slots=True)
class MessageAdd:
    chat_id: str
    message: Message


@dataclass(frozen=True, slots=True)
class MessagePart:
    chat_id: str
    message_id: str
    offset: int
    text: str
    field: PartField = "content"


@dataclass(frozen=True, slots=True)
class MessageDone:
    chat_id: str
    message: Message


UserOperation = UserPut | UserDelete
ChatOperation = ChatPut | ChatDelete | MessageAdd | MessagePart | MessageDone
Operation = UserOperation | ChatOperation


def encode(operations: Sequence[Operation]) -> bytes:
    """Return the members of one journal line, without braces: ``"op":"msg.add","chat":…``.

    Raises ``Invalid`` for what JSON cannot hold, such as half of a surrogate pair.
    """
    try:
        members = [_members(operation) for operation in operations]
        if len(members) > 1:
            members = ['"op":"tx","ops":[' + ",".join(f"{{{each}}}" for each in members) + "]"]
        return members[0].encode()
    except (PydanticSerializationError, UnicodeEncodeError) as error:
        raise Invalid("This text holds characters that cannot be stored.", detail=str(error)) from error


def _members(operation: Operation) -> str:
    match operation:
        case UserPut(user):
            return f'"op":"user.put","user":{user.model_dump_json()}'
        case UserDelete(user_id):
            return f'"op":"user.del","id":{_text(user_id)}'
        case ChatPut(summary):
            return f'"op":"chat.put","chat":{summary.model_dump_json()}'
        case ChatDelete(chat_id):
            return f'"op":"chat.del","id":{_text(chat_id)}'
        case MessageAdd(chat_id, message):
            return f'"op":"msg.add","chat":{_text(chat_id)},"msg":{message.model_dump_json()}'
        case MessagePart(chat_id, message_id, offset, text, field):
            return (
                f'"op":"msg.part","chat":{_text(chat_id)},"id":{_text(message_id)},'
                f'"offset":{offset},"text":{_text(text)}' + (',"field":"thinking"' * (field == "thinking"))
            )
        case MessageDone(chat_id, message):
            return f'"op":"msg.done","chat":{_text(chat_id)},"msg":{message.model_dump_json()}'


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def decode(line: bytes) -> tuple[Operation, ...]:
    """Return the operations of a whole JSON object. Raises ``ValueError`` for one that is not understood."""
    return decode_object(from_json(line))


def decode_object(record: Mapping[str, Any]) -> tuple[Operation, ...]:
    """As :func:`decode`, for a line that is parsed already."""
    try:
        if record["op"] == "tx":
            return tuple(_operation(each) for each in record["ops"])
        return (_operation(record),)
    except (KeyError, TypeError) as error:
        raise ValueError(f"unexpected shape: {error!r}") from error


def _operation(record: Mapping[str, Any]) -> Operation:
    match record["op"]:
        case "user.put":
            return UserPut(User.model_validate(record["user"]))
        case "user.del":
            return UserDelete(record["id"])
        case "chat.put":
            return ChatPut(ChatSummary.model_validate(record["chat"]))
        case "chat.del":
            return ChatDelete(record["id"])
        case "msg.add":
            return MessageAdd(record["chat"], Message.model_validate(record["msg"]))
        case "msg.part":
            field: PartField = "thinking" if record.get("field") == "thinking" else "content"
            return MessagePart(record["chat"], record["id"], record["offset"], record["text"], field)
        case "msg.done":
            return MessageDone(record["chat"], Message.model_validate(record["msg"]))
    raise ValueError(f"unknown kind of change {record['op']!r}")
