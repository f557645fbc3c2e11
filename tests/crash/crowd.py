"""People who write to a real server while it is killed, and what they were promised."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import requests

from tests.start.processes import Person, Server

MODEL = "smollm2:135m"
_TIMEOUT_S = 10
_PAUSE_S = 0.01

_FINAL = ("complete", "interrupted")

Record = dict[str, Any]


@dataclass
class Promises:
    """What the server has told about one chat: the messages it took, in order, and how replies ended."""

    acknowledged: list[str] = field(default_factory=list)
    on_its_way: str = ""
    ended: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Reply → status and content."""


class Writer:
    """Writes one message after another into a chat of its own and keeps what the server acknowledged.

    A message that was not acknowledged is sent again under its id until it is, as the page does it. So a chat must
    hold the acknowledged messages in their order and, at its end, perhaps the one that is on its way.
    """

    def __init__(self, person: Person, name: str, chance: random.Random) -> None:
        self._server = person.server
        self._headers = {"X-CSRFToken": person.token}
        self._http = requests.Session()
        self._http.cookies.update(person.http.cookies)
        self._name = name
        self._chance = chance
        self._ways = (self._ask, self._ask_and_wait, self._ask_and_follow)
        self.chat_id: str = self._post("/chat", {"model": MODEL}).json()["id"]
        self.promises = Promises()
        self._number = itertools.count()
        self._begin_next()

    def _begin_next(self) -> None:
        self.promises.on_its_way = f"{self._name}-message-{next(self._number)}"

    def move_to(self, server: Server) -> None:
        """Go on with the server that took over."""
        self._server = server

    def write_until(self, killed: threading.Event) -> None:
        """Write until the server is killed. A server that is going away or coming back is asked again."""
        while not killed.is_set():
            self.write()

    def write(self) -> bool:
        """Send the next message in one of the three ways; return whether it was acknowledged."""
        before = len(self.promises.acknowledged)
        try:
            self._chance.choice(self._ways)(self.promises.on_its_way)
        except requests.RequestException:
            time.sleep(_PAUSE_S)
        return len(self.promises.acknowledged) > before

    def write_for_certain(self) -> None:
        """Send the next message until it is acknowledged. Raises AssertionError in vain."""
        deadline_s = time.monotonic() + _TIMEOUT_S
        while not self.write():
            assert time.monotonic() < deadline_s, f"{self.promises.on_its_way} was never taken"

    def repeat(self) -> int:
        """Send the message acknowledged last once more; return the status of the answer."""
        message_id = self.promises.acknowledged[-1]
        return self._post(self._place(), {"content": message_id, "message_id": message_id}).status_code

    def stored(self) -> list[Record]:
        """Return the chat's messages as the site exports them."""
        url = f"{self._server.url}/chat/{self.chat_id}/export.json"
        answer = self._http.get(url, timeout=_TIMEOUT_S)
        messages: list[Record] = answer.json()["messages"]
        return messages

    def _place(self) -> str:
        return f"/chat/{self.chat_id}/message"

    def _post(
        self, path: str, body: Record, accept: str = "application/json", **more: Any
    ) -> requests.Response:
        headers = {**self._headers, "Accept": accept}
        url = self._server.url + path
        return self._http.post(url, json=body, headers=headers, timeout=_TIMEOUT_S, **more)

    def _ask(self, message_id: str) -> None:
        answer = self._post(self._place(), {"content": message_id, "message_id": message_id})
        self._take(answer, 202)

    def _ask_and_wait(self, message_id: str) -> None:
        answer = self._post(self._place() + "?wait=1", {"content": message_id, "message_id": message_id})
        if self._take(answer, 200):
            self._take_end(answer.json()["reply"])

    def _ask_and_follow(self, message_id: str) -> None:
        """The answer's first line is the acknowledgement; its last event holds the reply as it is stored."""
        body = {"content": message_id, "message_id": message_id}
        with self._post(self._place(), body, accept="text/event-stream", stream=True) as answer:
            if answer.status_code == 202:
                self._take(answer, 202)
            elif self._take(answer, 200):
                for _, data in events(answer):
                    self._take_end(data.get("message"))

    def _take(self, answer: requests.Response, wanted: int) -> bool:
        """Note an acknowledgement. A refusal (the last reply still runs, the server is stopping) is none."""
        if answer.status_code == wanted:
            self.promises.acknowledged.append(self.promises.on_its_way)
            self._begin_next()
            return True
        assert answer.status_code in (409, 503), answer.text
        time.sleep(_PAUSE_S)
        return False

    def _take_end(self, reply: Any) -> None:
        if isinstance(reply, dict):
            self.promises.ended[reply["id"]] = (reply["status"], reply["content"])


def events(answer: requests.Response) -> Iterator[tuple[str, Record]]:
    """Yield the name and data of each event. Raises ``requests.RequestException`` when the stream breaks off."""
    name = ""
    for line in answer.iter_lines(1):
        if line.startswith(b"event: "):
            name = line[7:].decode()
        elif line.startswith(b"data: "):
            yield name, json.loads(line[6:])


def complaints(promises: Promises, messages: list[Record]) -> list[str]:
    """Compare what somebody was promised with what the site holds after the kill."""
    asked = [each["id"] for each in messages if each["role"] == "user"]
    answered = [each["parent_id"] for each in messages if each["role"] == "assistant"]
    ends = {each["id"]: (each["status"], each["content"]) for each in messages}
    found = [
        f"the reply {each} ended as {end}, now {ends.get(each)}"
        for each, end in promises.ended.items()
        if ends.get(each) != end
    ]
    found += [f"{each['id']} is {each['status']}" for each in messages if each["status"] not in _FINAL]
    found += [f"{each['id']} holds {each['content']!r}" for each in messages if _is_changed(each)]
    if asked not in (promises.acknowledged, [*promises.acknowledged, promises.on_its_way]):
        found.append(f"{promises.acknowledged} and perhaps {promises.on_its_way} became {asked}")
    if answered != asked:
        found.append(f"the questions {asked} have the replies to {answered}")
    return found


def _is_changed(message: Record) -> bool:
    """Return whether a question does not say what was sent: every writer sends the message's id as its text."""
    return bool(message["role"] == "user" and message["content"] != message["id"])
