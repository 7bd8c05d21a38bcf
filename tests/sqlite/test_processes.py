"""Several processes on one file: no task is lost or duplicated when one is killed."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from asynq.protocol import ops
from asynq.task_state import TaskState
from asynq_sqlite import SQLiteBroker
from tests.sqlite.tools import enqueue, run_script, sql, start_script, take, tasks

if TYPE_CHECKING:
    from pathlib import Path

PRODUCE = """
import sys
from asynq_sqlite import SQLiteBroker
from tests.sqlite.tools import enqueue
broker = SQLiteBroker(sys.argv[1], durability="process")
for number in range(int(sys.argv[3])):
    broker.execute(enqueue(f"{sys.argv[2]}-{number}"))
    print(number, flush=True)
"""

CONSUME = """
import sys
from asynq.protocol import ops
from asynq_sqlite import SQLiteBroker
from tests.sqlite.tools import take
broker = SQLiteBroker(sys.argv[1], durability="process")
call = 0
while deliveries := take(broker, f"{sys.argv[2]}-{call}", 3):
    broker.execute_many([ops.Done(delivery=delivery) for delivery in deliveries])
    print(*(delivery.message.id for delivery in deliveries), sep="\\n", flush=True)
    call += 1
"""

FORK = """
import os, sys
from asynq.errors import BrokerRefusedError
from asynq_sqlite import MemoryBroker, SQLiteBroker
from tests.sqlite.tools import enqueue, take
broker, memory = SQLiteBroker(sys.argv[1]), MemoryBroker()
broker.execute(enqueue("parent"))
memory.execute(enqueue("parent"))
child = os.fork()
if child == 0:
    broker.execute(enqueue("child"))
    try:
        memory.execute(enqueue("child"))
    except BrokerRefusedError:
        print("refused", flush=True)
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
broker.execute(enqueue("parent again"))
print(*(delivery.message.id for delivery in take(broker, wanted=3)), sep="\\n")
"""

FORK_AMID_WRITES = """
import os, sys, threading
from asynq_sqlite import SQLiteBroker
from tests.sqlite.tools import enqueue
broker, ended = SQLiteBroker(sys.argv[1], durability="process"), threading.Event()

def write(name):
    number = 0
    while not ended.is_set():
        broker.execute(enqueue(f"{name}-{number}"))
        number += 1

threads = [threading.Thread(target=write, args=(name,)) for name in "ab"]
for thread in threads:
    thread.start()
statuses = []
for number in range(12):
    child = os.fork()
    if child == 0:
        try:
            broker.execute(enqueue(f"child-{number}"))
        except BaseException:
            os._exit(1)
        os._exit(0)
    statuses.append(os.waitpid(child, 0)[1])
ended.set()
for thread in threads:
    thread.join()
print(statuses)
"""


def test_many_consumers_take_every_task_of_many_producers_once(path: Path) -> None:
    producers = [start_script(PRODUCE, path, name, 150) for name in "abc"]
    for producer in producers:
        producer.communicate(timeout=60)
    consumers = [start_script(CONSUME, path, name) for name in "de"]
    taken = [line for consumer in consumers for line in consumer.communicate(timeout=60)[0].split()]
    assert [process.returncode for process in producers + consumers] == [0] * 5
    assert sorted(taken) == sorted(f"{name}-{number}" for name in "abc" for number in range(150))


def test_a_killed_producer_loses_no_acknowledged_task(path: Path) -> None:
    broker = SQLiteBroker(path)
    for round_ in range(6):
        with start_script(PRODUCE, path, round_, 100_000) as producer:
            assert producer.stdout is not None
            acknowledged = [producer.stdout.readline().strip() for _ in range(20 + round_)]
            producer.send_signal(signal.SIGKILL)
            acknowledged += producer.stdout.read().split()
        stored = [task.message.id for task in tasks(broker, TaskState.PENDING)]
        mine = [task_id for task_id in stored if task_id.startswith(f"{round_}-")]
        expected = [f"{round_}-{number}" for number in acknowledged]
        assert mine[: len(expected)] == expected
        assert len(mine) <= len(expected) + 1
    assert sql(path, "PRAGMA integrity_check") == [("ok",)]
    broker.close()


def test_a_killed_consumer_leaves_no_half_settled_task(path: Path) -> None:
    broker = SQLiteBroker(path, durability="process")
    broker.execute_many([enqueue(f"t{number}") for number in range(3000)])
    for round_ in range(5):
        with start_script(CONSUME, path, round_) as consumer:
            assert consumer.stdout is not None
            for _ in range(30):
                consumer.stdout.readline()
            consumer.send_signal(signal.SIGKILL)
    stats = broker.execute(ops.GetQueueStats(queue="q"))
    assert stats.processed_total >= 150
    assert stats.pending + stats.active == stats.size == 3000 - stats.processed_total
    assert sql(path, "PRAGMA integrity_check") == [("ok",)]
    assert len(take(broker, "last", 50)) == 50
    broker.close()


def test_a_forked_child_opens_its_own_connection_and_a_memory_broker_refuses(path: Path) -> None:
    assert run_script(FORK, path).split("\n") == ["refused", "parent", "child", "parent again", ""]


def test_a_child_forked_during_writes_can_write(path: Path) -> None:
    assert run_script(FORK_AMID_WRITES, path) == f"{[0] * 12}\n"
    broker = SQLiteBroker(path)
    assert len([task for task in tasks(broker, TaskState.PENDING) if task.message.id[:5] == "child"]) == 12
    broker.close()
