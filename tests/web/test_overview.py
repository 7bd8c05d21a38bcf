"""The page with all queues: its order, and the small lines of their rates."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

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
