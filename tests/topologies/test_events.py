"""Wake-ups and cancellations arrive from every server, also after a failover."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from asynq.protocol.broker import CancelRequested, Wake
from asynq.protocol.connect import connect
from asynq_redis.wire.keys import CANCEL_CHANNEL
from tests.topologies.conftest import queues_of

if TYPE_CHECKING:
    from asynq.protocol.broker import Event, Listener
    from asynq_topologies import Topology

WITHIN = 15.0
"""Seconds within which events arrive again after a failover."""


def pending(queue: str) -> str:
    return f"asynq:{{{queue}}}:pending"


async def heard(listener: Listener, event: Event, cause: Any) -> None:
    """Repeat the cause until its event arrives, because one that came too early is not received."""
    async with asyncio.timeout(WITHIN):
        while True:
            cause()
            try:
                async with asyncio.timeout(0.3):
                    while await listener.next() != event:
                        pass
            except TimeoutError:
                continue
            return


async def test_queues_on_all_shards_wake_up(cluster: Topology) -> None:
    broker, queues = connect(cluster.url), queues_of(cluster)
    listener = broker.listener()
    await listener.arm(queues)
    for queue in queues:
        push = partial(cluster.primary_of(pending(queue)).client.lpush, pending(queue), "x")
        await heard(listener, Wake(queue, "pending"), push)
    await listener.aclose()
    await broker.aclose()


async def test_a_cancellation_sent_to_any_server_is_received(cluster: Topology) -> None:
    broker = connect(cluster.url)
    listener = broker.listener()
    await listener.disarm()
    for number, node in enumerate(cluster.nodes):
        task_id = f"task-{number}"
        await heard(listener, CancelRequested(task_id), partial(node.client.publish, CANCEL_CHANNEL, task_id))
    await listener.aclose()
    await broker.aclose()


async def test_a_listener_follows_a_failover(own: Topology) -> None:
    broker = connect(own.url)
    listener = broker.listener()
    await listener.arm(["q"])
    old = own.primary_of(pending("q"))
    await heard(listener, Wake("q", "pending"), lambda: old.client.lpush(pending("q"), "x"))
    old.kill()
    await asyncio.to_thread(own.wait_replaced, old)
    new = own.primary_of(pending("q"))
    await heard(listener, Wake("q", "pending"), lambda: new.client.lpush(pending("q"), "x"))
    await listener.aclose()
    await broker.aclose()
