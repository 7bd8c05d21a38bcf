"""Each attack succeeds once its rule is removed: so it is the rule that stops it, and not something else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient

import asynq
from asynq.web import User, UserRole, app, create_app
from asynq.web.security.authentication import USER, AuthenticationMiddleware
from asynq.web.security.bodies import BODY, BodiesMiddleware
from asynq.web.security.csrf import TOKEN, CSRFMiddleware
from asynq.web.security.headers import HeadersMiddleware
from asynq.web.security.hosts import HostsMiddleware
from asynq_sqlite import MemoryBroker
from tests.web.test_security import USERS, basic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import ASGIApp, Receive, Scope, Send

    from asynq import Broker


class Passing:
    """In place of a middleware: lets everything through."""

    def __init__(self, app: ASGIApp, settings: Any = None) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault(USER, User("anyone", UserRole.OPERATOR))
        scope.setdefault(TOKEN, "")
        scope.setdefault(BODY, b"")
        await self._app(scope, receive, send)


@pytest.fixture
def broker() -> Iterator[Broker]:
    made = MemoryBroker()
    asynq.Client(made).enqueue(asynq.Task("t"), queue="mail")
    yield made
    made.close()


def client_of(broker: Broker, host: str = "127.0.0.1", **settings: Any) -> TestClient:
    return TestClient(create_app(broker, **settings), base_url="http://localhost", client=(host, 1))


def from_elsewhere(broker: Broker) -> bool:
    return client_of(broker, "192.0.2.1").get("/api/queues").status_code == 200


def without_credentials(broker: Broker) -> bool:
    return client_of(broker, authentication=USERS).get("/api/queues").status_code == 200


def by_another_name(broker: Broker) -> bool:
    return client_of(broker).get("/api/queues", headers={"Host": "evil.example"}).status_code == 200


def from_another_site(broker: Broker) -> bool:
    headers = {"Origin": "http://evil.example"} | basic("alice", "wonder")
    answer = client_of(broker, authentication=USERS).post("/api/queues/mail:pause", headers=headers)
    return answer.status_code == 204


def in_a_frame(broker: Broker) -> bool:
    return "frame-ancestors" not in client_of(broker).get("/").headers.get("Content-Security-Policy", "")


def with_a_long_body(broker: Broker) -> bool:
    client = client_of(broker, max_body=10)
    headers = {"X-CSRF-Token": client.get("/api/session").json()["csrf_token"]}
    return client.post("/api/queues/mail:pause", headers=headers, content=b" " * 11).status_code != 413


ATTACKS = [
    (from_elsewhere, AuthenticationMiddleware),
    (without_credentials, AuthenticationMiddleware),
    (by_another_name, HostsMiddleware),
    (from_another_site, CSRFMiddleware),
    (in_a_frame, HeadersMiddleware),
    (with_a_long_body, BodiesMiddleware),
]


@pytest.mark.parametrize(("attack", "rule"), ATTACKS)
def test_the_rule_stops_the_attack(
    broker: Broker, attack: Callable[[Broker], bool], rule: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not attack(broker)
    monkeypatch.setattr(app, rule.__name__, Passing)
    assert attack(broker), "without the rule"
