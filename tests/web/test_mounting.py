"""In another application, and behind a proxy: every link leads to where the interface is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from asynq.web import create_app
from asynq_sqlite import MemoryBroker
from tests.web.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynq import Broker


@pytest.fixture
def broker() -> Iterator[Broker]:
    made = MemoryBroker()
    Store(made).enqueue("a")
    yield made
    made.close()


def links(page: str) -> list[str]:
    return re.findall(r'(?:href|src|action|data-stream)="([^"#][^"]*)"', page)


def check(client: TestClient, root: str) -> None:
    page = client.get(f"{root}/")
    assert page.status_code == 200
    assert f"Path={root}" in page.headers["Set-Cookie"]
    found = links(page.text)
    assert found
    assert [link for link in found if not link.startswith(f"{root}/")] == []
    for link in found:
        if "/live/" not in link:
            assert client.get(link).status_code == 200, link
    assert client.get(f"{root}/api/openapi.json").json()["servers"] == [{"url": f"{root}/api"}]
    token = client.get(f"{root}/api/session").json()["csrf_token"]
    headers = {"X-CSRF-Token": token}
    assert client.post(f"{root}/api/queues/mail:pause", headers=headers).status_code == 204
    assert client.get(f"{root}/api/nope").headers["Content-Type"] == "application/json"


def mounted_in_fastapi(app: Any) -> Any:
    outer = FastAPI()
    outer.mount("/ops/asynq", app)
    return outer


def mounted_in_starlette(app: Any) -> Any:
    return Starlette(routes=[Mount("/ops/asynq", app)])


@pytest.mark.parametrize("mounted", [mounted_in_fastapi, mounted_in_starlette])
def test_mounted(broker: Broker, mounted: Any) -> None:
    app = mounted(create_app(broker))
    with TestClient(app, base_url="http://localhost", client=("127.0.0.1", 1)) as client:
        check(client, "/ops/asynq")


def test_behind_a_proxy_that_keeps_the_path(broker: Broker) -> None:
    app = create_app(broker, root_path="/asynq/")
    with TestClient(app, base_url="http://localhost", client=("127.0.0.1", 1)) as client:
        check(client, "/asynq")


def test_behind_a_proxy_that_removes_the_path(broker: Broker) -> None:
    app = create_app(broker, root_path="/asynq")
    with TestClient(app, base_url="http://localhost", client=("127.0.0.1", 1)) as client:
        page = client.get("/")
        assert page.status_code == 200
        assert all(link.startswith("/asynq/") for link in links(page.text))
        assert client.get("/api/queues").status_code == 200


@pytest.mark.parametrize("path", ["asynq", "//evil.example", "/a?b", "/a/../b", "/é", "http://x"])
def test_a_root_path_is_a_path(broker: Broker, path: str) -> None:
    with pytest.raises(ValueError, match="root_path"):
        create_app(broker, root_path=path)
