"""Models: names that are none, who may do what, and downloads that everybody sees and nobody doubles."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest
from werkzeug.test import TestResponse

from chatapp.jobs.job import Job
from tests.cast import Browser, add_user, services_of, short
from tests.fakes import scripts
from tests.fakes.ollama import FakeOllama
from tests.routes.test_replies import events_of

NAME = "qwen3:0.6b"
DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64

BAD_NAMES = [
    " ", "http://127.0.0.1:8000/x", "https://evil.example/ns/m", "file:///etc/passwd", "evil.example/ns/m",
    "127.0.0.1:80/a/b", "[::ffff:7f00:1]/a/b", "localhost:11434/library/m", "registry.ollama.ai@evil/a/b",
    "user:pass@evil/a/b", "m@sha256:" + "0" * 64, "../../blobs/sha256-x", "a/../b", "a/./b", "a\\b", "..", ".", "-m",
    "a//b", "/a", "a/", "a:", ":b", "a:b:c", "a/b/c/d", "<svg onload=alert(1)>", "a\nb", "a\0b", "a\rb", "m;rm -rf",
    "$(id)", "`id`", "m'1", 'm"1', "m|x", "m&x", "m?x", "m#x", "m%00", "modèle", "模型", "m🦙", "a" * 81,
    "m:" + "a" * 81, "x" * 2000, "hf.co/org/model", "m b", "{{7*7}}",
]  # fmt: skip


def pull(person: Browser, name: str = NAME) -> TestResponse:
    return person.send(f"/model/download/{quote(name, safe='')}")


def job_of(person: Browser, name: str = NAME) -> Job:
    return services_of(person.app).library.pull_job(name)


def watch(person: Browser, name: str = NAME, **headers: str) -> list[tuple[str, dict[str, Any]]]:
    return events_of(person.get(f"/model/download/{name}", headers=headers).data)


def error_of(answer: TestResponse) -> dict[str, Any]:
    assert answer.json is not None
    return dict(answer.json["error"])


def installed(person: Browser) -> list[str]:
    return [row["name"] for row in (person.get("/models/list").json or {})["installed"]]


def layer(completed: Any, total: Any = 100, digest: str = DIGEST, **more: Any) -> dict[str, Any]:
    return {
        "status": f"pulling {digest[7:19]}",
        "digest": digest,
        "total": total,
        "completed": completed,
        **more,
    }


def until_success(ollama: FakeOllama, *lines: dict[str, Any]) -> None:
    """Let the next pull say this, then succeed."""
    ollama.believable.add(NAME)
    ollama.next("/api/pull", scripts.lines(*lines, {"status": "success"}))


# -- names


@pytest.mark.parametrize("name", BAD_NAMES, ids=short)
def test_what_is_no_model_name_is_refused_before_ollama_hears_of_it(
    alice: Browser, ollama: FakeOllama, name: str
) -> None:
    typed = alice.send("/model/download", {"name": name})
    form = alice.submit("/model/download", name=name)

    assert typed.status_code == 400
    assert "name:tag" in error_of(typed)["message"]
    assert form.status_code == 400
    assert "<svg onload" not in form.get_data(as_text=True)
    assert ollama.calls_to("/api/pull") == []


@pytest.mark.parametrize("name", BAD_NAMES, ids=short)
def test_such_a_name_in_the_address_is_refused_as_well(alice: Browser, ollama: FakeOllama, name: str) -> None:
    quoted = quote(name, safe="")
    changes = [
        alice.send(f"/model/{action}/{quoted}").status_code
        for action in ("download", "delete", "load", "unload", "cancel")
    ]
    looks = [alice.get(f"/model/{action}/{quoted}").status_code for action in ("show", "download")]

    assert set(changes + looks) <= {400, 404, 308}
    assert ollama.calls == []


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": None}, {"name": 5}, {"name": ["a"]}])
def test_without_a_name_nothing_is_downloaded(alice: Browser, ollama: FakeOllama, body: Any) -> None:
    assert alice.send("/model/download", body).status_code == 400
    assert ollama.calls_to("/api/pull") == []


def test_a_refused_name_is_kept_in_the_field(alice: Browser) -> None:
    page = alice.submit("/model/download", name='x"><script>').get_data(as_text=True)

    assert 'value="x&#34;&gt;&lt;script&gt;"' in page


def test_spaces_around_a_name_do_not_matter(alice: Browser, ollama: FakeOllama) -> None:
    alice.send("/model/download", {"name": f"  {NAME} "})

    assert ollama.wait_for_call("/api/pull").json["model"] == NAME


def test_a_host_may_be_allowed_by_the_configuration(open_app: Callable[..., Any], ollama: FakeOllama) -> None:
    app = open_app(ALLOWED_REGISTRIES="hf.co")
    alice = Browser(app)
    person = Browser(
        app, services_of(app).accounts.register("alice", "long enough words", setup_code=None, local=True)
    )

    assert pull(person, "hf.co/org/model:Q4").status_code == 202
    assert pull(person, "evil.example/org/model").status_code == 400
    assert alice.user is None
    assert "insecure" not in ollama.wait_for_call("/api/pull").json


# -- who may


@pytest.mark.parametrize("action", ["download", "delete", "load", "unload", "cancel"])
def test_an_ordinary_user_changes_no_models(bob: Browser, ollama: FakeOllama, action: str) -> None:
    answer = bob.send(f"/model/{action}/smollm2:135m")

    assert answer.status_code == 403
    assert "root" in error_of(answer)["message"]
    assert {call.path for call in ollama.calls} <= {"/api/tags"}


def test_a_user_whom_root_allows_may_download_until_root_says_no(alice: Browser, bob: Browser) -> None:
    assert bob.user is not None
    alice.send(f"/admin/users/{bob.user.id}", {"may_manage_models": True})
    allowed = pull(bob)
    alice.send(f"/admin/users/{bob.user.id}", {"may_manage_models": False})

    assert allowed.status_code == 202
    assert pull(bob, "other:1b").status_code == 403


def test_somebody_who_is_not_signed_in_is_sent_to_the_log_in(alice: Browser, anonymous: Browser) -> None:
    form = anonymous.submit(f"/model/download/{NAME}")

    assert (form.status_code, form.headers["Location"]) == (303, "/login")
    assert anonymous.client.post(f"/model/download/{NAME}", json={}).status_code == 401


@pytest.mark.parametrize("path", ["/model/download", "/model/download/no%20name"])
def test_too_many_downloads_a_minute_are_refused_politely(open_app: Callable[..., Any], path: str) -> None:
    app = open_app(RATELIMIT_ENABLED="true")
    alice, bob = Browser(app, add_user(app, "alice")), Browser(app, add_user(app, "bob"))

    answers = [alice.send(path, {"name": " "}) for _ in range(31)]

    assert [answer.status_code for answer in answers] == [400] * 30 + [429]
    assert error_of(answers[-1])["code"] == "too_many"
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 61
    assert bob.send(path, {"name": " "}).status_code != 429


# -- a download


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_looking_never_starts_a_download(alice: Browser, ollama: FakeOllama, method: str) -> None:
    answer = alice.client.open(f"/model/download/{NAME}", method=method, buffered=True)

    assert answer.status_code == 404
    assert alice.get(f"/model/delete/{NAME}").status_code == 405
    assert alice.get(f"/model/load/{NAME}").status_code == 405
    assert ollama.calls_to("/api/pull") == []


def test_twenty_who_start_the_same_download_at_once_share_one(alice: Browser, ollama: FakeOllama) -> None:
    ollama.believable.pull_s = 1
    tabs = [alice.another_tab() for _ in range(20)]
    names = [NAME, NAME.upper(), f"library/{NAME}", f"registry/{NAME}"]

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda number: pull(tabs[number], names[number % 3]), range(20)))

    assert {answer.status_code for answer in answers} == {202}
    assert len({(answer.json or {})["job_id"] for answer in answers}) == 1
    assert job_of(alice).wait_ended(10)
    assert len(ollama.calls_to("/api/pull")) == 1


def test_two_viewers_see_the_same_download_whoever_started_it(
    alice: Browser, bob: Browser, ollama: FakeOllama
) -> None:
    ollama.believable.pull_s = 0.5
    pull(alice)
    with ThreadPoolExecutor(2) as pool:
        seen = list(pool.map(watch, [alice, bob]))

    assert seen[0][-1] == seen[1][-1] == ("done", {})
    assert seen[0][-2][1]["completed_bytes"] == seen[1][-2][1]["completed_bytes"] > 98_000_000
    assert len(ollama.calls_to("/api/pull")) == 1


def test_a_viewer_who_leaves_does_not_end_the_download(alice: Browser, ollama: FakeOllama) -> None:
    ollama.believable.pull_s = 0.5
    pull(alice)
    gone = alice.client.get(f"/model/download/{NAME}")
    next(iter(gone.response))
    gone.close()

    assert job_of(alice).wait_ended(10)
    assert watch(alice)[-1][0] == "done"
    assert NAME in installed(alice)
    assert services_of(alice.app).streams.open == 0


def test_whoever_reconnects_after_the_end_hears_nothing_and_starts_nothing(
    alice: Browser, ollama: FakeOllama
) -> None:
    pull(alice)
    assert job_of(alice).wait_ended(10)
    job = job_of(alice)
    last = f"{job.id}.{job.end_position}"

    again = [alice.get(f"/model/download/{NAME}", headers={"Last-Event-ID": last}) for _ in range(5)]

    assert {answer.status_code for answer in again} == {204}
    assert len(ollama.calls_to("/api/pull")) == 1


def test_a_download_that_is_cancelled_is_ended_at_ollama_and_can_be_started_again(
    alice: Browser, ollama: FakeOllama
) -> None:
    ollama.believable.pull_s = 60
    pull(alice)
    call = ollama.wait_for_call("/api/pull")

    answer = alice.send(f"/model/download/{NAME}", method="DELETE")

    assert answer.json == {"status": "cancelled"}
    assert call.client_left.wait(1)
    assert watch(alice)[-1][0] == "cancelled"
    ollama.believable.pull_s = 0
    assert pull(alice).status_code == 202
    assert job_of(alice).wait_ended(10)
    assert watch(alice)[-1][0] == "done"


def test_cancelling_what_is_not_running_is_answered_calmly(alice: Browser) -> None:
    assert alice.send(f"/model/cancel/{NAME}").status_code == 404
    pull(alice)
    job_of(alice).wait_ended(10)

    assert alice.send(f"/model/cancel/{NAME}").status_code == 200
    assert watch(alice)[-1][0] == "done"


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ({"error": "pull model manifest: file does not exist"}, "model_missing", "There is no model called"),
        ({"error": "write /models/x: no space left on device"}, "ollama_refused", "not enough disk space"),
        ({"error": "<script>alert(1)</script>"}, "ollama_failed", "failed. Start it again"),
        ({"error": {"message": "manifest: 401"}}, "ollama_refused", "does not hand it out"),
    ],
)
def test_a_download_that_fails_says_why_to_everybody(
    alice: Browser, bob: Browser, ollama: FakeOllama, line: dict[str, Any], code: str, words: str
) -> None:
    ollama.always("/api/pull", scripts.lines({"status": "pulling manifest"}, line))
    pull(alice)
    events = watch(bob)
    page = bob.get("/dashboard").get_data(as_text=True)

    assert events[-1][0] == "failed"
    assert events[-1][1]["code"] == code
    assert words in events[-1][1]["message"]
    assert words in page
    assert "<script>alert" not in page
    assert (bob.get("/models/list").json or {})["pulls"][0]["state"] == "failed"


def test_success_without_the_model_on_the_list_is_no_success(alice: Browser, ollama: FakeOllama) -> None:
    ollama.next("/api/pull", scripts.lines(layer(100), {"status": "success"}))
    pull(alice)

    assert watch(alice)[-1][1]["code"] == "ollama_broken"


def test_a_line_that_breaks_is_taken_up_again(alice: Browser, ollama: FakeOllama) -> None:
    ollama.believable.add(NAME)
    ollama.next("/api/pull", scripts.lines(layer(60), ending="reset"))
    ollama.next("/api/pull", scripts.lines(layer(70), layer(100), {"status": "success"}))
    pull(alice)

    events = watch(alice)

    assert "retrying" in [name for name, _ in events]
    assert events[-1][0] == "done"
    assert len(ollama.calls_to("/api/pull")) == 2


def test_a_cancel_between_two_tries_holds(alice: Browser, ollama: FakeOllama) -> None:
    ollama.always("/api/pull", scripts.hang_up())
    pull(alice)
    follower = job_of(alice).follow()
    next(event for event in follower if event is not None and event.name == "retrying")
    follower.close()

    alice.send(f"/model/cancel/{NAME}")

    assert job_of(alice).wait_ended(2)
    assert watch(alice)[-1][0] == "cancelled"


ODD_PROGRESS = [
    [layer(10, None), layer(20, None)],
    [layer(None, None), layer(None, 100), layer(50, 100)],
    [layer(0, 0), layer(5, 0)],
    [layer(150, 100), layer(90, 100)],
    [layer(80), layer(20), layer(90)],
    [layer(100), layer(10, 1000, OTHER), layer(1000, 1000, OTHER)],
    [layer(100), layer(5, 50, OTHER), layer(60), layer(50, 50, OTHER)],
    [layer(50, 100), layer(50, 40), layer(60, 100)],
    [layer(-5, 100), layer(50, -1), layer("x", "y"), layer(True, 1.5), layer(10**30, 10**30)],
    [{"status": None}, {"status": 5, "digest": 7}, {}, {"status": "pulling", "digest": None, "total": 5}],
    [{"status": "verifying sha256 digest", "completed": 5, "total": 10}],
]


@pytest.mark.parametrize("lines", ODD_PROGRESS)
def test_a_download_with_odd_numbers_ends_well_and_within_its_bar(
    alice: Browser, ollama: FakeOllama, lines: list[dict[str, Any]]
) -> None:
    until_success(ollama, *lines)
    pull(alice)

    events = watch(alice)

    progress = [data for name, data in events if name == "progress"][-1]
    assert events[-1][0] == "done"
    assert 0 <= progress["completed_bytes"] <= (progress["total_bytes"] or progress["completed_bytes"])
    assert NAME in installed(alice)


# -- lists


def test_a_strange_list_of_ollama_still_makes_a_page(alice: Browser, ollama: FakeOllama) -> None:
    good = ollama.believable.models["smollm2:135m"]
    rows: list[Any] = [
        good,
        {**good, "name": "<img src=x onerror=alert(1)>", "model": "<b>"},
        {**good, "name": "minus:1b", "size": -1, "modified_at": "yesterday"},
        {**good, "name": "bare:1b", "details": None, "capabilities": None},
        {"name": "only-a-name:1b"},
        {**good, "name": "odd:1b", "size": "big", "details": [], "digest": 5, "modified_at": 5, "capabilities": "x"},
        {**good, "name": "html:1b", "details": {"family": "<script>alert(1)</script>", "parameter_size": 7}},
        {**good, "name": "future:1b", "modified_at": "9999-12-31T23:59:59-12:00", "size": 10**40},
        None, 5, "x", [], {},
    ]  # fmt: skip
    ollama.always("/api/tags", scripts.answer(200, {"models": rows}))

    page = alice.get("/dashboard").get_data(as_text=True)
    names = installed(alice)

    assert names == [
        "bare:1b",
        "future:1b",
        "html:1b",
        "minus:1b",
        "odd:1b",
        "only-a-name:1b",
        "smollm2:135m",
    ]
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert alice.get("/chat/new").status_code == 200
    assert alice.get("/settings").status_code == 200


@pytest.mark.parametrize("answer", [{}, [], None, {"models": None}, {"models": {}}, {"models": "x"}, 5])
def test_no_list_at_all_is_an_empty_one_or_a_sentence(
    alice: Browser, ollama: FakeOllama, answer: Any
) -> None:
    ollama.always("/api/tags", scripts.answer(200, answer))
    ollama.always("/api/ps", scripts.answer(200, answer))

    assert alice.get("/dashboard").status_code == 200
    assert installed(alice) == []
    assert alice.get("/chat/new").status_code == 200


def test_ten_thousand_models_are_listed(alice: Browser, ollama: FakeOllama) -> None:
    good = ollama.believable.models["smollm2:135m"]
    rows = [{**good, "name": f"model{n}:1b", "model": f"model{n}:1b"} for n in range(10_000)]
    ollama.always("/api/tags", scripts.answer(200, {"models": rows}))

    assert len(installed(alice)) == 10_000


@pytest.mark.parametrize(
    "script",
    [
        scripts.html(502),
        scripts.hang_up(),
        scripts.hang_up("reset"),
        scripts.answer(200, b"\xff\xfe{\0"),
        scripts.answer(403),
        scripts.redirect("http://evil.example/"),
    ],
)
def test_a_broken_ollama_leaves_every_page_open_and_named(
    alice: Browser, ollama: FakeOllama, script: scripts.Script
) -> None:
    for path in ("/api/tags", "/api/version", "/api/ps"):
        ollama.always(path, script)

    listed = alice.get("/models/list").json or {}

    assert listed["installed"] == []
    assert len(listed["problem"]["message"]) > 20
    assert listed["problem"]["message"] in alice.get("/dashboard").get_data(as_text=True).replace(
        "&#39;", "'"
    )
    assert alice.get("/chat/new").status_code == 200
    assert alice.get("/settings").status_code == 200
    assert (alice.get("/health").json or {})["ollama"] == "unreachable"


# -- deleting


def test_deleting_a_model_that_is_not_there_is_a_sentence(alice: Browser) -> None:
    answer = alice.send("/model/delete/gone:1b")
    page = alice.submit("/model/delete/gone:1b").get_data(as_text=True)

    assert answer.status_code == 404
    assert error_of(answer)["code"] == "model_missing"
    assert "gone:1b is not on this server" in page


def test_a_model_is_not_deleted_while_it_is_downloaded(alice: Browser, ollama: FakeOllama) -> None:
    ollama.believable.pull_s = 30
    pull(alice)
    ollama.wait_for_call("/api/pull")

    answer = alice.send(f"/model/delete/{NAME}")

    assert answer.status_code == 409
    assert "Cancel that first" in error_of(answer)["message"]
    assert ollama.calls_to("/api/delete") == []


def test_a_model_deleted_during_its_reply_lets_the_reply_end(alice: Browser, ollama: FakeOllama) -> None:
    ollama.believable.tokens_per_s = 100
    chat_id = (alice.send("/chat", {"model": "smollm2:135m"}).json or {})["id"]
    alice.send(f"/chat/{chat_id}/message", {"content": "Go on"})
    ollama.wait_for_call("/api/chat")

    answer = alice.send("/model/delete/smollm2:135m")

    job = services_of(alice.app).jobs.latest("reply", chat_id)
    assert answer.status_code == 200
    assert job is not None
    assert job.wait_ended(10)
    assert job.last_event is not None
    assert job.last_event.name == "done"
