"""Recorders: who is told what, and StatsD over a real socket."""

from __future__ import annotations

import pickle
import socket
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

import asynq
from asynq import MemoryBroker, Monitoring, Recorder, ServeMux, Server, Task
from asynq.errors import BrokerUnavailable
from asynq.monitoring.recorder import Recorders
from asynq.monitoring.statsd import StatsDRecorder, parse_address
from asynq.monitoring.timed_broker import TimedBroker
from asynq.protocol.ops import Dequeue, Done, Ping, Requeue
from asynq_redis import RedisBroker
from tests.monitoring.processes import program
from tests.waiting import PATIENCE, aeventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


class Notes(Recorder):
    def __init__(self) -> None:
        self.told: list[Any] = []
        self.calls: list[tuple[str, Mapping[str, int], str]] = []

    def server_started(self, concurrency: int) -> None:
        self.told.append(("server_started", concurrency))

    def server_ended(self) -> None:
        self.told.append("server_ended")

    def run_started(self, queue: str, task_type: str, waited: float | None) -> None:
        assert waited is not None
        assert 0 <= waited < PATIENCE
        self.told.append(("run_started", queue, task_type))

    def run_ended(self, queue: str, task_type: str, seconds: float) -> None:
        assert 0 <= seconds < PATIENCE
        self.told.append(("run_ended", queue, task_type))

    def run_settled(self, queue: str, task_type: str, outcome: asynq.RunOutcome) -> None:
        self.told.append(("run_settled", queue, task_type, outcome))

    def broker_called(self, call: str, operations: Mapping[str, int], seconds: float, error: str) -> None:
        self.calls.append((call, operations, error))


class Failing(Recorder):
    def run_started(self, queue: str, task_type: str, waited: float | None) -> None:
        raise RuntimeError("of a recorder")


async def test_a_recorder_is_told_of_a_run_in_order(caplog: pytest.LogCaptureFixture) -> None:
    notes, mux, broker = Notes(), ServeMux(), MemoryBroker()
    mux.handle("t", lambda ctx, task: None)
    await asynq.AsyncClient(broker).enqueue_many([Task("t"), Task("t")])
    server = Server(broker, concurrency=1, monitoring=Monitoring(recorders=[Failing(), notes]))
    await server.start(mux)
    await aeventually(lambda: notes.told.count(("run_settled", "default", "t", "done")) == 2)
    await server.shutdown()
    run = [("run_started", "default", "t"), ("run_ended", "default", "t")]
    assert notes.told[0] == ("server_started", 1)
    assert notes.told[1:3] == run
    assert notes.told[-1] == "server_ended"
    assert len(notes.told) == 8
    assert [record.message for record in caplog.records if "of a recorder failed" in record.message] == [
        "run_started of a recorder failed; further errors are not logged"
    ]
    assert any("dequeue" in operations for _, operations, _ in notes.calls)


async def test_without_a_recorder_a_server_asks_for_no_waits_and_times_no_calls() -> None:
    broker = MemoryBroker()
    asked: list[bool] = []
    call = broker.aexecute_many

    async def noted(ops: Any) -> Any:
        asked.extend(op.since for op in ops if isinstance(op, Dequeue))
        return await call(ops)

    broker.aexecute_many = noted  # type: ignore[method-assign]
    server = Server(broker)
    await server.start(ServeMux())
    await aeventually(lambda: asked)
    await server.shutdown()
    assert not any(asked)


async def test_a_timed_broker_names_its_calls() -> None:
    notes, broker = Notes(), MemoryBroker()
    timed = TimedBroker(broker, notes)
    timed.execute(Ping())
    await timed.aexecute(Ping())
    taking = Dequeue(orders=(("q",),), token="t", lease=1000)
    await asynq.AsyncClient(broker).enqueue(Task("t"), queue="q")
    [taken] = await timed.aexecute_many([taking])
    assert isinstance(taken, tuple)
    [delivery] = taken
    timed.execute_many([Done(delivery=delivery), Requeue(delivery=delivery)])
    timed.execute_many([Done(delivery=delivery), taking])
    timed.execute_many([Ping(), taking])
    timed.execute_many([Done(delivery=delivery), Ping()])
    timed.execute_many([])
    assert notes.calls == [
        ("ping", {"ping": 1}, ""),
        ("ping", {"ping": 1}, ""),
        ("dequeue", {"dequeue": 1}, ""),
        ("settle", {"done": 1, "requeue": 1}, ""),
        ("exchange", {"done": 1, "dequeue": 1}, ""),
        ("several", {"ping": 1, "dequeue": 1}, ""),
        ("several", {"done": 1, "ping": 1}, ""),
        ("none", {}, ""),
    ]
    assert (timed.capabilities, timed.clock, repr(timed)) == (broker.capabilities, broker.clock, repr(broker))
    timed.close()


def test_a_timed_broker_tells_errors_and_is_pickled_without_its_recorder() -> None:
    notes = Notes()
    with closing(RedisBroker("redis://127.0.0.1:1", budget=timedelta(milliseconds=100))) as broker:
        timed = TimedBroker(broker, notes)
        with pytest.raises(BrokerUnavailable):
            timed.execute(Ping())
        assert notes.calls == [("ping", {"ping": 1}, "BrokerUnavailable")]
        copy = pickle.loads(pickle.dumps(timed))  # noqa: S301 - our own
        assert type(copy) is RedisBroker
        copy.close()


def test_recorders_pass_on_only_what_is_overridden() -> None:
    notes = Notes()
    both = Recorders([Recorder(), notes])
    both.server_started(2)
    both.task_recovered("q", "t", "retry")
    assert notes.told == [("server_started", 2)]


class Agent:
    """A StatsD server: the lines that arrive."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(PATIENCE)
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.datagrams = 0

    def lines(self, count: int, containing: str = "") -> list[str]:
        """Waits for so many lines with a text."""
        found: list[str] = []
        while len(found) < count:
            found += [line for line in self._socket.recv(65536).decode().split("\n") if containing in line]
            self.datagrams += 1
        return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def agent() -> Iterator[Agent]:
    with closing(Agent()) as made:
        yield made


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_worker_sends_statsd(agent: Agent, tmp_path: Path, processes: str) -> None:
    url = f"sqlite:///{tmp_path}/tasks.db"
    options = ["--statsd", f"dogstatsd://{agent.address}", "--processes", processes]
    with program(tmp_path, url, 0, "worker", "app:mux", *options) as worker, asynq.Client(url) as client:
        client.enqueue_many([Task("pid"), Task("pid")])
        sent = agent.lines(2, "asynq.worker.runs:")
        assert sent == ["asynq.worker.runs:1|c|#queue:default,type:pid,outcome:done"] * 2
        assert worker.ends() == 0


def test_labels_are_parts_of_plain_names_and_lines_share_datagrams(agent: Agent) -> None:
    recorder = StatsDRecorder(agent.address)
    recorder.server_started(1)
    for _ in range(100):
        recorder.run_settled("high.1", "email:deliver|x", "done")
    recorder.run_started("q", "t", 0.0125)
    recorder.run_started("q", "t", None)
    recorder.run_ended("q", "t", 1.5)
    recorder.task_recovered("q", "t", "retry")
    recorder.broker_called("exchange", {"done": 2}, 0.001, "BrokerUnavailable")
    recorder.server_ended()
    lines = agent.lines(106)
    assert agent.datagrams < 10
    assert lines[:100] == ["asynq.worker.runs.high_1.email_deliver_x.done:1|c"] * 100
    assert lines[100:] == [
        "asynq.worker.wait.q.t:12.5|ms",
        "asynq.worker.run.q.t:1500|ms",
        "asynq.worker.recovered_tasks.q.t.retry:1|c",
        "asynq.worker.broker_call.exchange:1|ms",
        "asynq.worker.broker_call_failures.exchange:1|c",
        "asynq.worker.broker_operations.done:2|c",
    ]


def test_a_statsd_server_that_is_absent_changes_nothing() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    recorder = StatsDRecorder(address)
    recorder.server_started(1)
    for _ in range(1000):
        recorder.run_ended("q", "t", 1.5)
    recorder.server_ended()


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("host", (False, "host", 8125)),
        ("host:1", (False, "host", 1)),
        ("statsd://[::1]:1", (False, "::1", 1)),
        ("dogstatsd://[::1]", (True, "::1", 8125)),
    ],
)
def test_statsd_addresses(text: str, parsed: tuple[bool, str, int]) -> None:
    assert parse_address(text) == parsed


@pytest.mark.parametrize("text", ["", ":1", "host:x", "host:", "host:0", "host:65536", "http://host"])
def test_invalid_statsd_addresses_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="statsd"):
        Monitoring(statsd=text)


@pytest.mark.parametrize("recorders", [[1], [Recorder]])
def test_what_is_no_recorder_is_refused(recorders: Any) -> None:
    with pytest.raises(TypeError, match="recorders must be Recorders"):
        Monitoring(recorders=recorders)
