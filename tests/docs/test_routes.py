"""docs/ROUTES.md and docs/ERRORS.md against the server."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Flask

from chatapp.errors import ChatAppError
from chatapp.routes.access import policy_of
from tests.cast import Browser
from tests.docs.pages import rows, section, text_of, words

# What the web framework refuses by itself, in our form.
FRAMEWORK_CODES = {("bad_request", 400), ("method_not_allowed", 405), ("timeout", 408)}


def documented_routes() -> set[tuple[str, str, str]]:
    table = text_of("docs/ROUTES.md").partition("## Asking")[0]
    return {(method, path.strip("`"), policy) for method, path, policy, *_ in rows(table)}


def served_routes(app: Flask) -> set[tuple[str, str, str]]:
    return {
        (
            method,
            rule.rule.replace(app.static_url_path or "", "/static"),
            policy_of(app, rule.endpoint) or "none",
        )
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def test_every_route_is_in_the_table_with_who_may_use_it_and_nothing_else_is(app: Flask) -> None:
    assert served_routes(app) == documented_routes()


def test_every_field_of_a_message_is_documented(app: Flask) -> None:
    from chatapp.routes.schemas import ChatBody, MessageBody, Options, RegisterBody

    page = text_of("docs/ROUTES.md")
    fields = {name for body in (ChatBody, MessageBody, Options, RegisterBody) for name in body.model_fields}

    assert {name for name in fields if f"`{name}`" not in page} == set()


def test_the_answer_to_a_message_has_the_documented_fields(alice: Browser) -> None:
    table = text_of("docs/ROUTES.md").partition("## Asking")[0]
    row = next(row for row in rows(table) if row[:2] == ["POST", "`/chat/<chat_id>/message`"])
    chat_id = alice.send("/chat").json["id"]  # type: ignore[index]

    answer = alice.send(f"/chat/{chat_id}/message", {"content": "Hello"})

    assert answer.status_code == 202
    assert "{" + ", ".join(sorted(answer.json or {})) + "}" == sorted_fields(row[3])


def sorted_fields(cell: str) -> str:
    named = cell.rpartition("{")[2].partition("}")[0]
    return "{" + ", ".join(sorted(named.split(", "))) + "}"


def test_the_lists_of_models_have_the_documented_fields(alice: Browser) -> None:
    table = text_of("docs/ROUTES.md").partition("## Asking")[0]
    row = next(row for row in rows(table) if row[1] == "`/models/list`")

    answer = alice.get("/models/list").json

    assert f"`{{{', '.join(sorted(answer or {}))}}}`" == f"`{sorted_fields(row[3].partition(';')[0])}`"


def tree(error: type[ChatAppError]) -> Iterator[type[ChatAppError]]:
    yield error
    for kind in error.__subclasses__():
        yield from tree(kind)


def test_every_error_code_is_documented_with_its_status_and_no_other_is(app: Flask) -> None:
    raised = {(kind.code, kind.status) for kind in tree(ChatAppError)}

    table = {(words(code)[0], int(status)) for code, status, _ in rows(text_of("docs/ERRORS.md"))}

    assert table == raised | FRAMEWORK_CODES


def test_what_the_framework_refuses_has_a_documented_code(alice: Browser) -> None:
    answer = alice.client.open("/dashboard", method="TRACE", headers={"Accept": "application/json"})

    assert answer.json is not None
    assert (answer.json["error"]["code"], answer.status_code) in FRAMEWORK_CODES


def test_an_error_has_the_documented_form(anonymous: Browser) -> None:
    answer = anonymous.get("/models/list", headers={"Accept": "application/json"})

    assert set(answer.json or {}) == {"error", "request_id"}
    assert set((answer.json or {})["error"]) == {"code", "message", "field"}


def test_the_limits_are_those_of_the_code() -> None:
    from chatapp.services import limits, replies
    from chatapp.services.chats import KEPT_AFTER_DELETE, MOST_CHATS, TITLE_CHARACTERS

    page, table = text_of("docs/ROUTES.md"), section("docs/ROUTES.md", "Limits")

    assert f"| {replies.RUNNING_PER_USER} |" in table
    assert f"{replies.MESSAGES_PER_CHAT:,} / {MOST_CHATS:,}" in table
    assert f"| {limits.STREAMS_PER_USER} / `MAX_STREAMS` |" in table
    assert f"1 to {TITLE_CHARACTERS} characters" in page
    assert f"brought back for {KEPT_AFTER_DELETE.days} days" in page


def test_the_rate_limits_are_those_of_the_code() -> None:
    from chatapp.routes import rates

    table = section("docs/ROUTES.md", "Limits")
    spoken = {
        "30 per minute; 200 per hour": "30 a minute, 200 an hour",
        "10 per 5 minutes": "10 in 5 minutes",
        "60 per hour": "60 an hour",
        "9 per 10 minutes": "9 in 10 minutes",
        "120 per minute": "120 a minute",
        "30 per minute": "30 a minute",
        "20 per 10 minutes": "20 in 10 minutes",
    }
    decorators = (value for value in vars(rates).values() if isinstance(value, type(rates.messages)))
    in_force = {value.limit_provider for value in decorators}

    assert in_force == set(spoken)
    assert [words for words in spoken.values() if f"| {words} |" not in table] == []
