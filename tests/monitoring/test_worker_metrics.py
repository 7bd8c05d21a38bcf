"""What workers count of their runs and calls, as Prometheus reads it."""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

import asynq
from asynq import Client, MemoryBroker, Monitoring, ServeMux, Server, Task
from asynq.metrics.worker import WorkerCollector, metrics_page
from asynq.monitoring import counting_recorder as counted
from asynq.monitoring.counters import RunCounters
from asynq.monitoring.counting_recorder import CountingRecorder
from asynq.protocol.ops import Dequeue, Requeue
from tests.brokers import KINDS, broker_of
from tests.monitoring.processes import fifo, program, release
from tests.servers import free_port
from tests.waiting import aeventually, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asynq import Broker
    from tests.monitoring.processes import Program


HOUR = timedelta(hours=1)


class Scrape:
    """The samples of a page, by name and labels."""

    def __init__(self, text: str) -> None:
        self.samples = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]

    def total(self, name: str, **labels: str) -> float:
        """The sum of the samples with this name and these labels."""
        return sum(
            sample.value
            for sample in self.samples
            if sample.name == f"asynq_worker_{name}" and labels.items() <= sample.labels.items()
        )

    def by(self, name: str, label: str) -> dict[str, float]:
        """Sums that are not 0, by the value of a label."""
        sums: dict[str, float] = defaultdict(float)
        for sample in self.samples:
            if sample.name == f"asynq_worker_{name}" and sample.value:
                sums[sample.labels[label]] += sample.value
        return dict(sums)


def scrape(counters: RunCounters) -> Scrape:
    return Scrape(metrics_page(WorkerCollector([counters]))({}).body.decode())


@pytest.fixture
def counters() -> Iterator[RunCounters]:
    with closing(RunCounters()) as made:
        yield made


@pytest.fixture(params=KINDS)
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    with broker_of(request, tmp_path) as made:
        yield made


async def test_every_outcome_is_counted_by_queue_and_type(broker: Broker, counters: RunCounters) -> None:
    mux = ServeMux()
    errors: dict[str, Exception] = {
        "retried": RuntimeError("e"),
        "skipped": asynq.SkipRetry("e"),
        "revoked": asynq.RevokeTask("e"),
        "postponed": asynq.RateLimited(HOUR),
    }

    @mux.handler("done")
    async def done(ctx: asynq.Context, task: Task) -> None:
        await ctx.client.enqueue(Task("later"), process_in=HOUR)

    for name, error in errors.items():
        mux.handle(name, raising(error))
    mux.handle("archived", raising(RuntimeError("e")))
    client = asynq.AsyncClient(broker)
    await client.enqueue_many([Task(name) for name in ("done", "done", *errors)])
    await client.enqueue(Task("archived", max_retry=0), queue="low")
    recorder = CountingRecorder(counters)
    server = Server(broker, queues=["default", "low"], monitoring=Monitoring(recorders=[recorder]))
    await server.start(mux)
    await aeventually(lambda: scrape(counters).total("runs_total") == 7)
    seen = scrape(counters)
    assert seen.by("runs_total", "outcome") == {
        "done": 2, "retried": 1, "skipped": 1, "revoked": 1, "postponed": 1, "archived": 1,
    }  # fmt: skip
    assert seen.by("runs_total", "type") == {"done": 2, "archived": 1, **dict.fromkeys(errors, 1)}
    assert seen.by("runs_total", "queue") == {"default": 6, "low": 1}
    for histogram in ("wait_seconds", "run_seconds"):
        assert seen.total(f"{histogram}_count") == 7
        assert seen.total(f"{histogram}_bucket", le="+Inf") == 7
    assert seen.total("runs_in_progress") == 0
    assert seen.total("slots") == (os.cpu_count() or 1)
    assert seen.total("processes") == 1
    assert seen.total("broker_operations_total", operation="done") == 3
    assert seen.total("broker_operations_total", operation="enqueue") == 2
    calls = seen.by("broker_call_seconds_count", "call")
    assert calls["enqueue"] == 2
    assert calls["dequeue"] + calls.get("exchange", 0) >= 1
    await server.shutdown()
    assert scrape(counters).total("slots") == 0


def raising(error: Exception) -> Any:
    async def handler(ctx: asynq.Context, task: Task) -> None:
        raise error

    return handler


@pytest.fixture
def running(shared_url: str, tmp_path: Path) -> Iterator[tuple[Program, Client]]:
    """A worker with two processes, metrics and health checks at one port."""
    port = free_port()
    options = ["worker", "app:mux", "--processes", "2", "--lease", "1s", "--concurrency", "4"]
    ports = ["--metrics-port", str(port), "--health-port", str(port), "--shutdown-timeout", "1s"]
    with (
        program(tmp_path, shared_url, port, *options, *ports) as worker,
        Client(shared_url) as client,
    ):
        worker.becomes_ready()
        yield worker, client


def metrics(worker: Program) -> Scrape:
    status, body = worker.get("/metrics")
    assert status == 200
    return Scrape(body)


def test_one_scrape_sums_up_all_processes_and_a_killed_one_loses_no_counts(
    running: tuple[Program, Client], tmp_path: Path
) -> None:
    worker, client = running
    client.enqueue_many([Task("pid") for _ in range(200)])
    pids = {worker.line() for _ in range(200)}
    eventually(lambda: metrics(worker).total("runs_total") == 200)
    assert metrics(worker).total("slots") == 8
    with fifo(tmp_path / "gate") as gate:
        client.enqueue(Task("runs long", str(gate)))
        pid = worker.line()
        assert metrics(worker).total("runs_in_progress", type="runs long") == 1
        os.kill(int(pid), signal.SIGKILL)
        eventually(lambda: metrics(worker).total("process_restarts_total") == 1)
        # Its task runs again, in any process.
        assert worker.line()
        release(gate)
    client.enqueue_many([Task("pid") for _ in range(50)])
    pids |= {worker.line() for _ in range(50)}
    eventually(lambda: metrics(worker).total("runs_total") == 251)
    seen = metrics(worker)
    assert seen.total("run_seconds_count") == 251
    assert seen.total("wait_seconds_bucket", le="+Inf") == seen.total("wait_seconds_count") == 252
    assert seen.total("runs_total", outcome="done", type="pid") == 250
    assert seen.total("recovered_tasks_total", type="runs long") == 1
    assert seen.total("runs_in_progress") == 0
    eventually(lambda: metrics(worker).total("slots") == 8)
    assert metrics(worker).total("processes") == 2
    assert worker.ends() == 0


def test_a_process_that_is_replaced_after_many_tasks_loses_no_counts(tmp_path: Path) -> None:
    port, url = free_port(), f"sqlite:///{tmp_path}/tasks.db"
    options = ["worker", "app:mux", "--processes", "2", "--max-tasks", "10", "--metrics-port", str(port)]
    with program(tmp_path, url, port, *options) as worker, Client(url) as client:
        client.enqueue_many([Task("pid") for _ in range(40)])
        assert len({worker.line() for _ in range(40)}) >= 4
        eventually(lambda: Scrape(worker.get("/metrics")[1]).total("runs_total") == 40)
        assert Scrape(worker.get("/metrics")[1]).total("run_seconds_count") == 40
        assert worker.ends() == 0


def test_one_process_serves_its_metrics(tmp_path: Path) -> None:
    port, url = free_port(), f"sqlite:///{tmp_path}/tasks.db"
    with (
        program(tmp_path, url, port, "worker", "app:mux", "--metrics-port", str(port)) as worker,
        Client(url) as client,
    ):
        client.enqueue(Task("pid"))
        worker.line()
        eventually(lambda: Scrape(worker.get("/metrics")[1]).total("runs_total", outcome="done") == 1)
        assert worker.get("/livez")[0] == 404
        assert worker.ends() == 0


async def test_a_run_that_loses_its_lease_is_counted(counters: RunCounters) -> None:
    broker, mux = MemoryBroker(), ServeMux()

    @mux.handler("t")
    async def lose_the_first_lease(ctx: asynq.Context, task: Task) -> None:
        if scrape(counters).total("run_seconds_count") == 0:
            await broker.aexecute(Requeue(delivery=ctx.control.delivery))

    await asynq.AsyncClient(broker).enqueue(Task("t"))
    server = Server(broker, concurrency=1, monitoring=Monitoring(recorders=[CountingRecorder(counters)]))
    await server.start(mux)
    await aeventually(lambda: scrape(counters).by("runs_total", "outcome") == {"lease_lost": 1, "done": 1})
    await server.shutdown()


async def test_tasks_of_lost_workers_are_counted(counters: RunCounters) -> None:
    broker = MemoryBroker()
    await asynq.AsyncClient(broker).enqueue(Task("t"))
    assert broker.execute(Dequeue(orders=(("default",),), token="of a lost worker", lease=1))
    server = Server(broker, monitoring=Monitoring(recorders=[CountingRecorder(counters)]))
    mux = ServeMux()
    mux.handle("t", lambda ctx, task: None)
    await server.start(mux)
    await aeventually(lambda: scrape(counters).by("runs_total", "outcome") == {"done": 1})
    await server.shutdown()
    assert scrape(counters).by("recovered_tasks_total", "to") == {"pending": 1}


def test_queues_and_types_beyond_the_limits_are_counted_together(counters: RunCounters) -> None:
    recorder = CountingRecorder(counters)
    for number in range(300):
        recorder.run_settled(f"q{number}", "t", "done")
        recorder.run_settled("q0", f"t{number}", "done")
    seen = scrape(counters)
    queues, types = seen.by("runs_total", "queue"), seen.by("runs_total", "type")
    assert (len(queues), queues["_other"]) == (counted.MAX_QUEUES + 1, 200)
    assert (len(types), types["_other"]) == (counted.MAX_TYPES + 1, 201)
    assert seen.total("runs_total") == 600


def test_pairs_beyond_the_limit_are_counted_together(counters: RunCounters) -> None:
    recorder = CountingRecorder(counters)
    for queue in range(60):
        for kind in range(60):
            recorder.run_settled(f"q{queue}", f"t{kind}", "done")
    seen = scrape(counters)
    pairs = {(each.labels["queue"], each.labels["type"]) for each in seen.samples if "outcome" in each.labels}
    assert len(pairs) == counted.MAX_PAIRS + 1
    assert seen.total("runs_total") == 3600


def test_names_that_fill_the_memory_are_counted_together(counters: RunCounters) -> None:
    recorder = CountingRecorder(counters)
    for number in range(counted.MAX_PAIRS):
        recorder.run_settled(f"{number}\U0001f600" * 5000, f"{number}\U0001f600" * 5000, "done")
    assert scrape(counters).total("runs_total") == counted.MAX_PAIRS


def test_another_process_goes_on_counting_in_the_same_memory(counters: RunCounters) -> None:
    first = CountingRecorder(counters)
    first.server_started(3)
    first.run_started("q", "t", 1.0)
    first.run_ended("q", "t", 1.0)
    first.run_started("q", "t", 1.0)
    environment = dict(counters.environment())
    os.set_inheritable(counters.fd, True)
    inherited = RunCounters.inherited({name: str(os.dup(int(fd))) for name, fd in environment.items()})
    assert inherited is not None
    with closing(inherited):
        second = CountingRecorder(inherited)
        assert scrape(counters).total("runs_in_progress") == 0
        second.server_started(2)
        second.run_started("q", "t", 1.0)
        second.run_started("new", "t", 1.0)
    seen = scrape(counters)
    assert seen.by("wait_seconds_count", "queue") == {"q": 3, "new": 1}
    assert seen.by("runs_in_progress", "queue") == {"q": 1, "new": 1}
    assert seen.total("slots") == 2


def test_a_wait_is_counted_in_the_bucket_of_its_bound(counters: RunCounters) -> None:
    recorder = CountingRecorder(counters)
    for seconds in (0.005, 0.0051, 1800.0, 1801.0):
        recorder.run_started("q", "t", seconds)
        recorder.broker_called("forward", {"forward": 1}, seconds, "BrokerUnavailable")
    seen = scrape(counters)
    assert seen.total("wait_seconds_bucket", le="0.005") == 1
    assert seen.total("wait_seconds_bucket", le="0.01") == 2
    assert seen.total("wait_seconds_bucket", le="1800.0") == 3
    assert seen.total("wait_seconds_bucket", le="+Inf") == 4
    assert seen.total("wait_seconds_sum") == pytest.approx(3601.0101)
    assert seen.total("broker_call_seconds_bucket", le="0.01") == 2
    assert seen.total("broker_call_failures_total") == 4


def test_metrics_without_the_extra_are_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from typer import BadParameter

    from asynq.cli.monitoring import monitoring

    monkeypatch.setattr("asynq.cli.monitoring.find_spec", lambda _: None)
    with pytest.raises(BadParameter, match=r"pip install 'asynq-py\[metrics\]'"):
        monitoring((None, None), None, (1, None))
