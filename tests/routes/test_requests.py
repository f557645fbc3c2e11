"""Requests as attackers and broken programs send them: hosts, headers, methods, paths; some over a raw connection."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests.cast import Browser, short
from tests.start.processes import Server

ODD_HEADERS = [
    {"Accept": "image/*"}, {"Accept": ""}, {"Accept": ";;;q=zz,*/*;q=-1"}, {"Accept": "x" * 8000},
    {"Accept-Language": '"><script>alert(1)</script>'}, {"Accept-Language": "x" * 8000},
    {"Accept-Encoding": "nothing;q=1"}, {"User-Agent": ""}, {"User-Agent": "\x1b[31m" + "x" * 8000},
    {"Referer": "javascript:alert(1)"}, {"Referer": "x" * 8000}, {"Cookie": "x" * 8000},
    {"Range": "bytes=0-0,1-1,2-2"}, {"Range": "bytes=" + "0-0," * 1000}, {"If-None-Match": "*"},
    {"If-Modified-Since": "yesterday"}, {"Content-Type": "nonsense"},
    {"Content-Type": "text/html; charset=\x00".replace("\0", "")}, {"X-Forwarded-For": "not an address"},
    {"X-Forwarded-Host": "evil.example"}, {"X-Forwarded-Proto": "gopher"},
    {"X-Forwarded-Prefix": "//evil.example"}, {"Forwarded": "for=evil"}, {"X-HTTP-Method-Override": "DELETE"},
    {"X-Fragment": "models"}, {"X-Fragment": "../../etc/passwd"}, {"Sec-Fetch-Site": "\xff"},
    {"Last-Event-ID": "\xff" * 100}, {"Upgrade": "websocket"}, {"Authorization": "Bearer " + "x" * 8000},
    {"Origin": "null"}, {"Content-Length": "0"}, {"Date": "x"}, {"Via": "\xe4"},
]  # fmt: skip


@pytest.mark.parametrize("headers", ODD_HEADERS, ids=short)
def test_a_strange_header_changes_nothing_on_a_page(alice: Browser, headers: dict[str, str]) -> None:
    for path in ("/dashboard", "/chat/new", "/settings", "/no-such-page"):
        answer = alice.get(path, headers=headers)
        text = answer.get_data(as_text=True)

        assert answer.status_code in (200, 404)
        assert "<script>alert" not in text
        assert "evil.example" not in text
        assert "evil.example" not in str(answer.headers)


@pytest.mark.parametrize("headers", ODD_HEADERS, ids=short)
def test_a_strange_header_signs_nobody_in(
    alice: Browser, anonymous: Browser, headers: dict[str, str]
) -> None:
    assert anonymous.get("/dashboard", headers=headers).status_code in (303, 401)


@pytest.mark.parametrize(
    "method", ["PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "FOO", "PROPFIND", "X" * 200]
)
@pytest.mark.parametrize("path", ["/dashboard", "/login", "/chat", "/settings"])
def test_another_method_is_refused_with_those_there_are(alice: Browser, method: str, path: str) -> None:
    answer = alice.client.open(path, method=method, headers={"X-CSRFToken": alice.token()}, buffered=True)

    assert answer.status_code == 405
    assert "OPTIONS" in answer.headers["Allow"]
    assert "Traceback" not in answer.get_data(as_text=True)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1"])
def test_other_sites_are_told_nothing_about_what_they_may(alice: Browser, origin: str) -> None:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}

    for method in ("OPTIONS", "GET"):
        answer = alice.client.open("/models/list", method=method, headers=headers, buffered=True)
        assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize(
    "path",
    [
        "/..;/dashboard", "/%2e%2e/", "/static/../app.py", "/static/..%2f..%2fwsgi.py", "/static/%00",
        "/static/%2e%2e/%2e%2e/wsgi.py", "/static/", "/.env", "/.git/config", "/data/users.json",
        "/data/setup-code", "/wsgi.py", "/chatapp/config.py", "/%00", "/%ff", "/" + "x" * 8000,
        "/" + "a/" * 2000, "/dashboard/", "/dashboard%20", "/Dashboard", "/dashboard.json", "/chat/", "/model/",
        "/admin/", "/admin/users/", "/chat/new/..", "/%E2%80%AE", "/dashboard;x=1", "/console", "/debug",
        "/server-status",
    ],
    ids=short,
)  # fmt: skip
def test_a_path_that_leads_nowhere_is_a_page_that_says_so(alice: Browser, path: str) -> None:
    answer = alice.get(path)

    text = answer.get_data(as_text=True)
    assert answer.status_code == 404
    assert "There is nothing at this address." in text or "does not exist" in text
    assert "SECRET" not in text


@pytest.mark.parametrize(
    "query",
    ["?" + "a=b&" * 2000, "?%00=%ff", "?at=%ff&before=%00", "?q=%ed%a0%80", "?[]=&__proto__=1"],
    ids=short,
)
def test_a_strange_query_changes_nothing(alice: Browser, query: str) -> None:
    for path in ("/chat/new", "/login", "/dashboard"):
        assert alice.get(path + query).status_code in (200, 302)


def test_what_a_link_puts_into_the_text_field_is_text(alice: Browser) -> None:
    page = alice.get("/chat/new?q=</textarea><script>alert(1)</script>&model=<svg onload=x>").get_data(
        as_text=True
    )

    assert "<script>alert" not in page
    assert "<svg onload" not in page


def test_an_unforeseen_error_is_a_calm_page_with_a_number_and_no_trace(app: Flask, alice: Browser) -> None:
    @app.get("/breaks")
    def breaks() -> str:
        raise RuntimeError("the secret inside")

    breaks.policy = "public"  # type: ignore[attr-defined]

    page = alice.get("/breaks")
    program = alice.get("/breaks", headers={"Accept": "application/json"})

    for answer in (page, program):
        text = answer.get_data(as_text=True)
        assert answer.status_code == 500
        assert answer.headers["X-Request-ID"] in text
        assert "the secret inside" not in text
        assert "RuntimeError" not in text


# -- over a raw connection


@pytest.fixture(scope="module")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("raw")
    server = Server(
        folder, {"ENGINE": "never", "OLLAMA_URL": "http://127.0.0.1:1", "RATELIMIT_ENABLED": "false"}
    )
    try:
        yield server.wait_until_ready()
    finally:
        server.kill()


def exchange(server: Server, sent: bytes) -> list[int]:
    """Send bytes on a new connection, half-close it, and return the status of every answer that comes back."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it was refused before it had all arrived
        received = b""
        try:
            while piece := connection.recv(65536):
                received += piece
        except ConnectionResetError:
            pass
    assert b"Traceback" not in received
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", received)]


def request(
    line: str = "GET /login HTTP/1.1", *headers: str, host: str | None = "localhost", body: bytes = b""
) -> bytes:
    lines = [line, *([f"Host: {host}"] if host is not None else []), "Connection: close", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@pytest.mark.start
@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        (request(), [200]),
        (request(host="evil.example"), [400]),
        (request(host="localhost:99999"), [400]),
        (request(host="localhost@evil.example"), [400]),
        (request(host="localhost, evil.example"), [400]),
        (request("GET /login HTTP/1.1", "Host: evil.example"), [400]),
        (request("GET /login HTTP/1.1", "Host: localhost"), [400]),
        (request("GET http://evil.example/login HTTP/1.1"), [400]),
        (request("GET //evil.example/login HTTP/1.1"), [404]),
        (request("GET * HTTP/1.1"), [400]),
        (request("OPTIONS * HTTP/1.1"), [400]),
        (request("CONNECT localhost:443 HTTP/1.1"), [400]),
        (request("TRACE /login HTTP/1.1"), [405]),
        (request("GET /..;/login HTTP/1.1"), [404]),
        (request("GET /static/../../wsgi.py HTTP/1.1"), [404]),
        (request("GET /\xff HTTP/1.1"), [400]),
        (request("GET /login HTTP/1.1", "X: " + "a" * 9000), [431]),
        (request("GET /login HTTP/1.1", *[f"X{n}: 1" for n in range(120)]), [431]),
        (request("GET /" + "a" * 9000 + " HTTP/1.1"), [414]),
        (request("GET /login HTTP/1.1", "X: a\x00b"), [400]),
        (request("GET /login HTTP/1.1", "X : a"), [400]),
        (request("POST /login HTTP/1.1", "Content-Length: -1"), [400]),
        (request("POST /login HTTP/1.1", "Content-Length: 5", "Content-Length: 6", body=b"12345"), [400]),
        (
            request(
                "POST /login HTTP/1.1", "Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"
            ),
            [400],
        ),
        (request("POST /login HTTP/1.1", "Transfer-Encoding: xchunked", body=b"0\r\n\r\n"), [501]),
        (request("POST /login HTTP/1.1", "Transfer-Encoding: chunked", body=b"zz\r\nabc"), [403]),
        (b"GET /login\r\n", [400]),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400]),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)), [400]),
        (b"\r\n\r\n\r\n\r\n", [400]),
        (b"", []),
    ],
    ids=short,
)
def test_the_server_answers_broken_requests_and_stays(
    real_server: Server, sent: bytes, statuses: list[int]
) -> None:
    found = exchange(real_server, sent)

    assert found == statuses
    assert exchange(real_server, request("GET /ready HTTP/1.1")) == [200]


@pytest.mark.start
@pytest.mark.parametrize(
    "sent",
    [
        request("POST /register HTTP/1.1", "Content-Length: 10000000", "Content-Type: application/json")
        + b"x" * 10_000_000,
        request(
            "POST /register HTTP/1.1",
            "Content-Length: 10000000000",
            "Expect: 100-continue",
            "Content-Type: application/json",
        ),
        request(
            "POST /register HTTP/1.1",
            "Content-Length: 10000000000",
            "Content-Type: application/x-www-form-urlencoded",
        ),
    ],
    ids=["sent", "expected", "announced"],
)
def test_a_body_beyond_the_limit_is_refused_without_being_read(real_server: Server, sent: bytes) -> None:
    found = [status for status in exchange(real_server, sent) if status != 100]

    assert found in ([413], [403], [])
    assert exchange(real_server, request("GET /ready HTTP/1.1")) == [200]


@pytest.mark.start
def test_the_name_and_version_of_the_software_are_not_told(real_server: Server) -> None:
    with socket.create_connection(("127.0.0.1", real_server.port), timeout=10) as connection:
        connection.sendall(request())
        head = connection.makefile("rb").read().partition(b"\r\n\r\n")[0].lower()

    assert b"gunicorn/" not in head
    assert b"werkzeug" not in head
    assert b"python" not in head
