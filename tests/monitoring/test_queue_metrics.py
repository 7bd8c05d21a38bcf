"""What the exporter says, read by the parser of the Prometheus client."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from asynq import Client, Inspector, Task
from asynq.metrics.queues import QueueCollector
from asynq.protocol.ops import Archive, Dequeue
from asynq_redis import RedisBroker
from tests.brokers import KINDS, broker_of
from tests.programs import program_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from asynq import Broker
    from tests.servers import RedisServer

Samples = dict[tuple[str, str | None, str | None], float]


@pytest.fixture(params=KINDS)
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    with broker_of(request, tmp_path) as made:
        yield made


def parsed(text: str) -> Samples:
    """Values by name, queue and state."""
    return {
        (sample.name, sample.labels.get("queue"), sample.labels.get("state")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape(broker: Broker, **options: Any) -> Samples:
    registry = CollectorRegistry()
    registry.register(QueueCollector(broker, **options))
    return parsed(generate_latest(registry).decode())


def prepare(broker: Broker) -> None:
    """Two queues: one with a pending and an archived task, one paused with a scheduled task."""
    client = Client(broker)
    client.enqueue(Task("t"))
    client.enqueue(Task("t"))
    client.enqueue(Task("t"), queue="low", process_in=timedelta(hours=1))
    (delivery,) = broker.execute(Dequeue(orders=(("default",),), token="t", lease=30_000))
    broker.execute(Archive(delivery=delivery, error="e"))
    Inspector(broker).pause("low")


def test_the_metrics_of_go_are_there_with_its_names_and_labels(broker: Broker) -> None:
    prepare(broker)
    samples = scrape(broker)
    assert samples["asynq_tasks_enqueued_total", "default", "pending"] == 1
    assert samples["asynq_tasks_enqueued_total", "default", "archived"] == 1
    assert samples["asynq_tasks_enqueued_total", "low", "scheduled"] == 1
    assert samples["asynq_queue_size", "default", None] == 2
    assert 0 <= samples["asynq_queue_latency_seconds", "default", None] < 60
    assert samples["asynq_queue_memory_usage_approx_bytes", "default", None] > 0
    assert samples["asynq_tasks_processed_total", "default", None] == 1
    assert samples["asynq_tasks_failed_total", "default", None] == 1
    assert samples["asynq_queue_paused_total", "default", None] == 0
    assert samples["asynq_queue_paused_total", "low", None] == 1


def test_our_own_metrics_are_there(broker: Broker) -> None:
    prepare(broker)
    samples = scrape(broker, memory=False)
    assert samples["asynq_up", None, None] == 1
    assert samples["asynq_queues_unreadable", None, None] == 0
    assert samples["asynq_servers", None, None] == 0
    assert samples["asynq_slots_busy", None, None] == 0
    assert ("asynq_queue_memory_usage_approx_bytes", "default", None) not in samples


def test_queues_beyond_the_bound_are_summed_up(broker: Broker) -> None:
    client = Client(broker)
    for number in range(5):
        client.enqueue(Task("t"), queue=f"q{number}")
    samples = scrape(broker, max_queues=2)
    sizes = {queue: value for (name, queue, _), value in samples.items() if name == "asynq_queue_size"}
    assert sizes == {"q0": 1, "q1": 1, "_other": 3}
    assert samples["asynq_queue_memory_usage_approx_bytes", "_other", None] > 0


def test_a_name_of_a_queue_cannot_break_the_format(broker: Broker) -> None:
    name = 'a"b\\c\nd{}'
    Client(broker).enqueue(Task("t"), queue=name)
    assert scrape(broker)["asynq_queue_size", name, None] == 1


def test_one_queue_that_cannot_be_read_does_not_blind_the_rest(redis_server: RedisServer) -> None:
    with closing(RedisBroker(redis_server.url)) as broker:
        prepare(broker)
        redis_server.client.set("asynq:{bad}:pending", "not a list")
        redis_server.client.sadd("asynq:queues", "bad")
        samples = scrape(broker)
    assert samples["asynq_queues_unreadable", None, None] == 1
    assert samples["asynq_queue_size", "default", None] == 2
    assert ("asynq_queue_size", "bad", None) not in samples


def test_a_broker_that_cannot_be_reached_is_down_and_nothing_else() -> None:
    with closing(RedisBroker("redis://127.0.0.1:1", budget=timedelta(milliseconds=100))) as broker:
        assert scrape(broker) == {("asynq_up", None, None): 0}


def test_the_command_serves_metrics_until_it_is_stopped(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/tasks.db"
    with Client(url) as client:
        client.enqueue(Task("t"))
    with subprocess.Popen(
        [sys.executable, "-m", "asynq", "metrics", "--port", "0", "--broker", url],
        env=program_environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        address = process.stderr.readline().split()[-1]
        assert address.startswith("http://127.0.0.1:")
        with urlopen(address) as answer:  # noqa: S310 - it is our own
            assert parsed(answer.read().decode())["asynq_queue_size", "default", None] == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
