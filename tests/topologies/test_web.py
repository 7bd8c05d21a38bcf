"""The web interface over Sentinel and Cluster: everything is answered, also while servers are lost."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from asynq.protocol.connect import connect
from asynq.web import create_app
from tests.waiting import eventually
from tests.web.conftest import HERE, Browser
from tests.web.store import Store
from tests.web.test_walks import routes, sent

if TYPE_CHECKING:
    from asynq_topologies import Topology

READ = [path for method, path in routes() if method == "GET"]
ANSWERED = {200, 400, 404, 501}
LIVE = ("/", "/queues/mail", "/broker", "/api/queues", "/api/queues/mail/pending_tasks", "/api/broker")


def statuses(browser: Browser, paths: Any) -> dict[str, int]:
    return {path: sent(browser, "GET", path).status_code for path in paths}


@pytest.mark.timeout(240)
def test_everything_is_answered_through_a_failover(own: Topology) -> None:
    own.wait_whole()
    broker: Any = connect(own.url)
    with closing(broker):
        Store(broker).one_of_each()
        app = create_app(broker, bulk_rate=1000)
        with Browser(app, base_url="http://localhost", client=HERE) as browser:
            before = statuses(browser, READ)
            assert set(before.values()) <= ANSWERED
            assert browser.change("POST", "/api/queues/mail:pause").status_code == 204

            lost = own.primary_of("asynq:{mail}:pending")
            lost.kill()
            during = statuses(browser, LIVE)
            assert set(during.values()) <= {200, 503}, during
            own.wait_replaced(lost)
            eventually(lambda: browser.get("/queues/mail").status_code == 200)
            assert statuses(browser, READ) == before
            assert browser.change("POST", "/api/queues/mail:resume").status_code == 204

            for node in own.primaries():
                node.kill()
            for sentinel in own.sentinels:
                sentinel.kill()
            answer = browser.get("/queues/mail/tasks/pending")
            assert answer.status_code == 503
            assert answer.headers["Retry-After"]
            assert "The broker does not answer" in answer.text
            assert browser.get("/api/session").status_code == 200
            assert browser.get("/static/asynq.css").status_code == 200
