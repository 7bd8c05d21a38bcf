"""A server without free memory refuses what needs memory and executes everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import redis

from asynq import RedisBroker
from asynq.errors import BrokerFullError
from asynq.instants import EPOCH
from asynq.protocol import ops
from asynq.protocol.message import TaskMessage
from asynq.protocol.presence import EnqueueEvent, SchedulerEntry, ServerInfo, WorkerInfo
from asynq.task_state import TaskState
from asynq_redis.transport import redis_errors
from tests.servers import skip_before_redis_7

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynq.protocol.message import Delivery
    from tests.servers import RedisServer


def enqueue(task_id: str, group: str = "", **options: Any) -> ops.Enqueue:
    message = TaskMessage(id=task_id, type="type", queue="q", payload=b"", group=group)
    return ops.Enqueue(message=message, enqueue_id=f"call-{task_id}", **options)


def take(broker: RedisBroker, token: str, wanted: int = 1) -> tuple[Delivery, ...]:
    return broker.execute(ops.Dequeue(orders=(("q",),) * wanted, token=token, lease=60_000))


WORKER = WorkerInfo(task_id="t", task_type="type", payload=b"", queue="q", started_at=EPOCH, deadline=EPOCH)
SERVER = ServerInfo(
    id="s", host="h", pid=1, started_at=EPOCH, concurrency=1, queues={"q": 1}, strict_priority=False,
    workers=(WORKER,),
)  # fmt: skip
ENTRY = SchedulerEntry(id="e", spec="@every 1h", task_type="type")


@pytest.fixture
def full(own_server: RedisServer) -> Iterator[RedisBroker]:
    """A broker whose server is full, with 20 pending tasks, 5 tasks of a group and one that is due."""
    broker = RedisBroker(own_server.url)
    broker.execute_many([enqueue(f"t{number}") for number in range(20)])
    broker.execute_many([enqueue(f"g{number}", group="g") for number in range(5)])
    broker.execute(enqueue("later", process_in=3_600_000))
    own_server.client.config_set("maxmemory", 1)
    yield broker
    broker.close()


def test_a_full_server_refuses_operations_that_need_memory(full: RedisBroker) -> None:
    delivery = take(full, "token")[0]
    tick = ops.EnqueueTick(enqueue=enqueue("tick"), entry_id="e", tick=0, keep=60_000)
    event = EnqueueEvent(task_id="t", enqueued_at=EPOCH)
    growing: tuple[ops.Op[Any], ...] = (
        enqueue("new"),
        tick,
        ops.UpdateTask(queue="q", task_id="t9", payload=b"longer"),
        ops.WriteResult(lease=delivery.lease, result=b"result"),
        ops.RecordEnqueueEvent(entry_id="e", event=event, keep=60_000),
    )
    answers = full.execute_many(growing)
    assert [type(answer) for answer in answers] == [BrokerFullError] * len(growing)


@pytest.mark.parametrize("before", ["ERR Error running script (call to f_b2): @user_script:1: ", ""])
def test_a_full_server_before_redis_7_is_recognized(before: str) -> None:
    reply = f"{before}@user_script: 1: -OOM command not allowed when used memory > 'maxmemory'."
    for text in (reply, reply.removeprefix("ERR ")):
        assert isinstance(redis_errors.refusal(redis.ResponseError(text)), BrokerFullError)


def test_the_tasks_of_a_full_server_can_be_settled_in_every_way(
    full: RedisBroker, own_server: RedisServer
) -> None:
    skip_before_redis_7(own_server, "settles nothing while it is full")
    a, b, c, d, e, f = take(full, "token", 6)
    aggregate = enqueue("aggregate")
    held = full.execute(ops.TakeGroup(queue="q", group="g", set_id="set", grace=0, max_size=2))
    returned = full.execute(ops.TakeGroup(queue="q", group="g", set_id="other", grace=0, max_size=2))
    assert held is not None
    assert returned is not None
    work: tuple[ops.Op[Any], ...] = (
        ops.ExtendLease(lease=a.lease, duration=90_000),
        ops.Done(delivery=a),
        ops.Complete(delivery=b, result=b"result"),
        ops.Retry(delivery=c, delay=1000, error="e" * 9000),
        ops.Archive(delivery=d, error="e" * 9000),
        ops.Requeue(delivery=e),
        ops.CancelTask(task_id=f.message.id, queue="q"),
        ops.ExtendAggregation(taken=held, hold=60_000),
        ops.FinishAggregation(taken=held, enqueue=aggregate),
        ops.ReturnAggregation(taken=returned),
        ops.ReclaimAggregations(queue="q"),
        ops.RepairGroups(queue="q"),
        ops.Forward(queue="q"),
        ops.ListLostLeases(queue="q"),
        ops.AdoptOrphans(queue="q", grace=1000),
        ops.PurgeCompleted(queue="q"),
        ops.TrimArchive(queue="q"),
        ops.PauseQueue(queue="q"),
        ops.UnpauseQueue(queue="q"),
        ops.RunTask(queue="q", task_id="later"),
        ops.ArchiveTask(queue="q", task_id="t10"),
        ops.DeleteTask(queue="q", task_id="t11"),
        ops.MoveTasks(queue="q", state=TaskState.ARCHIVED, to="pending"),
        ops.AcquireSlot(scope="s", holder="h", limit=3, hold=1000),
        ops.ReleaseSlot(scope="s", holder="h"),
        ops.TakeToken(scope="s", limit=100, per=1000),
        ops.WriteServer(server=SERVER, ttl=10_000),
        ops.WriteScheduler(scheduler_id="s", entries=(ENTRY,), ttl=10_000),
        ops.Examine(queue="q", repair=True),
        ops.Examine(repair=True),
    )
    for op in work:
        full.execute(op)
    assert [server.workers for server in full.execute(ops.ListServers())] == [(WORKER,)]
    assert len(full.execute(ops.ListSchedulerEntries())) == 1
    full.execute(ops.ClearServer(host="h", pid=1, server_id="s"))
    full.execute(ops.ClearScheduler(scheduler_id="s"))
    full.execute(ops.Done(delivery=f))
    while not full.execute(ops.DeleteQueue(queue="q", force=True)).done:
        pass
    assert full.execute(ops.ListQueues()) == ()
