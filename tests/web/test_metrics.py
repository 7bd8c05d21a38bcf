"""Series of a Prometheus server, passed on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient

from asynq.web import create_app
from asynq_sqlite import MemoryBroker
from tests.web.prometheus import prometheus_server, series

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.web.prometheus import Prometheus


@pytest.fixture
def prometheus() -> Iterator[Prometheus]:
    with prometheus_server() as server:
        yield server


def ask(query: str = "", path: str = "/api/metrics", **settings: Any) -> Any:
    broker = MemoryBroker()
    app = create_app(broker, **settings)
    with TestClient(app, base_url="http://localhost", client=("127.0.0.1", 1)) as client:
        answer = client.get(f"{path}{query}")
    broker.close()
    return answer


def test_series_of_all_queues(prometheus: Prometheus) -> None:
    answer = ask("?duration=86400&endtime=100000", prometheus_url=prometheus.url).json()
    assert answer["queue_size"] == {"status": "success", "data": "asynq_queue_size{}"}
    assert answer["pending_tasks_by_queue"]["data"] == 'asynq_tasks_enqueued_total{state="pending"}'
    assert len(answer) == len(prometheus.asked) == 9
    assert {(each["start"], each["end"], each["step"]) for each in prometheus.asked} == {
        ("13600", "100000", "60")
    }


def test_series_of_some_queues(prometheus: Prometheus) -> None:
    answer = ask('?queues=low,a"}b', prometheus_url=prometheus.url).json()
    assert answer["queue_size"]["data"] == 'asynq_queue_size{queue=~"low|a\\\\\\"\\\\}b"}'
    assert answer["retry_tasks_by_queue"]["data"].startswith(
        'asynq_tasks_enqueued_total{state="retry",queue=~'
    )


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]"])
def test_a_server_that_is_none(prometheus: Prometheus, body: bytes) -> None:
    prometheus.body = body
    answer = ask(prometheus_url=prometheus.url)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "prometheus_failed")


def test_no_server() -> None:
    assert ask().status_code == 501
    answer = ask(prometheus_url="http://user:hunter2@127.0.0.1:1")
    assert answer.status_code == 502
    assert "hunter2" not in answer.text
    with pytest.raises(ValueError, match="prometheus_url"):
        ask(prometheus_url="file:///etc/passwd")


def test_charts_show_the_highest_queues(prometheus: Prometheus) -> None:
    low = [series("1", "2", queue=f"q{number}") for number in range(9)]
    answer = {"data": {"result": [*low, series("7", "NaN", "40", queue="<b>")]}}
    prometheus.body = json.dumps(answer).encode()
    page = ask("?span=1d&queue=mail", "/charts", prometheus_url=prometheus.url)
    assert page.status_code == 200
    assert "Charts of mail" in page.text
    assert page.text.count('<section class="panel">') == 9
    assert page.text.count("<polyline") == 9 * 8
    assert (
        '<polyline class="line line-1" points="0.0,86.0 300.0,100.0 600.0,20.0"><title>&lt;b&gt;' in page.text
    )


@pytest.mark.parametrize("body", [b"{}", b'{"data": {"result": [{"metric": {}, "values": [[1, "x"]]}]}}'])
def test_charts_of_an_answer_that_is_not_understood(prometheus: Prometheus, body: bytes) -> None:
    prometheus.body = body
    page = ask("", "/charts", prometheus_url=prometheus.url)
    assert (page.status_code, "is not understood" in page.text) == (502, True)


def test_charts_without_prometheus_are_not_linked() -> None:
    assert "/charts" not in ask("", "/").text
    assert ask("", "/charts").status_code == 501
