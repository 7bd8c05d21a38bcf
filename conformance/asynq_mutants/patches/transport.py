"""Bugs in sending requests and handling their replies."""

from __future__ import annotations

import asyncio
import math
import sys
from typing import TYPE_CHECKING, Any

from asynq_mutants.patches import failing
from asynq_redis.transport import redis_errors, retries
from asynq_redis.transport.cluster import ClusterRouter
from asynq_redis.transport.connection_pool import ConnectionPool, Exchange
from asynq_redis.transport.links import AwaitedLink
from asynq_redis.transport.pending_requests import PendingRequests
from asynq_redis.transport.requests import Command

if TYPE_CHECKING:
    import redis

    from asynq_redis.url import Address

REDIS = "tests/redis/"
TOPOLOGIES = "tests/topologies/"


@failing(
    TOPOLOGIES + "test_replicas.py::test_a_repeated_enqueue_waits_for_replicas_again", bug=66, since=(7, 2)
)
def wait_elsewhere() -> None:
    """A connection that has written nothing does not wait for replicas, from Redis 7.2 on."""
    exchange, durable = ConnectionPool.exchange, ConnectionPool._durable

    async def exchanged(self: ConnectionPool, requests: Any, **options: Any) -> Exchange:
        answer = await exchange(self, requests, **options)
        if durable(self, requests) is None or answer.error is not None:
            return answer
        other = await self._connect(math.inf)
        wait = Command(("WAIT", self._settings.min_replicas, 100))
        confirmed = await self._exchange_on(other, [wait], (), math.inf)
        return Exchange(replies=answer.replies, confirmed=confirmed.replies[0])

    ConnectionPool.exchange = exchanged  # type: ignore[method-assign]
    ConnectionPool._durable = lambda *_: None  # type: ignore[method-assign]


@failing(TOPOLOGIES + "test_replicas.py::test_too_few_replicas_are_an_unknown_outcome[sentinel]", bug=67)
def take_too_few_for_enough() -> None:
    """The reply is returned even if too few replicas confirm."""
    PendingRequests._unconfirmed = lambda self, at, _: self.replies[at]  # type: ignore[method-assign, assignment]


@failing(REDIS + "test_transport_faults.py::test_lost_scripts_are_sent_again", bug=69)
def know_no_unknown_script() -> None:
    """Scripts that a restarted server has lost are not sent again."""
    PendingRequests._is_unknown_script = lambda *_: False  # type: ignore[method-assign]


@failing(REDIS + "test_transport_faults.py::test_a_server_that_refuses_writes_is_reported_as_suspect", bug=70)
def doubt_nobody() -> None:
    """A new primary is never looked up."""
    retries.NOT_PRIMARY_CODES = frozenset()


@failing(TOPOLOGIES + "test_moves.py::test_a_queue_waits_while_its_slot_moves", bug=71)
def wait_for_no_slot() -> None:
    """A moving slot is treated like any other error."""
    redis_errors.slot_migrating = lambda _: False  # type: ignore[assignment]


@failing(
    TOPOLOGIES + "test_moves.py::test_the_target_of_a_moving_slot_receives_no_script_before_it_owns_the_slot",
    bug=73,
)
def follow_ask() -> None:
    """In the target of a moving slot, an id that has not arrived yet looks free."""
    asked: set[Address] = set()
    redirected, converse = ClusterRouter.redirected, ConnectionPool._exchange_on

    def follow(self: ClusterRouter, reply: redis.RedisError) -> bool:
        word, _, target = str(reply).partition(" ")
        if word == "ASK":
            slot, _, where = target.partition(" ")
            host, _, port = where.rpartition(":")
            self._owners[int(slot)] = self._address(host, int(port))
            asked.add(self._address(host, int(port)))
            return True
        return redirected(self, reply)

    async def asking(
        self: ConnectionPool, pooled: Any, requests: Any, in_full: Any, limit: float
    ) -> Exchange:
        if self.address in asked:
            await converse(self, pooled, [Command(("ASKING",))], (), limit)
        return await converse(self, pooled, requests, in_full, limit)

    ClusterRouter.redirected = follow  # type: ignore[method-assign]
    ConnectionPool._exchange_on = asking  # type: ignore[method-assign]


@failing(REDIS + "test_transport.py::test_a_cancelled_call_leaves_no_reply_to_the_next", bug=74)
def keep_connections_of_the_cancelled() -> None:
    """A reply is read by the next call."""
    drop, converse = ConnectionPool._drop, ConnectionPool._exchange_on

    async def conversed(self: ConnectionPool, pooled: Any, *args: Any) -> Exchange:
        try:
            return await converse(self, pooled, *args)
        except asyncio.CancelledError:
            self._idle.append(pooled)
            raise

    def dropped(self: ConnectionPool, connection: Any) -> None:
        if not isinstance(sys.exception(), asyncio.CancelledError):
            drop(self, connection)

    received = AwaitedLink.data_received

    def kept(self: AwaitedLink, data: bytes) -> None:
        if self._waiter is None or self._waiter.done():
            self._reader.feed(data)
        else:
            received(self, data)

    AwaitedLink.data_received = kept  # type: ignore[method-assign]
    ConnectionPool._exchange_on = conversed  # type: ignore[method-assign, assignment]
    ConnectionPool._drop = dropped  # type: ignore[method-assign]
    AwaitedLink.usable = lambda _: True  # type: ignore[method-assign, assignment]
