"""Operations that the transport repeats after a lost reply, and the answers of the copies."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynq.errors import AsynqError, BrokerUnavailable, LeaseLostError
from asynq.protocol import ops
from asynq.protocol.message import Delivery, TaskMessage
from asynq.task_state import TaskState
from asynq_redis import RedisBroker
from asynq_redis.operations.execution import HANDLERS, CallContext
from asynq_redis.wire.task_message import encode
from asynq_topologies.proxy import Proxy
from tests.redis.custom_operations import Face, enqueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.servers import RedisServer

LONG = timedelta(seconds=20)
DAY = 24 * 3600 * 1000


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[Proxy]:
    with Proxy(redis_server.port) as proxy:
        yield proxy


@pytest.fixture
def lossy(proxy: Proxy) -> Iterator[RedisBroker]:
    """A broker whose replies the proxy can lose."""
    broker = RedisBroker(proxy.url, budget=LONG)
    yield broker
    broker.close()


@pytest.fixture
def direct(redis_server: RedisServer) -> Iterator[RedisBroker]:
    broker = RedisBroker(redis_server.url)
    yield broker
    broker.close()


def taken(broker: RedisBroker, *names: str, **options: Any) -> tuple[Delivery, ...]:
    """Enqueue these tasks and take them."""
    messages = [TaskMessage(id=name, type="t", queue="q", **options) for name in names]
    broker.execute_many([ops.Enqueue(message=message, enqueue_id=message.id) for message in messages])
    return broker.execute(ops.Dequeue(orders=(("q",),) * len(names), token="token", lease=60_000))


def answer_of(face: Face, broker: RedisBroker, proxy: Proxy, op: ops.Op[Any], *, to: bytes) -> Any:
    """The answer to an operation whose first reply is lost."""
    proxy.lose_replies(to=to)
    [answer] = face.ask(broker, op)
    assert proxy.lost == 1
    return answer


def test_a_missing_task_counts_as_ended_by_the_first_copy(
    lossy: RedisBroker, direct: RedisBroker, proxy: Proxy, face: Face
) -> None:
    [delivery] = taken(direct, "task-a")
    answer = answer_of(face, lossy, proxy, ops.Done(delivery=delivery), to=b"task-a")
    assert isinstance(answer, LeaseLostError)
    assert answer.maybe_applied
    assert "most likely" in str(answer)


def test_the_answer_to_a_single_request_is_certain(
    lossy: RedisBroker, direct: RedisBroker, face: Face
) -> None:
    [delivery] = taken(direct, "task-a")
    direct.execute(ops.Done(delivery=delivery))
    [answer] = face.ask(lossy, ops.Done(delivery=delivery))
    assert isinstance(answer, LeaseLostError)
    assert not answer.maybe_applied


def test_only_repeated_requests_are_uncertain(
    lossy: RedisBroker, direct: RedisBroker, proxy: Proxy, face: Face
) -> None:
    a, b = taken(direct, "task-a", "task-b")
    direct.execute_many([ops.Done(delivery=b)])
    # of two writes to one server, the second is lost
    many = [ops.ExtendLease(lease=b.lease, duration=1000)] * 5001
    proxy.lose_replies(to=b"task-a")
    *extended, done = face.ask(lossy, *many, ops.Done(delivery=a))
    assert {type(answer) for answer in extended} == {LeaseLostError}
    assert not extended[0].maybe_applied
    assert done.maybe_applied


SETTLEMENTS: dict[str, Callable[[Delivery], ops.Op[None]]] = {
    "complete": lambda d: ops.Complete(delivery=d, result=b"r"),
    "retry": lambda d: ops.Retry(delivery=d, delay=DAY, error="e"),
    "archive": lambda d: ops.Archive(delivery=d, error="e"),
    "requeue": lambda d: ops.Requeue(delivery=d),
}


@pytest.mark.parametrize("settle", SETTLEMENTS.values(), ids=SETTLEMENTS)
def test_a_state_that_proves_the_first_copy_is_a_success(
    lossy: RedisBroker, direct: RedisBroker, proxy: Proxy, face: Face, settle: Any
) -> None:
    [delivery] = taken(direct, "task-a", retention=60)
    assert answer_of(face, lossy, proxy, settle(delivery), to=b"task-a") is None


def test_the_outcome_of_a_repeated_recovery_is_unknown(
    redis_server: RedisServer, lossy: RedisBroker, direct: RedisBroker, proxy: Proxy, face: Face
) -> None:
    taken(direct, "task-a")
    redis_server.client.zadd("asynq:{q}:lease", {"task-a": 1.5})
    [lost] = direct.execute(ops.ListLostLeases(queue="q")).leases
    recovery = ops.Recover(lost=lost, to="archived", error="lost")
    answer = answer_of(face, lossy, proxy, recovery, to=b"task-a")
    assert isinstance(answer, BrokerUnavailable)
    assert answer.maybe_applied
    assert face.ask(lossy, recovery) == [False]


@pytest.mark.parametrize(
    ("before", "op"),
    [
        (ops.Ping(), ops.PauseQueue(queue="queue-x")),
        (ops.PauseQueue(queue="queue-x"), ops.UnpauseQueue(queue="queue-x")),
        (
            ops.AcquireSlot(scope="queue-x", holder="h", limit=1, hold=60_000),
            ops.ReleaseSlot(scope="queue-x", holder="h"),
        ),
    ],
    ids=["pause", "unpause", "release"],
)
def test_a_repeated_change_reports_a_change(
    lossy: RedisBroker, proxy: Proxy, face: Face, before: Any, op: Any
) -> None:
    face.ask(lossy, before)
    assert answer_of(face, lossy, proxy, op, to=b"queue-x") is True
    assert face.ask(lossy, op) == [False]


def test_a_set_returned_by_the_first_copy_is_a_success(
    lossy: RedisBroker, direct: RedisBroker, proxy: Proxy, face: Face
) -> None:
    message = TaskMessage(id="a", type="t", queue="q", group="g")
    direct.execute(ops.Enqueue(message=message, enqueue_id="e"))
    aggregation = direct.execute(ops.TakeGroup(queue="q", group="g", set_id="set-x", grace=DAY, max_size=1))
    assert aggregation is not None
    assert answer_of(face, lossy, proxy, ops.ReturnAggregation(taken=aggregation), to=b"set-x") is None


def test_a_payload_updated_by_the_first_copy_is_a_success(
    lossy: RedisBroker, direct: RedisBroker, proxy: Proxy, face: Face
) -> None:
    direct.execute(enqueue("task-a"))
    new = ops.UpdateTask(queue="q", task_id="task-a", payload=b"brand new")
    assert answer_of(face, lossy, proxy, new, to=b"brand new") is None
    stored = direct.execute(ops.GetTask(queue="q", task_id="task-a"))
    assert (stored.state, stored.message.payload) == (TaskState.PENDING, b"brand new")


def test_an_uncertain_payload_update_is_marked_as_maybe_applied() -> None:
    op = ops.UpdateTask(queue="q", task_id="a", payload=b"new")
    message = TaskMessage(id="a", type="t", queue="q", payload=b"old")
    context = CallContext(clock=None)
    steps = HANDLERS[ops.UpdateTask]([op], context)
    next(steps)
    [write] = steps.send([[encode(message), b"pending", None]])
    context.resent[id(write)] = write
    steps.send([[0]])  # the task has changed: by the first copy, or by another client
    with pytest.raises(StopIteration) as ended:
        steps.send([[encode(message), b"active", None]])
    [answer] = ended.value.value
    assert isinstance(answer, BrokerUnavailable)
    assert answer.maybe_applied
    assert "it is active" in answer.reason


@pytest.mark.parametrize(
    "op", [ops.RunTask(queue="q", task_id="task-a"), ops.DeleteTask(queue="q", task_id="task-a")], ids=str
)
def test_a_request_that_is_not_repeated_is_marked_as_maybe_applied(
    lossy: RedisBroker, direct: RedisBroker, proxy: Proxy, face: Face, op: Any
) -> None:
    message = TaskMessage(id="task-a", type="t", queue="q")
    direct.execute(ops.Enqueue(message=message, enqueue_id="e", process_in=DAY))
    proxy.lose_replies(to=b"task-a")
    with pytest.raises(AsynqError) as failed:
        face.ask(lossy, op)
    assert isinstance(failed.value, BrokerUnavailable)
    assert failed.value.maybe_applied
