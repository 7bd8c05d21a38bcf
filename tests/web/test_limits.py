"""How much a request may ask for, and which files it gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynq.web.security.rate_limit import RateLimit
from asynq_sqlite import MemoryBroker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asynq import Broker
    from tests.web.conftest import Browser


@pytest.fixture
def broker() -> Iterator[Broker]:
    made = MemoryBroker()
    yield made
    made.close()


@pytest.mark.parametrize(
    "path",
    [
        *("/static/..%2fapp.py", "/static/%2e%2e/app.py", "/static/..%5capp.py", "/static/%00", "/static/"),
        *("/static//etc/passwd", "/static/vendor", "/static/" + "a" * 300, "/static/vendor/%ff"),
    ],
)
def test_only_static_files_are_files(browser: Browser, path: str) -> None:
    assert browser.get(path).status_code == 404


def test_a_static_file_is_sent_whole(browser: Browser) -> None:
    ranges = "bytes=" + ",".join(f"{start}-{start + 1}" for start in range(0, 20_000, 4))
    answer = browser.get("/static/asynq.css", headers={"Range": ranges})
    assert answer.status_code == 200


def test_a_long_body_is_refused(browse: Callable[..., Browser]) -> None:
    browser = browse(max_body=1000)
    headers = {"Content-Type": "application/json"}
    answer = browser.change("POST", "/api/queues/mail:pause", content=b" " * 1001, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    "body",
    [
        '{"task_ids": ["a"], "task_ids": ["b"]}',
        '{"task_ids": ["a"], "__proto__": {}}',
        '{"task_ids": ["\\ud800"]}',
        '{"task_ids": [NaN]}',
        '{"task_ids": [1e999]}',
        '{"task_ids": ["a"]} {}',
        '{"task_ids": ["a"]',
        "[" * 200_000,
        '{"task_ids": ' + "[" * 200_000,
        '{"x": ' * 100_000,
    ],
    ids=lambda body: body[:30],
)
def test_a_body_means_one_thing(browser: Browser, body: str) -> None:
    headers = {"Content-Type": "application/json"}
    path = "/api/queues/mail/pending_tasks:batch_delete"
    answer = browser.change("POST", path, content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")


def test_an_audit_is_no_store(browser: Browser) -> None:
    for _ in range(3):
        assert browser.change("POST", f"/api/queues/{'x' * 20_000}:pause").status_code in (204, 404)
    assert len(browser.get("/api/audit").content) < 10_000


def test_a_bucket_fills_up() -> None:
    now = [0.0]
    limit = RateLimit(2, lambda: now[0])
    assert [limit.take("a"), limit.take("a"), limit.take("b")] == [0, 0, 0]
    assert limit.take("a") == 30
    now[0] = 29.9
    assert limit.take("a") > 0
    now[0] = 30
    assert [limit.take("a"), limit.take("a")] == [0, 30]


def test_bulk_actions_are_limited(browse: Callable[..., Browser]) -> None:
    browser = browse(bulk_rate=1)
    assert browser.change("DELETE", "/api/queues/nope").status_code == 404
    answer = browser.change("DELETE", "/api/queues/nope")
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "too_many_bulk_actions")
    assert 0 < int(answer.headers["Retry-After"]) <= 61
