"""A broker that supports only what every broker must: pages show what there is, and say what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

import asynq
from asynq.protocol.ops import CORE, all_operations
from asynq_lmdb import LmdbBroker
from asynq_sqlite import MemoryBroker
from tests.web.test_walks import routes, sent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from asynq import Broker
    from asynq.protocol.broker import Capabilities
    from tests.web.conftest import Browser


class Core(MemoryBroker):
    """Supports nothing else."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, unsupported=frozenset(all_operations()) - CORE, groups=False)


@pytest.fixture(params=["core", "lmdb"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    made = Core() if request.param == "core" else LmdbBroker(tmp_path / "tasks.lmdb")
    asynq.Client(made).enqueue(asynq.Task("t"), queue="mail", task_id="pending")
    yield made
    made.close()


def test_what_the_broker_has_is_shown(browse: Callable[..., Browser]) -> None:
    browser = browse()
    for path in ("/", "/queues/mail", "/queues/mail?state=archived", "/queues/mail/tasks/pending", "/broker"):
        assert browser.get(path).status_code == 200, path
    assert ">pending</a>" in browser.get("/queues/mail").text
    assert browser.get("/api/queues/mail").json()["history"] == []


def test_everything_else_is_refused_by_name(browse: Callable[..., Browser]) -> None:
    browser = browse(bulk_rate=1000)
    token = {"X-CSRF-Token": browser.token()}
    refused = 0
    for method, path in routes():
        answer = sent(browser, method, path, headers=token, **({} if method == "GET" else {"json": {}}))
        assert answer.status_code in (200, 204, 400, 404, 415, 501), (method, path, answer.text)
        if answer.status_code == 501 and "Prometheus" not in answer.text and method != "HEAD":
            refused += 1
            assert "does not support" in answer.text, path
    assert refused >= 20
