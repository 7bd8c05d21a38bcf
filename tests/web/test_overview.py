"""The page with all queues: its order, and the small lines of their rates."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from asynq.protocol.ops import WriteServer
from asynq.protocol.presence import ServerInfo, WorkerInfo
from asynq.web.live.rates import QueueTrends
from asynq.web.pages import charts

if TYPE_CHECKING:
    from tests.web.conftest import Browser
    from tests.web.store import Store


def overview_of(**processed: int) -> Any:
    """What a reading says of some queues."""
    queues = [
        SimpleNamespace(queue=name, processed_total=count, failed_total=0)
        for name, count in processed.items()
    ]
    return SimpleNamespace(queues=queues)


def test_the_trend_of_a_queue_is_that_of_its_last_steps() -> None:
    trends = QueueTrends(size=2, step=2)
    found = [
        trends.add(now, overview_of(mail=count)) for now, count in enumerate([0, 5, 20, 20, 20, 90, 80, 80])
    ]
    assert [each.get("mail") for each in found] == [
        None,
        None,
        (10,),
        (10,),
        (10, 0),
        (10, 0),
        (0, 30),
        (0, 30),
    ]


def test_the_trend_of_a_queue_that_is_new_begins_with_nothing() -> None:
    trends = QueueTrends(size=3, step=1)
    trends.add(0, overview_of(mail=0))
    trends.add(1, overview_of(mail=1, new=50))
    assert trends.add(2, overview_of(mail=1, new=57)) == {"mail": (1, 0), "new": (0, 7)}
    assert trends.add(3, overview_of(new=57)) == {"new": (0, 7, 0)}


def test_a_small_line_is_as_high_as_its_highest_value() -> None:
    assert charts.spark([0, 5, 10], 3) == "0,19 30,10 60,1"
    assert charts.spark([5, 10], 3) == "30,10 60,1"
    assert charts.spark([0, 0], 3) == charts.spark([1], 3) == ""


def queues_of(browser: Browser, query: str) -> list[str]:
    answer = browser.get(f"/{query}")
    assert answer.status_code == 200
    return re.findall(r'<tr data-key="(\w+)"', answer.text)


@pytest.mark.parametrize(
    ("query", "queues"),
    [
        ("", ["a", "b", "c"]),
        ("?sort=pending", ["c", "a", "b"]),
        ("?sort=archived", ["b", "a", "c"]),
        ("?sort=latency", ["a", "c", "b"]),
        ("?sort=rate", ["a", "b", "c"]),
    ],
)
def test_queues_are_sorted_by_a_column(browser: Browser, store: Store, query: str, queues: list[str]) -> None:
    store.enqueue("1", queue="a")
    store.archive("2", queue="b")
    for number in "345":
        store.enqueue(number, queue="c")
    assert queues_of(browser, query) == queues


def test_a_column_that_does_not_exist_is_refused(browser: Browser) -> None:
    assert browser.get("/?sort=nonsense").status_code == 400


def test_queues_that_no_server_serves_are_marked_where_they_have_tasks_to_run(
    browser: Browser, store: Store
) -> None:
    store.enqueue("1", queue="mail-de")
    store.enqueue("2", queue="report")
    store.archive("3", queue="old")
    server = ServerInfo(
        id="s",
        host="box",
        pid=7,
        started_at=datetime.now(UTC),
        concurrency=1,
        queues={"mail-*": 1},
        workers=(),
    )
    store.broker.execute(WriteServer(server=server, ttl=60_000))
    rows = re.findall(r'<tr data-key="([\w-]+)".*?</th>', browser.get("/").text, re.DOTALL)
    assert rows == ["mail-de", "old", "report"]
    marked = [each for each in rows if "no server</small>" in browser.get(f"/queues/{each}").text]
    assert marked == ["report"]
    assert browser.get("/").text.count("no server</small>") == 1
    page = browser.get("/queues/mail-de/tasks/1").text
    assert "It runs as soon as a worker is free." in page
    store.inspector.pause("mail-de")
    assert "It waits: its queue is paused." in browser.get("/queues/mail-de/tasks/1").text


def test_the_end_of_a_run_is_shown_where_the_run_is(browser: Browser, store: Store) -> None:
    store.activate("a", timeout=timedelta(minutes=30))
    started = datetime(2026, 1, 1, tzinfo=UTC)
    run = WorkerInfo(
        task_id="a",
        task_type="t:a",
        payload=b"",
        queue="mail",
        started_at=started,
        deadline=started + timedelta(minutes=5),
    )
    server = ServerInfo(
        id="s", host="box", pid=7, started_at=started, concurrency=1, queues={"mail": 1}, workers=(run,)
    )
    store.broker.execute(WriteServer(server=server, ttl=60_000))
    for path in ("/queues/mail?state=active", "/queues/mail/tasks/a"):
        page = browser.get(path).text
        assert "Ends at the latest" in page
        assert "2026-01-01 00:05:00 UTC" in page
