"""Promises of the example: several processes, a full file, forks, and unsupported operations."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from itertools import chain
from pathlib import Path

import pytest

import asynq
from asynq.clock import FakeClock
from asynq.errors import (
    BrokerFullError,
    BrokerRefusedError,
    BrokerURLError,
    UnsupportedOperationError,
)
from asynq.protocol import ops
from asynq.protocol.message import TaskMessage
from asynq.task_state import TaskState
from asynq_lmdb import LmdbBroker, connect

LEASE = 30_000
HOUR = timedelta(hours=1)


def enqueue(task_id: str, payload: bytes = b"", queue: str = "q") -> ops.Enqueue:
    message = TaskMessage(id=task_id, type="t", queue=queue, payload=payload)
    return ops.Enqueue(message=message, enqueue_id=task_id)


def take_all(path: Path) -> list[str]:
    """Ids of all tasks that this process gets, one after the other."""
    taken: list[str] = []
    with closing(LmdbBroker(path)) as broker:
        while deliveries := broker.execute(
            ops.Dequeue(orders=(("q",),), token=f"{os.getpid()}-{len(taken)}", lease=LEASE)
        ):
            broker.execute(ops.Done(delivery=deliveries[0]))
            taken.append(deliveries[0].message.id)
    return taken


# --- where it is found ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("installed")
def test_the_broker_is_found_by_its_scheme() -> None:
    assert repr(asynq.connect("lmdb:///tasks.lmdb")) == f"LmdbBroker({str(Path('tasks.lmdb').resolve())!r})"


@pytest.mark.parametrize("url", ["lmdb://", "lmdb:///", "lmdb://host/tasks", "lmdb:///tasks?a=b"])
def test_a_malformed_url_is_refused(url: str) -> None:
    with pytest.raises(BrokerURLError, match="the path of a file"):
        connect(url)


def test_an_unusable_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no tasks here" * 1000)
    for path in (tmp_path / "text", tmp_path / "missing" / "tasks"):
        with pytest.raises(BrokerRefusedError, match="cannot be opened"):
            LmdbBroker(path).execute(ops.Ping())


# --- several processes ----------------------------------------------------------------------------------


def test_processes_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "tasks.lmdb"
    ids = [f"t{number:03}" for number in range(200)]
    with closing(LmdbBroker(path)) as broker:
        broker.execute_many([enqueue(task_id) for task_id in ids])
        with multiprocessing.get_context("spawn").Pool(3) as pool:
            taken = pool.map(take_all, [path] * 3, chunksize=1)
        assert sorted(chain.from_iterable(taken)) == ids
        assert broker.execute(ops.GetQueueStats(queue="q")).processed_total == 200


def test_a_broker_works_after_a_fork(tmp_path: Path) -> None:
    with closing(LmdbBroker(tmp_path / "tasks.lmdb")) as broker:
        broker.execute(enqueue("parent"))
        child = os.fork()
        if child == 0:
            broker.execute(enqueue("child"))
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        broker.execute(enqueue("again"))
        listed = broker.execute(ops.ListTasks(queue="q", state=TaskState.PENDING))
        assert [stored.message.id for stored in listed] == ["parent", "child", "again"]


def test_a_broker_can_be_pickled_for_another_process(tmp_path: Path) -> None:
    clock = FakeClock()
    broker = LmdbBroker(tmp_path / "tasks.lmdb", clock=clock, max_size=12345)
    copy = pickle.loads(pickle.dumps(broker))  # noqa: S301 - our own
    assert repr(copy) == repr(broker)
    assert copy.clock.now() == clock.now()


# --- a full file ----------------------------------------------------------------------------------------


def test_a_full_file_refuses_new_tasks_and_delivers_existing_ones(tmp_path: Path) -> None:
    with closing(LmdbBroker(tmp_path / "tasks.lmdb", max_size=1 << 20)) as broker:
        for fill in ("first", "second", "third"):
            answers = broker.execute_many([enqueue(f"{fill}-{n}", payload=bytes(10_000)) for n in range(200)])
            refused = [answer for answer in answers if isinstance(answer, BrokerFullError)]
            kept = len(answers) - len(refused)
            assert kept > 50
            assert len(refused) > 50
            assert broker.execute(ops.GetQueueStats(queue="q")).size == kept
            assert len(take_all(tmp_path / "tasks.lmdb")) == kept


def test_a_full_lmdb_map_raises_broker_full(tmp_path: Path) -> None:
    with closing(LmdbBroker(tmp_path / "tasks.lmdb", max_size=1 << 20)) as broker:
        with pytest.raises(BrokerFullError, match="MDB_MAP_FULL"):
            broker.execute(enqueue("t", payload=bytes(32 << 20)))
        answers = broker.execute_many([enqueue("a"), enqueue("b", payload=bytes(32 << 20)), enqueue("c")])
        assert isinstance(answers[1], BrokerFullError)
        assert take_all(tmp_path / "tasks.lmdb") == ["a", "c"]


# --- with what it leaves out ----------------------------------------------------------------------------


async def test_a_server_runs_without_unsupported_operations(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    done = asyncio.Event()
    mux = asynq.ServeMux()

    @mux.handler("greet")
    async def greet(ctx: asynq.Context, task: asynq.Task) -> str:
        return f"hello {task.payload.decode()}"

    broker = LmdbBroker(tmp_path / "tasks.lmdb")
    server = asynq.Server(broker, concurrency=2, on_success=lambda task, ctx: done.set())
    await server.start(mux)
    async with asynq.AsyncClient(broker) as client:
        info = await client.enqueue(asynq.Task("greet", b"world"), retention=HOUR)
        assert await client.wait(info, timeout=HOUR) == b"hello world"
    await asyncio.wait_for(done.wait(), 30)
    await server.shutdown()
    await broker.aclose()
    assert [record.getMessage() for record in caplog.records if "support" in record.getMessage()] == []
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


def test_a_required_operation_that_is_unsupported_is_refused_by_name(tmp_path: Path) -> None:
    broker = LmdbBroker(tmp_path / "tasks.lmdb")
    with pytest.raises(UnsupportedOperationError, match="the lmdb broker does not support ListGroups"):
        asynq.Server(broker, aggregator=lambda group, tasks: tasks[0])
    with pytest.raises(UnsupportedOperationError, match="the lmdb broker does not support EnqueueTick"):
        asynq.Scheduler(broker)
    with asynq.Client(broker) as client, pytest.raises(UnsupportedOperationError, match="support groups"):
        client.enqueue(asynq.Task("t"), group="g")


def test_an_inspector_shows_the_stored_tasks(tmp_path: Path) -> None:
    with closing(LmdbBroker(tmp_path / "tasks.lmdb")) as broker:
        broker.execute(enqueue("t"))
        inspector = asynq.Inspector(broker)
        info = inspector.queue_info("q")
        assert (info.pending, info.memory) == (1, None)
        assert [task.id for task in inspector.tasks("q", "pending")] == ["t"]
        with pytest.raises(UnsupportedOperationError, match="does not support DeleteTask"):
            inspector.delete_task("q", "t")


def test_the_demo_loses_no_task_and_lists_what_remains(installed: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "asynq", "demo", "--limit", "150", "--json", "--broker", "lmdb:///demo.lmdb"],
        check=False,
        capture_output=True,
        text=True,
        timeout=110,
        cwd=installed,
    )
    assert ended.returncode == 0, ended.stderr
    total = json.loads(ended.stdout)["tasks"]["total"]
    assert (total["enqueued"], total["completed"], total["lost"]) == (300, 300, 0)
    assert "the lmdb broker cannot delete queues" in ended.stderr


def test_a_worker_from_the_command_line_serves_the_broker(installed: Path) -> None:
    (installed / "tasks.py").write_text(
        "import asynq\n"
        "mux = asynq.ServeMux()\n"
        "@mux.handler('hello')\n"
        "def hello(ctx: asynq.Context, task: asynq.Task) -> None:\n"
        "    print('hello', task.payload.decode(), flush=True)\n"
    )
    with asynq.Client("lmdb:///tasks.lmdb") as client:
        client.enqueue(asynq.Task("hello", b"first"))
        command = [sys.executable, "-m", "asynq", "worker", "tasks:mux", "--broker", "lmdb:///tasks.lmdb"]
        with subprocess.Popen(command, cwd=installed, stdout=subprocess.PIPE, text=True) as worker:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "hello first\n"
            client.enqueue(asynq.Task("hello", b"second"))
            assert worker.stdout.readline() == "hello second\n"
            worker.terminate()
        assert worker.returncode == 0
