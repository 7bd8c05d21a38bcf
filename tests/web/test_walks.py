"""Rules that hold for every endpoint and every page: a new one cannot be forgotten."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from starlette.routing import Mount, Route

import asynq
from asynq.web import BasicAuthentication, BearerAuthentication, create_app
from asynq.web.api.table import ENDPOINTS
from asynq_sqlite import MemoryBroker
from tests.web.store import Store
from tests.web.test_security import basic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asynq import Broker
    from asynq.web.api.endpoint import Endpoint
    from tests.web.conftest import Browser

USERS = BasicAuthentication({"alice": ("wonder", "operator"), "bob": ("builder", "viewer")})
TOKENS = BearerAuthentication({"eye": ("look", "viewer")})
CHANGES = [each for each in ENDPOINTS.values() if each.changes]
NAMES = {"state": "pending", "queue": "mail", "task_id": "pending", "group": "g", "action": "pause_queue"}


@pytest.fixture
def broker() -> Iterator[Broker]:
    made = MemoryBroker()
    Store(made).one_of_each()
    yield made
    made.close()


def filled(path: str) -> str:
    """A path with a value for each parameter."""
    return re.sub(r"\{(\w+)(:path)?\}", lambda found: NAMES.get(found[1], "1"), path)


def routes() -> list[tuple[str, str]]:
    """The method and the path of all that an application answers."""
    app = create_app(MemoryBroker())
    found = [("GET", "/static/asynq.js"), ("GET", "/nope")]
    for route in app.routes:
        if isinstance(route, Mount):
            assert route.name == "static"
        else:
            assert isinstance(route, Route)
            found += [(method, filled(route.path)) for method in sorted(route.methods or ())]
    assert len(found) > len(ENDPOINTS) * 1.5
    return found


def asked(endpoint: Endpoint[Any, Any]) -> tuple[str, str]:
    return endpoint.method, f"/api{filled(endpoint.path)}"


def sent(browser: Browser, method: str, path: str, **given: Any) -> Any:
    """The answer. A stream would go on: it is asked for its head."""
    if method == "GET" and ("/live/" in path or path.endswith("/live")):
        method = "HEAD"
    return browser.request(method, path, **given)


def stored(broker: Broker) -> list[Any]:
    inspector = asynq.Inspector(broker)
    info = inspector.queue_info("mail")
    return [info.paused, *(getattr(info, state) for state in "pending archived retry scheduled".split())]


@pytest.mark.parametrize(
    ("settings", "headers", "code"),
    [
        ({"read_only": True}, {}, "read_only"),
        ({"authentication": USERS}, basic("bob", "builder"), "not_an_operator"),
        ({"authentication": TOKENS}, {"Authorization": "Bearer look"}, "not_an_operator"),
    ],
    ids=["read-only", "viewer", "viewer's token"],
)
def test_no_endpoint_changes_anything_for_those_who_only_read(
    browse: Callable[..., Browser],
    broker: Broker,
    settings: dict[str, Any],
    headers: dict[str, str],
    code: str,
) -> None:
    browser = browse(**settings)
    browser.headers |= headers
    before = stored(broker)
    for endpoint in CHANGES:
        refused = browser.change(*asked(endpoint), json={})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, code), endpoint.name
        form = {"csrf_token": browser.token(), "queue": "mail", "task_id": "pending", "state": "pending"}
        page = browser.post(f"/do/{endpoint.name}", data=form, follow_redirects=False)
        assert page.status_code == 403, endpoint.name
    assert stored(broker) == before


def test_a_replica_refuses_every_change(browse: Callable[..., Browser], broker: Broker) -> None:
    browser = browse()
    web = browser.app.state.web  # type: ignore[attr-defined]
    browser.get("/api/session")
    web.writability._reason = "the broker is a read-only replica"
    for endpoint in CHANGES:
        refused = browser.change(*asked(endpoint), json={})
        found = (refused.status_code, refused.json()["error"]["code"])
        assert found == (403, "read_only_replica"), endpoint.name


def test_only_get_is_for_those_who_only_read() -> None:
    assert {each.method for each in ENDPOINTS.values() if not each.changes} == {"GET"}


def test_every_change_needs_the_token_against_other_sites(
    browse: Callable[..., Browser], broker: Broker
) -> None:
    browser = browse(authentication=USERS)
    browser.headers |= basic("alice", "wonder")
    browser.token()
    before = stored(broker)
    changing = [(method, path) for method, path in routes() if method not in ("GET", "HEAD")]
    assert len(changing) == len(CHANGES) + 1
    for method, path in changing:
        assert sent(browser, method, path).status_code == 403, path
        assert sent(browser, method, path, headers={"X-CSRF-Token": "0" * 64}).status_code == 403, path
    assert stored(broker) == before


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"headers": {"Authorization": ""}}, 401),
        ({"headers": {"Host": "evil.example"}}, 421),
        ({"content": b" " * 2000}, 413),
        ({"params": {"x": "x" * 5000}}, 414),
        ({"headers": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}}, 403),
        ({"headers": {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}}, 403),
    ],
    ids=["no credentials", "another host", "long body", "long query", "another site", "another port"],
)
def test_everything_is_refused(browse: Callable[..., Browser], given: dict[str, Any], status: int) -> None:
    browser = browse(authentication=USERS, max_body=1000, max_address=4000)
    browser.headers |= basic("alice", "wonder")
    if given.get("headers", {}).get("Authorization") == "":
        given = {}
        del browser.headers["Authorization"]
    for method, path in routes():
        answer = sent(browser, method, path, **given)
        assert answer.status_code == status, (method, path)
        assert answer.headers["Cache-Control"] == "no-store"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]


def test_every_get_is_answered_without_an_error_of_the_server(browse: Callable[..., Browser]) -> None:
    browser = browse()
    for method, path in routes():
        if method in ("GET", "HEAD"):
            status = sent(browser, method, path).status_code
            assert status in (200, 400, 404, 501), (method, path)


def test_a_link_from_another_site_leads_to_a_page(browse: Callable[..., Browser]) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert browse().get("/", headers=headers).status_code == 200
    assert browse().get("/", headers=headers | {"Sec-Fetch-Dest": "iframe"}).status_code == 403
