"""How often credentials may be guessed, and whose address counts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient

from asynq.web import BasicAuthentication, BearerAuthentication, User, UserRole, create_app
from asynq.web.security.failed_logins import FailedLogins
from asynq_sqlite import MemoryBroker
from tests.web.test_security import basic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.requests import HTTPConnection

    from asynq import Broker

USERS = BasicAuthentication({"alice": ("wonder", "operator"), "bob": ("builder", "viewer")})
TOKENS = BearerAuthentication({"ci": ("letmein", "viewer")})
ALICE = basic("alice", "wonder")
GUESS = basic("alice", "guess")
TOKEN = {"Authorization": "Bearer letmein"}


@pytest.fixture
def broker() -> Iterator[Broker]:
    made = MemoryBroker()
    yield made
    made.close()


@pytest.fixture
def ask(broker: Broker) -> Callable[..., Any]:
    """Send a request from an address."""
    apps: dict[tuple[str, ...], Any] = {}

    def asking(headers: dict[str, str], address: str = "192.0.2.1", proxies: tuple[str, ...] = ()) -> Any:
        if proxies not in apps:
            apps[proxies] = create_app(
                broker, authentication=[USERS, TOKENS], login_rate=2, trusted_proxies=proxies
            )
        client = TestClient(apps[proxies], base_url="http://localhost", client=(address, 1))
        return client.get("/api/session", headers=headers)

    return asking


def test_who_fails_too_often_must_wait(ask: Any) -> None:
    assert [ask(GUESS).status_code for _ in range(3)] == [401, 401, 429]
    answer = ask(ALICE)
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "too_many_failed_logins")
    assert 0 < int(answer.headers["Retry-After"]) <= 30


def test_others_are_not_kept_out(ask: Any) -> None:
    assert [ask(GUESS).status_code for _ in range(3)] == [401, 401, 429]
    assert ask(ALICE, "192.0.2.2").status_code == 200
    assert ask(basic("bob", "builder")).status_code == 200
    assert ask(TOKEN).status_code == 200


def test_no_credentials_are_no_attempt(ask: Any) -> None:
    assert {ask({}).status_code for _ in range(50)} == {401}
    assert {ask(ALICE).status_code for _ in range(50)} == {200}


@pytest.mark.parametrize("headers", [{"Authorization": "Bearer guess"}, {"Authorization": "Basic !"}])
def test_credentials_without_a_name_are_counted(ask: Any, headers: dict[str, str]) -> None:
    assert [ask(headers).status_code for _ in range(3)] == [401, 401, 429]
    assert ask(TOKEN).status_code == 429
    assert ask(TOKEN, "192.0.2.2").status_code == 200
    assert ask(ALICE).status_code == 200


class Sessions:
    challenge = ""

    async def authenticate(self, connection: HTTPConnection, /) -> User | None:
        return User("dora", UserRole.VIEWER) if "session" in connection.cookies else None


def test_who_is_known_otherwise_is_not_kept_out(broker: Broker) -> None:
    app = create_app(broker, authentication=[USERS, Sessions()], login_rate=2)
    client = TestClient(app, base_url="http://localhost", client=("192.0.2.1", 1))
    other = {"Authorization": "Negotiate of a proxy"}
    assert {client.get("/", headers=other).status_code for _ in range(5)} == {401}
    session = {"Cookie": "session=1"}
    assert {client.get("/", headers=session | GUESS).status_code for _ in range(5)} == {200}
    assert client.get("/", headers=ALICE).status_code == 429, "they were guesses all the same"


def test_an_unknown_name_is_not_told_from_a_known_one(ask: Any) -> None:
    for name in ("alice", "nobody"):
        assert [ask(basic(name, "guess")).status_code for _ in range(3)] == [401, 401, 429]


def test_many_names_from_one_address(ask: Any) -> None:
    found = [ask(basic(f"user{number}", "guess")).status_code for number in range(21)]
    assert found == [401] * 20 + [429]
    assert ask(TOKEN).status_code == 429


def test_one_name_from_many_addresses(ask: Any) -> None:
    assert ask(ALICE, "203.0.113.9").status_code == 200
    found = [ask(GUESS, f"192.0.2.{number}").status_code for number in range(21)]
    assert found == [401] * 20 + [429]
    assert ask(ALICE, "192.0.2.99").status_code == 429, "unknown there"
    assert ask(ALICE, "203.0.113.9").status_code == 200, "known there"
    assert ask(basic("bob", "builder"), "192.0.2.99").status_code == 200


def test_the_addresses_of_one_network_of_ipv6_are_one(ask: Any) -> None:
    found = [ask(GUESS, f"2001:db8::{number}").status_code for number in range(3)]
    assert found == [401, 401, 429]
    assert ask(GUESS, "2001:db8:0:1::1").status_code == 401


def test_failures_are_forgotten_with_time() -> None:
    now = [0.0]
    failed = FailedLogins(2, lambda: now[0])
    assert [failed.begin("a", "x") for _ in range(3)] == [0, 0, 30]
    now[0] = 30
    assert [failed.begin("a", "x") for _ in range(2)] == [0, 30]
    for number in range(1000):
        now[0] += 60
        assert failed.begin("a", "x") == 0, number
        failed.succeeded("a", "x")


def test_memory_is_bounded() -> None:
    failed = FailedLogins(2, lambda: 0.0)
    for number in range(12_000):
        failed.begin(f"a{number}", f"x{number}")
        failed.succeeded(f"a{number}", f"x{number}")
        failed.begin(f"a{number}", f"x{number}")
    sizes = [len(failed._by_both), len(failed._by_address), len(failed._by_name), len(failed._known)]
    assert sizes == [10_000, 10_000, 0, 10_000]


# --- whose address ----------------------------------------------------------------------------------------

PROXY = "10.0.0.7"


@pytest.mark.parametrize(
    ("chain", "other"),
    [
        ("198.51.100.1", "198.51.100.2"),
        ("1.2.3.4, 198.51.100.1", "1.2.3.4, 198.51.100.2"),
        ("198.51.100.1, 10.0.0.8", "198.51.100.2, 10.0.0.8"),
        ("198.51.100.1:5000", "198.51.100.2:5000"),
        ("[2001:db8::1]:5000", "2001:db8:1::1"),
    ],
)
def test_a_trusted_proxy_names_the_client(ask: Any, chain: str, other: str) -> None:
    def through(headers: dict[str, str], forwarded: str) -> int:
        headers = headers | {"X-Forwarded-For": forwarded}
        status: int = ask(headers, PROXY, proxies=("10.0.0.0/24",)).status_code
        return status

    assert [through(GUESS, chain) for _ in range(3)] == [401, 401, 429]
    assert through(ALICE, chain) == 429
    assert through(ALICE, other) == 200


def test_a_client_invents_no_address(ask: Any) -> None:
    def guess(number: int, proxies: tuple[str, ...], chain: str) -> int:
        headers = GUESS | {"X-Forwarded-For": chain.format(number)}
        status: int = ask(headers, PROXY, proxies=proxies).status_code
        return status

    for proxies, chain in (((), "192.0.2.{}"), (("10.0.0.7",), "192.0.2.{}, 198.51.100.1")):
        assert [guess(number, proxies, chain) for number in range(3)] == [401, 401, 429]


@pytest.mark.parametrize("chain", ["", "nonsense", "1.2.3.4, nonsense", ",", "10.0.0.7", "\u00e9"])
def test_without_a_client_the_proxy_counts(ask: Any, chain: str) -> None:
    headers: Any = {b"X-Forwarded-For": chain.encode()} | {b"Authorization": GUESS["Authorization"].encode()}
    assert [ask(headers, PROXY, proxies=(PROXY,)).status_code for _ in range(3)] == [401, 401, 429]


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded"])
def test_without_authentication_nobody_comes_through_a_proxy(broker: Broker, header: str) -> None:
    given = {"base_url": "http://localhost", "client": ("127.0.0.1", 1)}
    for settings, status in (
        ({}, 403),
        ({"trusted_proxies": ["127.0.0.1"]}, 403),
        ({"insecure": True}, 200),
    ):
        client = TestClient(create_app(broker, **settings), **given)  # type: ignore[arg-type]
        assert client.get("/api/session", headers={header: "127.0.0.1"}).status_code == status


def test_settings_without_a_meaning(broker: Broker) -> None:
    with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 network"):
        create_app(broker, trusted_proxies="proxy.example.com")
    with pytest.raises(ValueError, match="login_rate"):
        create_app(broker, login_rate=0)


def test_a_trusted_proxy_names_the_scheme(broker: Broker) -> None:
    for proxies, secure in (((), False), (("10.0.0.7",), True)):
        app = create_app(broker, authentication=USERS, trusted_proxies=proxies)
        client = TestClient(app, base_url="http://localhost", client=(PROXY, 1))
        cookie = client.get("/", headers=ALICE | {"X-Forwarded-Proto": "https"}).headers["Set-Cookie"]
        assert cookie.endswith("; Secure") is secure


# --- the log -----------------------------------------------------------------------------------------------


def test_the_log_says_who_failed_and_no_secret(ask: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for headers in (
        GUESS,
        basic("letmein", ""),
        basic("x\nforged line", "guess"),
        {"Authorization": "guess"},
    ):
        ask(headers)
    said = [record.getMessage() for record in caplog.records if record.name == "asynq.web"]
    assert said == [
        "failed login: user='alice' address=192.0.2.1",
        *["failed login: user=unknown address=192.0.2.1"] * 2,
    ]
