"""Data that Go asynq left in Redis is read like in Go, and can be processed."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from asynq.clock import FakeClock
from asynq.protocol import ops
from asynq.task_state import TaskState
from asynq_redis import RedisBroker
from tests.golden.dumps import SCENARIOS, TASK_KEY, facts, live_rows, load, restore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynq.protocol.message import StoredTask
    from tests.servers import RedisServer

HOUR = 3600 * 1000
COUNTS = {
    "Size": "size",
    "Groups": "groups",
    "Pending": "pending",
    "Active": "active",
    "Scheduled": "scheduled",
    "Retry": "retry",
    "Archived": "archived",
    "Completed": "completed",
    "Aggregating": "aggregating",
    "Processed": "processed",
    "Failed": "failed",
    "ProcessedTotal": "processed_total",
    "FailedTotal": "failed_total",
    "Paused": "paused",
}
TAKEN = {"aggregation_set_staged": 3, "aggregation_max_size_staged": 2}
"""Tasks taken for aggregation. Go does not count them; we count them as aggregating."""
STRAY = {"task_id_conflict": {b"same"}}
"""Ids in locks that Go took for tasks which it then refused: no task names these locks."""


class Foreign:
    """A database left by Go, and our broker on it at the time of the dump."""

    def __init__(self, scenario: str, server: RedisServer) -> None:
        self.taken = TAKEN.get(scenario, 0)
        self.stray = STRAY.get(scenario, set())
        self.dump = load(scenario)
        restore(self.dump, server.client)
        self.clock = FakeClock(self.dump["dumped_ns"] // 1_000_000)
        self.broker = RedisBroker(server.url, clock=self.clock)
        self.queues: dict[str, Any] = self.dump["inspector"]["queues"]


@pytest.fixture(params=SCENARIOS)
def foreign(request: pytest.FixtureRequest, redis_server: RedisServer) -> Iterator[Foreign]:
    foreign = Foreign(request.param, redis_server)
    yield foreign
    foreign.broker.close()


def test_statistics_equal_those_of_go(foreign: Foreign) -> None:
    assert list(foreign.broker.execute(ops.ListQueues())) == sorted(foreign.queues)
    for queue, seen in foreign.queues.items():
        stats = foreign.broker.execute(ops.GetQueueStats(queue=queue))
        wanted = {ours: seen["GetQueueInfo"][theirs] for theirs, ours in COUNTS.items()}
        wanted["aggregating"] += foreign.taken
        wanted["size"] += foreign.taken
        assert {name: getattr(stats, name) for name in wanted} == wanted


def listed(foreign: Foreign, queue: str, state: TaskState, group: str = "") -> list[dict[str, Any]]:
    page = ops.ListTasks(queue=queue, state=state, group=group, limit=1000)
    return [in_go_words(task) for task in foreign.broker.execute(page)]


def in_go_words(stored: StoredTask) -> dict[str, Any]:
    message = stored.message
    waiting = stored.state in (TaskState.SCHEDULED, TaskState.RETRY)
    return {
        "ID": message.id,
        "Queue": message.queue,
        "Type": message.type,
        "Payload": message.payload,
        "Headers": dict(message.headers),
        "StateName": stored.state.value,
        "MaxRetry": message.max_retry,
        "Retried": message.retried,
        "LastErr": message.error,
        "LastFailedAt": message.last_failed_at,
        "Timeout": message.timeout,
        "Deadline": message.deadline,
        "Group": message.group,
        "NextProcessAt": stored.due_at // 1000 if waiting else 0,
        "IsOrphaned": stored.orphaned,
        "Retention": message.retention,
        "CompletedAt": message.completed_at,
        "Result": stored.result or b"",
    }


def as_go_lists_it(task: dict[str, Any]) -> dict[str, Any]:
    """The output of Go's Inspector in comparable units."""

    def seconds(printed: str) -> int:
        return 0 if printed.startswith("0001-") else int(datetime.fromisoformat(printed).timestamp())

    waiting = task["StateName"] in ("scheduled", "retry")
    return {
        **{name: value for name, value in task.items() if name != "State"},
        "Payload": base64.b64decode(task["Payload"] or ""),
        "Headers": task["Headers"] or {},
        "LastFailedAt": seconds(task["LastFailedAt"]),
        "Timeout": task["Timeout"] // 10**9,
        "Deadline": seconds(task["Deadline"]),
        "NextProcessAt": seconds(task["NextProcessAt"]) if waiting else 0,
        "Retention": task["Retention"] // 10**9,
        "CompletedAt": seconds(task["CompletedAt"]),
        "Result": base64.b64decode(task["Result"] or ""),
    }


def test_listings_equal_those_of_go(foreign: Foreign) -> None:
    for queue, seen in foreign.queues.items():
        for state in TaskState:
            wanted = seen[f"List{state.capitalize()}Tasks"]
            if state is TaskState.AGGREGATING:
                for group, tasks in (wanted or {}).items():
                    assert listed(foreign, queue, state, group) == [as_go_lists_it(task) for task in tasks]
            else:
                assert listed(foreign, queue, state) == [as_go_lists_it(task) for task in wanted or []]


def test_every_task_left_by_go_can_be_processed(foreign: Foreign, redis_server: RedisServer) -> None:
    broker, clock = foreign.broker, foreign.clock
    wanted = set()
    for queue, seen in foreign.queues.items():
        info = seen["GetQueueInfo"]
        wanted |= {
            (queue, task["ID"])
            for state in ("Active", "Pending", "Scheduled", "Retry")
            for task in seen[f"List{state}Tasks"] or []
            if not task["Group"] or state in ("Active", "Pending")
        }
        if info["Paused"]:
            assert broker.execute(ops.UnpauseQueue(queue=queue))
    clock.advance(10 * 365 * 24 * HOUR)
    done = []
    for queue in foreign.queues:
        while broker.execute(ops.Forward(queue=queue)).moved:
            pass
        for lost in broker.execute(ops.ListLostLeases(queue=queue)).leases:
            assert broker.execute(ops.Recover(lost=lost, to="pending", error="lost"))
        orders = ((queue,),) * ops.MAX_BATCH
        for delivery in broker.execute(ops.Dequeue(orders=orders, token="ours", lease=HOUR)):
            broker.execute(ops.Done(delivery=delivery))
            done.append((queue, delivery.message.id))
    assert sorted(done) == sorted(wanted)
    left = facts(live_rows(redis_server.client))
    emptied = (":pending", ":active", ":lease", ":scheduled", ":retry")
    assert [path for path in left if path.endswith(emptied)] == []
    for queue, task_id in wanted:
        assert not TASK_KEY.match(task_id)
        assert f"asynq:{{{queue}}}:t:{task_id}" not in left


def locked(server: RedisServer) -> set[bytes]:
    """The ids of tasks that hold uniqueness locks."""
    found = map(server.client.get, server.client.keys("asynq:{*}:unique:*"))
    return {task_id for task_id in found if isinstance(task_id, bytes)}


def test_every_task_go_left_can_be_deleted_with_its_lock(foreign: Foreign, redis_server: RedisServer) -> None:
    kept = set()
    for queue, seen in foreign.queues.items():
        for state in TaskState:
            tasks = seen[f"List{state.capitalize()}Tasks"]
            if state is TaskState.AGGREGATING:
                tasks = [task for group in (tasks or {}).values() for task in group]
            for task in tasks or []:
                if state is TaskState.ACTIVE:
                    kept.add(task["ID"].encode())
                else:
                    foreign.broker.execute(ops.DeleteTask(queue=queue, task_id=task["ID"]))
    assert locked(redis_server) - kept == foreign.stray


def test_a_queue_go_left_can_be_deleted_with_its_locks(foreign: Foreign, redis_server: RedisServer) -> None:
    for queue, seen in foreign.queues.items():
        if not seen["GetQueueInfo"]["Active"]:
            while not foreign.broker.execute(ops.DeleteQueue(queue=queue, force=True)).done:
                pass
            left = redis_server.client.keys(f"asynq:{{{queue}}}:*")
            assert [key for key in left if b":unique:" not in key] == []
    assert locked(redis_server) == foreign.stray
