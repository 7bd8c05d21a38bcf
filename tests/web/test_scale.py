"""What pages cost in a queue with very many tasks: the number of requests to the broker and of tasks read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from asynq import MemoryBroker
from asynq.protocol.ops import GetQueueStats, ListServers, ListTasks
from tests.web.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asynq.protocol.ops import Op
    from tests.web.conftest import Browser

MANY = 1300


class CountingBroker(MemoryBroker):
    """Remembers the operations that are awaited, and the number of tasks that it listed."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Op[Any]] = []
        self.listed = 0

    async def aexecute(self, op: Op[Any]) -> Any:
        self.asked.append(op)
        answer = await super().aexecute(op)
        if isinstance(op, ListTasks):
            self.listed += len(answer)
        return answer

    def count(self, kind: type[Op[Any]]) -> int:
        return sum(isinstance(each, kind) for each in self.asked)


@pytest.fixture
def broker() -> Iterator[CountingBroker]:
    made = CountingBroker()
    yield made
    made.close()


@pytest.fixture
def large(broker: CountingBroker) -> CountingBroker:
    """A broker with many pending tasks."""
    store = Store(broker)
    store.enqueue_many(MANY)
    broker.asked.clear()
    return broker


@pytest.mark.parametrize("query", ["", "&order=desc", "&offset=1200", "&offset=1250", "&type=*"])
def test_a_page_reads_the_figures_once_and_little_more_than_it_shows(
    browser: Browser, large: CountingBroker, query: str
) -> None:
    assert browser.get(f"/queues/mail?state=pending{query}").status_code == 200
    assert (large.count(GetQueueStats), large.count(ListTasks)) == (1, 1)
    assert large.listed <= 100


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("queues/mail?state=active", ListServers),
        ("confirm/archive_task?queue=mail&state=pending&task_id=pending", GetQueueStats),
    ],
)
def test_a_page_does_not_read_the_same_twice(
    browser: Browser, broker: CountingBroker, path: str, kind: type[Op[Any]]
) -> None:
    Store(broker).one_of_each()
    broker.asked.clear()
    assert browser.get(f"/{path}").status_code == 200
    assert broker.count(kind) == 1


@pytest.mark.parametrize(
    "path",
    ["queues/mail?state=pending&payload=none", "confirm/delete_all_tasks?queue=mail&state=pending&type=x"],
)
def test_a_filter_without_a_hit_reads_each_task_once_in_a_few_requests(
    browser: Browser, large: CountingBroker, path: str
) -> None:
    assert browser.get(f"/{path}").status_code == 200
    assert large.listed == MANY
    assert large.count(ListTasks) <= 4


def test_what_one_request_looks_at_is_limited(browse: Callable[..., Browser], large: CountingBroker) -> None:
    browser = browse(max_scanned=500)
    path = "/api/queues/mail/pending_tasks"
    answer = browser.get(f"{path}?payload=none").json()
    assert (answer["tasks"], answer["scanned"], answer["next_offset"]) == ([], 500, 500)
    assert large.listed == 500
    assert browser.get(f"{path}:count?payload=1").json()["complete"] is False
    assert large.listed == 1000
