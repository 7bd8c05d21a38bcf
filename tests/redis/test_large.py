"""Requests that a server refuses because of their size, by closing the connection; others continue."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import redis

from asynq.errors import (
    BrokerFullError,
    BrokerRefusedError,
    BrokerUnavailable,
    PayloadTooLargeError,
    ResultTooLargeError,
)
from asynq.protocol import ops
from asynq.protocol.message import Delivery, TaskMessage
from asynq.task_state import TaskState
from asynq_redis import RedisBroker
from asynq_redis.wire.sizes import LARGE_BYTES
from asynq_topologies.proxy import Proxy
from tests.redis.custom_operations import Count, Face, Send
from tests.servers import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator

MB = 1 << 20
LONG = timedelta(seconds=20)
LIMIT_QUERIES = [("--proto-max-bulk-len", "1mb"), ("--client-query-buffer-limit", "1mb")]
UNTOLD = ("--proto-max-bulk-len", "1mb", "--rename-command", "CONFIG", "")


def enqueue(task_id: str, size: int = 0, **options: Any) -> ops.Enqueue:
    message = TaskMessage(id=task_id, type="t", queue="q", payload=bytes(size), **options)
    return ops.Enqueue(message=message, enqueue_id=f"call for {task_id}")


@pytest.fixture(params=[*LIMIT_QUERIES, UNTOLD], ids=["bulk", "buffer", "untold"])
def narrow(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A server with a low limit, which it may or may not reveal."""
    with RedisServer.start(*request.param) as server:
        yield server


@pytest.fixture
def broker(narrow: RedisServer) -> Iterator[RedisBroker]:
    broker = RedisBroker(narrow.url, budget=LONG)
    yield broker
    broker.close()


def taken(broker: RedisBroker, count: int = 1) -> tuple[Delivery, ...]:
    return broker.execute(ops.Dequeue(orders=(("q",),) * count, token="token", lease=60_000))


def test_each_task_of_a_large_batch_has_its_own_answer(broker: RedisBroker, face: Face) -> None:
    began = time.monotonic()
    sizes = [0, 2 * MB, 10, LARGE_BYTES, 2 * LARGE_BYTES + 1, 0]
    answers = face.ask(broker, *[enqueue(str(n), size) for n, size in enumerate(sizes)])
    refused = [n for n, answer in enumerate(answers) if isinstance(answer, PayloadTooLargeError)]
    assert refused == [1, 4]
    assert [(answers[n].task_id, answers[n].size) for n in refused] == [
        ("1", 2 * MB),
        ("4", 2 * LARGE_BYTES + 1),
    ]
    assert all(isinstance(answers[n], ops.Enqueued) for n in (0, 2, 3, 5))
    assert [delivery.message.id for delivery in taken(broker, 6)] == ["0", "2", "3", "5"]
    assert time.monotonic() - began < LONG.total_seconds() / 2


@pytest.mark.parametrize("narrow", [LIMIT_QUERIES[0]], indirect=True)
def test_the_refusal_contains_the_limit_of_the_server(broker: RedisBroker, face: Face) -> None:
    [refused] = face.ask(broker, enqueue("a", 2 * MB))
    assert (refused.limit, refused.maybe_applied) == (MB, False)


@pytest.mark.parametrize("narrow", [UNTOLD], indirect=True)
def test_a_server_with_an_unknown_limit_gets_a_second_attempt(broker: RedisBroker) -> None:
    with pytest.raises(PayloadTooLargeError, match="takes no request of that size") as refused:
        broker.execute(enqueue("a", 2 * MB))
    assert refused.value.limit == 0


def test_a_result_refused_by_the_server_leaves_its_run_unsettled(broker: RedisBroker, face: Face) -> None:
    broker.execute_many([enqueue("a", retention=60), enqueue("b"), enqueue("c")])
    a, b = taken(broker, 2)
    fetch = ops.Dequeue(orders=(("q",),), token="another", lease=60_000)
    refused, written, done, [c] = face.ask(
        broker,
        ops.Complete(delivery=a, result=bytes(2 * MB)),
        ops.WriteResult(lease=a.lease, result=bytes(2 * MB)),
        ops.Done(delivery=b),
        fetch,
    )
    assert isinstance(refused, ResultTooLargeError)
    assert isinstance(written, ResultTooLargeError)
    assert done is None
    assert c.message.id == "c"
    assert face.ask(broker, ops.Archive(delivery=a, error=str(refused))) == [None]


@pytest.mark.usefixtures("custom_operations")
def test_any_other_large_request_is_refused_by_name(broker: RedisBroker, face: Face) -> None:
    [refused] = face.ask(broker, Send(("SET", "key", "x" * 2 * MB)))
    assert isinstance(refused, BrokerRefusedError)
    assert refused.final
    assert "Send is too large" in str(refused)


@pytest.mark.parametrize("narrow", [LIMIT_QUERIES[0]], indirect=True)
@pytest.mark.usefixtures("custom_operations")
def test_unrepeatable_operations_are_answered_next_to_a_refusal(broker: RedisBroker, face: Face) -> None:
    counted, refused, again = face.ask(broker, Count(), enqueue("a", 2 * MB), Count())
    assert isinstance(refused, PayloadTooLargeError)
    assert (counted, again) == (1, 2)


def test_an_eviction_of_the_client_counts_as_a_refusal(own_server: RedisServer, face: Face) -> None:
    try:
        own_server.client.config_set("maxmemory-clients", 2 * MB)
    except redis.ResponseError:
        pytest.skip("this server evicts no clients")
    broker = RedisBroker(own_server.url, budget=LONG)
    first, refused, last = face.ask(broker, enqueue("a"), enqueue("b", 8 * MB), enqueue("c"))
    assert isinstance(refused, PayloadTooLargeError)
    assert isinstance(first, ops.Enqueued)
    assert isinstance(last, ops.Enqueued)
    broker.close()


def test_a_full_server_refuses_a_request_that_exceeds_its_memory(own_server: RedisServer, face: Face) -> None:
    own_server.client.config_set("maxmemory", 16 * MB)
    broker = RedisBroker(own_server.url, budget=LONG)
    first, refused, last = face.ask(broker, enqueue("a"), enqueue("b", 24 * MB), enqueue("c"))
    assert isinstance(refused, BrokerFullError)
    assert isinstance(first, ops.Enqueued)
    assert isinstance(last, ops.Enqueued)
    broker.close()


def test_a_large_request_succeeds_after_a_lost_reply(own_server: RedisServer, face: Face) -> None:
    with Proxy(own_server.port) as proxy:
        broker = RedisBroker(proxy.url, budget=LONG)
        proxy.lose_replies(to=b"call for a")
        [enqueued] = face.ask(broker, enqueue("a", 2 * MB))
        assert enqueued.state is TaskState.PENDING
        assert proxy.lost == 1
        broker.close()


def test_an_unreachable_server_does_not_count_as_a_refusal(own_server: RedisServer, face: Face) -> None:
    with Proxy(own_server.port) as proxy:
        broker = RedisBroker(proxy.url, budget=timedelta(seconds=0.2))
        proxy.refuse()
        with pytest.raises(BrokerUnavailable):
            face.ask(broker, enqueue("a", 2 * MB))
        broker.close()


def test_settling_a_large_task_does_not_send_its_payload(own_server: RedisServer, face: Face) -> None:
    broker = RedisBroker(own_server.url)
    broker.execute_many([enqueue(name, 2 * MB, headers={"h": name}, retention=60) for name in "abcd"])
    a, b, c, d = taken(broker, 4)
    own_server.client.config_set("proto-max-bulk-len", MB)
    settlements: list[ops.Op[None]] = [
        ops.Complete(delivery=a, result=b"r"),
        ops.Retry(delivery=b, delay=0, error="first"),
        ops.Archive(delivery=c, error="last"),
    ]
    assert face.ask(broker, *settlements) == [None] * 3
    own_server.client.zadd("asynq:{q}:lease", {"d": 1.5})
    [lost] = broker.execute(ops.ListLostLeases(queue="q")).leases
    assert broker.execute(ops.Recover(lost=lost, to="archived", error="lost"))
    for delivery, state, error in (
        (a, TaskState.COMPLETED, ""),
        (b, TaskState.RETRY, "first"),
        (c, TaskState.ARCHIVED, "last"),
        (d, TaskState.ARCHIVED, "lost"),
    ):
        stored = broker.execute(ops.GetTask(queue="q", task_id=delivery.message.id))
        assert (stored.state, stored.message.error) == (state, error)
        assert (stored.message.payload, stored.message.headers) == (bytes(2 * MB), {"h": delivery.message.id})
    broker.close()
