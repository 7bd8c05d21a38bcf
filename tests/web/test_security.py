"""Each rule of security: what it refuses, and what it lets through."""

from __future__ import annotations

import base64
import logging
import re
from typing import TYPE_CHECKING

import pytest
from starlette.testclient import TestClient

import asynq
from asynq.web import (
    BasicAuthentication,
    BearerAuthentication,
    ProxyAuthentication,
    User,
    create_app,
)
from asynq.web.api.table import ENDPOINTS
from asynq_sqlite import MemoryBroker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from starlette.requests import HTTPConnection

    from asynq import Broker
    from asynq.web.api.endpoint import Endpoint
    from tests.web.conftest import Browser

USERS = BasicAuthentication({"alice": ("wonder", "operator"), "bob": ("builder", "viewer")})
ADDRESSES = ["/", "/api/queues", "/api/openapi.json", "/static/asynq.js", "/live/overview", "/nope"]


@pytest.fixture
def broker() -> Iterator[Broker]:
    made = MemoryBroker()
    asynq.Client(made).enqueue(asynq.Task("email:deliver", {"n": 1}), queue="mail")
    yield made
    made.close()


def basic(name: str, password: str) -> dict[str, str]:
    encoded = base64.b64encode(f"{name}:{password}".encode()).decode()
    return {"Authorization": f"Basic {encoded}"}


# --- who ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ADDRESSES)
def test_without_authentication_other_machines_are_refused(
    browse: Callable[..., Browser], address: str
) -> None:
    assert browse(client=("192.0.2.7", 1234)).get(address).status_code == 403


@pytest.mark.parametrize("client", ["127.0.0.1", "127.0.0.9", "::1"])
def test_without_authentication_this_machine_is_answered(browse: Callable[..., Browser], client: str) -> None:
    assert browse(client=(client, 1234)).get("/api/queues").status_code == 200


def test_insecure_answers_other_machines(browse: Callable[..., Browser]) -> None:
    assert browse(client=("192.0.2.7", 1234), insecure=True).get("/api/queues").status_code == 200


@pytest.mark.parametrize("address", ADDRESSES)
def test_with_authentication_nothing_is_answered_without_credentials(
    browse: Callable[..., Browser], address: str
) -> None:
    answer = browse(authentication=USERS).get(address)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")


@pytest.mark.parametrize(
    "headers",
    [
        basic("alice", "wrong"),
        basic("alice", ""),
        basic("nobody", "wonder"),
        basic("", ""),
        {"Authorization": "Basic"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic " + base64.b64encode(b"\xff\xfe:x").decode()},
        {"Authorization": "Basic " + base64.b64encode(b"alice").decode()},
        {"Authorization": "Bearer wonder"},
        {"X-Forwarded-User": "alice"},
    ],
)
def test_wrong_credentials_are_refused(browse: Callable[..., Browser], headers: dict[str, str]) -> None:
    ways = [USERS, BearerAuthentication({"ci": ("token", "operator")})]
    assert browse(authentication=ways).get("/api/queues", headers=headers).status_code == 401


def test_basic_authentication_names_the_user(browse: Callable[..., Browser]) -> None:
    session = browse(authentication=USERS).get("/api/session", headers=basic("bob", "builder")).json()
    assert (session["user"], session["role"], session["may_change"]) == ("bob", "viewer", False)


def test_a_viewer_reads_and_changes_nothing(browse: Callable[..., Browser], broker: Broker) -> None:
    browser = browse(authentication=USERS)
    browser.headers |= basic("bob", "builder")
    assert browser.get("/api/queues").status_code == 200
    assert "Pause" not in browser.get("/").text
    for answer in (
        browser.change("POST", "/api/queues/mail:pause"),
        browser.post("/do/pause_queue", data={"queue": "mail", "csrf_token": browser.token()}),
    ):
        assert answer.status_code == 403
    assert not asynq.Inspector(broker).queue_info("mail").paused


def test_an_operator_changes(browse: Callable[..., Browser], broker: Broker) -> None:
    browser = browse(authentication=USERS)
    browser.headers |= basic("alice", "wonder")
    assert browser.change("POST", "/api/queues/mail:pause").status_code == 204
    assert asynq.Inspector(broker).queue_info("mail").paused


def test_a_bearer_token_needs_no_other_token(browse: Callable[..., Browser], broker: Broker) -> None:
    browser = browse(authentication=BearerAuthentication({"ci": ("secret", "operator")}))
    headers = {"Authorization": "Bearer secret"}
    assert browser.post("/api/queues/mail:pause", headers=headers).status_code == 204
    assert asynq.Inspector(broker).queue_info("mail").paused


PROXY = ProxyAuthentication(["10.0.0.0/24"], operators=["alice"])


def test_a_proxy_names_the_user(browse: Callable[..., Browser]) -> None:
    browser = browse(client=("10.0.0.7", 1), authentication=PROXY)
    roles = {
        name: browser.get("/api/session", headers={"X-Forwarded-User": name}).json()["role"]
        for name in ("alice", "carol")
    }
    assert roles == {"alice": "operator", "carol": "viewer"}


@pytest.mark.parametrize("client", ["10.0.1.7", "127.0.0.1", "192.0.2.1"])
def test_nobody_else_is_a_proxy(browse: Callable[..., Browser], client: str) -> None:
    browser = browse(client=(client, 1), authentication=PROXY)
    headers = {"X-Forwarded-User": "alice", "X-Forwarded-For": "10.0.0.7"}
    assert browser.get("/api/session", headers=headers).status_code == 401


def test_a_proxy_that_passes_on_a_header_of_its_client_is_refused(browse: Callable[..., Browser]) -> None:
    browser = browse(client=("10.0.0.7", 1), authentication=PROXY)
    headers = [("X-Forwarded-User", "alice"), ("X-Forwarded-User", "carol")]
    assert browser.get("/api/session", headers=headers).status_code == 401


def test_a_proxy_may_name_only_operators(browse: Callable[..., Browser]) -> None:
    way = ProxyAuthentication("10.0.0.7", operators=["alice"], role=None)
    browser = browse(client=("10.0.0.7", 1), authentication=way)
    assert browser.get("/api/session", headers={"X-Forwarded-User": "carol"}).status_code == 401
    assert browser.get("/api/session", headers={"X-Forwarded-User": "alice"}).status_code == 200


class Sessions:
    challenge = ""

    async def authenticate(self, connection: HTTPConnection, /) -> User | None:
        name = connection.cookies.get("session")
        return User(name, asynq.web.UserRole.OPERATOR) if name else None


def test_an_application_authenticates_its_own_users(browse: Callable[..., Browser]) -> None:
    browser = browse(authentication=Sessions())
    assert browser.get("/api/session").status_code == 401
    browser.cookies.set("session", "dora")
    assert browser.get("/api/session").json()["user"] == "dora"


# --- read-only ------------------------------------------------------------------------------------------


def test_read_only_refuses_every_change(browse: Callable[..., Browser], broker: Broker) -> None:
    browser = browse(read_only=True)
    assert browser.get("/api/queues").status_code == 200
    assert "Pause" not in browser.get("/").text
    answer = browser.change("POST", "/api/queues/mail:pause")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "read_only")
    assert browser.change("DELETE", "/api/queues/mail?force=true").status_code == 403
    form = {"queue": "mail", "csrf_token": browser.token()}
    assert browser.post("/do/pause_queue", data=form).status_code == 403
    assert not asynq.Inspector(broker).queue_info("mail").paused


@pytest.mark.parametrize(
    "endpoint", [each for each in ENDPOINTS.values() if each.changes], ids=lambda each: each.name
)
def test_read_only_refuses_a_change_before_it_reads_what_is_asked(
    browse: Callable[..., Browser], endpoint: Endpoint[Any, Any]
) -> None:
    browser = browse(read_only=True)
    path = "/api" + re.sub(r"\{\w+\}", "x", endpoint.path)
    malformed: list[dict[str, Any]] = [
        {"json": {"no": "such field"}},
        {"json": []},
        {"content": b"{", "headers": {"Content-Type": "text/plain"}},
    ]
    for given in malformed:
        answer = browser.change(endpoint.method, path, **given)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "read_only")
    form = {"no such field": "x", "csrf_token": browser.token()}
    assert browser.post(f"/do/{endpoint.name}", data=form).status_code == 403


# --- from where ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "[::2]", ""])
def test_an_unknown_host_is_refused(browser: Browser, host: str) -> None:
    for address in ADDRESSES:
        assert browser.get(address, headers={"Host": host}).status_code == 421


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8080", "LOCALHOST", "127.0.0.1:1", "[::1]:80", "[::1]"]
)
def test_the_hosts_of_this_machine_are_known(browser: Browser, host: str) -> None:
    assert browser.get("/api/queues", headers={"Host": host}).status_code == 200


def test_other_hosts_are_named(browse: Callable[..., Browser]) -> None:
    browser = browse(hosts=["asynq.example.com"])
    for host in ("asynq.example.com", "localhost"):
        assert browser.get("/api/queues", headers={"Host": host}).status_code == 200


def test_the_refusal_of_a_host_names_it_and_what_allows_it(browse: Callable[..., Browser]) -> None:
    asked = {"Host": "<b>.example:80", "Accept": "text/html"}
    page = browse().get("/", headers=asked).text
    assert "The host &#x27;&lt;b&gt;.example&#x27; is not one of this server&#x27;s" in page
    assert "name it with hosts= of create_app." in page
    style = re.search(r'href="(/static/asynq.css[^"]*)"', page)
    assert style is not None
    assert browse().get(style[1], headers=asked).status_code == 200
    assert "with --allow-host." in browse(hosts_option="--allow-host").get("/", headers=asked).text


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "null"},
        {"Origin": "http://[x"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_another_site_cannot_change_anything(
    browser: Browser, broker: Broker, headers: dict[str, str]
) -> None:
    answer = browser.change("POST", "/api/queues/mail:pause", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "cross_site_request")
    assert not asynq.Inspector(broker).queue_info("mail").paused


@pytest.mark.parametrize("headers", [{"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}, {}])
def test_our_own_pages_can(browser: Browser, headers: dict[str, str]) -> None:
    assert browser.change("POST", "/api/queues/mail:pause", headers=headers).status_code == 204


@pytest.mark.parametrize("token", ["", "0" * 64, "é"])
def test_a_change_needs_the_token(browser: Browser, broker: Broker, token: str) -> None:
    browser.token()
    answers = [
        browser.post("/api/queues/mail:pause", headers={b"X-CSRF-Token": token.encode()}),
        browser.delete("/api/queues/mail"),
        browser.post("/do/pause_queue", data={"queue": "mail", "csrf_token": token}),
        browser.post("/do/pause_queue", data={"queue": "mail"}),
        browser.post("/nope"),
    ]
    assert [answer.status_code for answer in answers] == [403] * 5
    assert not asynq.Inspector(broker).queue_info("mail").paused


def test_the_token_is_of_no_use_without_its_cookie(browser: Browser) -> None:
    token = browser.token()
    browser.cookies.clear()
    assert browser.post("/api/queues/mail:pause", headers={"X-CSRF-Token": token}).status_code == 403
    browser.cookies.set("asynq_csrf", "f" * 32)
    assert browser.post("/api/queues/mail:pause", headers={"X-CSRF-Token": token}).status_code == 403


def test_the_token_of_another_user_is_of_no_use(browse: Callable[..., Browser]) -> None:
    users = BasicAuthentication({"alice": ("wonder", "operator"), "eve": ("apple", "operator")})
    browser = browse(authentication=users)
    token = browser.get("/api/session", headers=basic("eve", "apple")).json()["csrf_token"]
    headers = {"X-CSRF-Token": token}
    for name, password, status in (("alice", "wonder", 403), ("eve", "apple", 204)):
        answer = browser.post("/api/queues/mail:pause", headers=headers | basic(name, password))
        assert answer.status_code == status


def test_the_cookie_is_for_this_site_and_no_script(browse: Callable[..., Browser]) -> None:
    cookie = browse().get("/").headers["Set-Cookie"]
    assert cookie.endswith("; Path=/; HttpOnly; SameSite=Lax")
    browser = browse()
    browser.base_url = "https://localhost"
    assert browser.get("/").headers["Set-Cookie"].endswith("; Secure")
    assert "Set-Cookie" not in browser.get("/").headers, "a cookie that is known stays"


# --- what a browser may do with an answer ---------------------------------------------------------------


@pytest.mark.parametrize("address", ["/", "/nope", "/api/queues", "/api/nope", "/static/asynq.css"])
@pytest.mark.parametrize("host", ["localhost", "evil.example"])
def test_each_answer_has_the_headers(browser: Browser, address: str, host: str) -> None:
    headers = browser.get(address, headers={"Host": host}).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert "immutable" in headers["Cache-Control"] or headers["Cache-Control"] in ("no-store", "no-cache")


def test_other_origins_may_read_nothing(browser: Browser) -> None:
    answer = browser.options("/api/queues", headers={"Origin": "http://localhost:3000"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_an_error_of_the_server_says_nothing_of_itself(
    browse: Callable[..., Browser], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("the secret is 42")

    browser = browse()
    monkeypatch.setattr(browser.app.state.web.broker, "aexecute", fail)  # type: ignore[attr-defined]
    for address in ("/", "/api/queues"):
        answer = browser.get(address)
        assert answer.status_code == 500
        assert "42" not in answer.text
        assert "Content-Security-Policy" in answer.headers
    assert "the secret is 42" in caplog.text


def test_a_log_has_no_line_of_an_address(browser: Browser, caplog: pytest.LogCaptureFixture) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError

    browser.app.state.web.inspector.queue_info = fail  # type: ignore[attr-defined]
    assert browser.get("/queues/mail%0aforged").status_code == 500
    assert "error while answering GET" in caplog.text
    assert "\nforged" not in "".join(record.getMessage() for record in caplog.records)


# --- secrets ----------------------------------------------------------------------------------------------


def test_no_secret_is_shown_or_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    url = "redis://user:hunter2@127.0.0.1:1"
    app = create_app(url, authentication=USERS)
    with TestClient(app, base_url="http://localhost") as client:
        shown = [
            client.get(address, headers=basic("alice", "wonder"))
            for address in ("/", "/api/queues", "/api/session", "/api/health", "/nope")
        ]
        client.get("/", headers=basic("alice", "wrong-password"))
    assert shown[0].status_code == 503
    credentials = basic("alice", "wonder")["Authorization"].split()[1]
    for text in (caplog.text, *(answer.text for answer in shown)):
        for secret in ("hunter2", "wonder", "wrong-password", credentials):
            assert secret not in text
