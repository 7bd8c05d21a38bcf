"""Base class of the Redis brokers: executes operations on the servers that a router finds."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import field, frozen
from msgspec.structs import replace
from redis import RedisError

from asynq.checks import check_count, check_duration, check_timeout
from asynq.errors import BrokerUnavailable
from asynq.protocol.answers import unwrap
from asynq.protocol.broker import Capabilities
from asynq.protocol.broker_time import BrokerTime
from asynq.protocol.ops import Enqueue, UpdateTask
from asynq.protocol.value_sizes import MAX_VALUE_BYTES, check_max_value_bytes, too_large
from asynq.runtime.loop_local import LoopLocal
from asynq.runtime.sync_async import completed
from asynq_redis.events.listener import RedisListener
from asynq_redis.events.routed_listener import RoutedListener
from asynq_redis.events.watcher import RedisWatcher
from asynq_redis.operations.execution import CallContext, steps_of
from asynq_redis.shared_calls import SharedCalls
from asynq_redis.transport import redis_errors
from asynq_redis.transport.cluster import ClusterRouter
from asynq_redis.transport.io import AwaitedIO, BlockingIO, ConnectionSettings
from asynq_redis.transport.retries import RetryBudget, Transport
from asynq_redis.transport.routing import SingleServerRouter, discovery_settings
from asynq_redis.transport.sentinel import SentinelRouter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq.clock import Clock
    from asynq.errors import AsynqError
    from asynq.protocol.broker import Listener, Watcher
    from asynq.protocol.ops import Op
    from asynq.runtime.loop_local import LoopState
    from asynq_redis.transport.io import ConnectionIO
    from asynq_redis.transport.routing import Router
    from asynq_redis.url import Address, Endpoint

T = TypeVar("T")
AddressRemap = Mapping[tuple[str, int], tuple[str, int]]
"""Maps the host and port under which other servers know a server to the address at which to reach it."""

CAPABILITIES = Capabilities(backend="redis", durability="process", multi_process=True)


@frozen(kw_only=True)
class Config:
    """Configuration of a Redis broker. Plain values, so that the broker can be pickled."""

    endpoint: Endpoint
    clock: Clock | None
    budget: timedelta
    connect_timeout: timedelta
    socket_timeout: timedelta
    max_connections: int
    address_remap: AddressRemap = field(factory=dict)
    min_replicas: int = 0
    replication_timeout: timedelta = timedelta(seconds=1)
    max_value_bytes: int = MAX_VALUE_BYTES

    def __attrs_post_init__(self) -> None:
        check_duration("budget", self.budget)
        check_timeout("connect_timeout", self.connect_timeout)
        check_timeout("socket_timeout", self.socket_timeout)
        check_count("max_connections", self.max_connections)
        check_count("db", self.endpoint.db)
        check_count("min_replicas", self.min_replicas)
        check_timeout("replication_timeout", self.replication_timeout)
        if self.replication_timeout < timedelta(milliseconds=1):
            raise ValueError("replication_timeout must be at least 1 ms: WAIT 0 never times out")
        if self.min_replicas and self.replication_timeout >= self.socket_timeout:
            raise ValueError("replication_timeout must be shorter than socket_timeout")
        check_max_value_bytes(self.max_value_bytes)
        if not self.max_connections:
            raise ValueError("max_connections must be at least 1")

    @property
    def settings(self) -> ConnectionSettings:
        """How to connect to the servers."""
        return ConnectionSettings(
            db=self.endpoint.db,
            username=self.endpoint.username,
            password=self.endpoint.password,
            tls=self.endpoint.tls,
            connect_timeout=self.connect_timeout.total_seconds(),
            socket_timeout=self.socket_timeout.total_seconds(),
            max_connections=self.max_connections,
            min_replicas=self.min_replicas,
            replication_timeout=self.replication_timeout.total_seconds(),
        )


@frozen
class _AwaitedSide:
    """What the calls of one event loop have in common."""

    transport: Transport
    enqueues: dict[str, SharedCalls] = field(factory=dict)
    """The enqueues under way. On a cluster by queue."""

    async def close(self) -> None:
        """Close all connections."""
        await self.transport.close()

    def drop(self, loop: LoopState) -> None:
        """Close all connections without waiting. See asynq.runtime.loop_local.Droppable."""
        self.transport.drop(loop)


class _Connections:
    """The open connections of one process. A forked child starts with none."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self.known_queues: set[str] = set()
        self.time = BrokerTime()
        self.blocking: Transport | None = None
        self.awaited = LoopLocal(_AwaitedSide.close)


class BaseRedisBroker:
    """A broker on Redis servers, 6.2 or later (see asynq.protocol.broker.Broker).

    It connects on the first operation. A request that was certainly not applied, or that is idempotent, is
    retried for `budget`. After that, and at most the two timeouts later, the call raises BrokerUnavailable.
    """

    _config: Config
    _clustered: bool
    _connections_here: _Connections

    def _start(self, config: Config) -> None:
        self._config = config
        self._clustered = config.endpoint.kind == "cluster"
        self._connections_here = _Connections()

    def __repr__(self) -> str:
        endpoint = self._config.endpoint
        return f"{type(self).__name__}({endpoint}, db={endpoint.db}{', TLS' if endpoint.tls else ''})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self._config)

    @property
    def capabilities(self) -> Capabilities:
        """See Broker."""
        config = self._config
        durability = "replicated" if config.min_replicas else CAPABILITIES.durability
        return replace(CAPABILITIES, durability=durability, max_value_bytes=config.max_value_bytes)

    @property
    def clock(self) -> Clock | None:
        """See Broker."""
        return self._config.clock

    def execute(self, op: Op[T], /) -> T:
        """See Broker."""
        answer: T = unwrap(completed(self._execute_all(self._blocking(), (op,)))[0])
        return answer

    def execute_many(self, ops: Sequence[Op[T]], /) -> list[T | AsynqError]:
        """See Broker."""
        return completed(self._execute_all(self._blocking(), ops))

    def close(self) -> None:
        """See Broker."""
        here = self._connections()
        transport, here.blocking = here.blocking, None
        if transport is not None:
            completed(transport.close())
        here.awaited.drop_closed()

    async def aexecute(self, op: Op[T], /) -> T:
        """See Broker."""
        side = self._awaited()
        if type(op) is Enqueue:
            found: T = unwrap(await self._execute_shared(side, op))
            return found
        answer: T = unwrap((await self._execute_all(side.transport, (op,)))[0])
        return answer

    async def aexecute_many(self, ops: Sequence[Op[T]], /) -> list[T | AsynqError]:
        """See Broker."""
        return await self._execute_all(self._awaited().transport, ops)

    async def aclose(self) -> None:
        """See Broker."""
        await self._connections().awaited.aclose()

    def listener(self) -> Listener:
        """See Broker."""
        config = self._config
        if config.endpoint.kind == "single":
            return RedisListener(config.endpoint.addresses[0], config.settings, _rng())
        return RoutedListener(self._awaited().transport.router, config.settings, _rng())

    def watcher(self) -> Watcher:
        """See Broker."""
        return RedisWatcher(self._server_of, self._config.settings)

    async def _server_of(self, queue: str) -> Address | None:
        """The current server of the queue, or None if there is none."""
        homes = await self._awaited().transport.router.servers_of([queue])
        return next((address for address, queues in homes.items() if queue in queues), None)

    async def _execute_shared(self, side: _AwaitedSide, op: Enqueue) -> Any:
        # On a cluster, a failing server delays only the enqueues of its queues.
        part = op.message.queue if self._clustered else ""
        shared = side.enqueues.get(part) or side.enqueues.setdefault(part, SharedCalls())
        try:
            return await shared.execute(op, partial(self._execute_all, side.transport))
        finally:
            if part and shared.idle:
                side.enqueues.pop(part, None)

    async def _execute_all(self, transport: Transport, ops: Sequence[Op[T]]) -> list[T | AsynqError]:
        if not ops:
            return []
        here = self._connections_here
        context = CallContext(
            clock=self._config.clock,
            clustered=self._clustered,
            known_queues=here.known_queues,
            router=transport.router,
            min_replicas=self._config.min_replicas,
            time=here.time,
        )
        steps, resend = steps_of(ops, context), all(map(_IDEMPOTENT, ops))
        replies: Any = None  # starts the steps
        while True:
            try:
                requests = steps.send(replies)
            except StopIteration as ended:
                return _translated(ops, ended.value)
            # No value is larger than the request that carries it: the first one, except for UpdateTask.
            if replies is None and (
                max(map(_SIZE, requests), default=0) > self._config.max_value_bytes
                or UpdateTask in map(type, ops)
            ):
                refused = [too_large(op, self._config.max_value_bytes) for op in ops]
                if any(refused):
                    return await self._execute_sendable(transport, ops, refused)
            try:
                replies = await transport.send(requests, resend=resend, resent=context.resent)
            except BrokerUnavailable as error:
                changes = not all(op.read_only for op in ops)
                error.maybe_applied = changes and (error.maybe_applied or replies is not None)
                raise

    async def _execute_sendable(
        self, transport: Transport, ops: Sequence[Op[T]], refused: Sequence[AsynqError | None]
    ) -> list[T | AsynqError]:
        """Execute the operations that are not refused."""
        sendable = [op for op, no in zip(ops, refused, strict=True) if no is None]
        answers = iter(await self._execute_all(transport, sendable))
        return [next(answers) if no is None else no for no in refused]

    def _blocking(self) -> Transport:
        here = self._connections_here
        if here.blocking is None or here.pid != os.getpid():
            here = self._connections()
            with here.lock:
                if here.blocking is None:
                    here.blocking = self._transport(BlockingIO())
                return here.blocking
        return here.blocking

    def _awaited(self) -> _AwaitedSide:
        return self._connections().awaited.get(lambda: _AwaitedSide(self._transport(AwaitedIO())))

    def _connections(self) -> _Connections:
        if self._connections_here.pid != os.getpid():
            self._connections_here = _Connections()
        return self._connections_here

    def _transport(self, io: ConnectionIO) -> Transport:
        config, rng = self._config, _rng()
        budget = config.budget.total_seconds()
        return Transport(
            io,
            _router(config, io, rng),
            config.settings,
            retry_budget=lambda began: RetryBudget(budget, began, time.monotonic, rng),
        )


_IDEMPOTENT, _SIZE = attrgetter("idempotent"), attrgetter("size")


def _translated(ops: Sequence[Op[Any]], answers: list[Any]) -> list[Any]:
    """The answers, with the errors of asynq in place of those of servers."""
    for place, answer in enumerate(answers):
        if isinstance(answer, RedisError):
            answers[place] = redis_errors.answer(ops[place], answer)
    return answers


def _router(config: Config, io: ConnectionIO, rng: random.Random) -> Router:
    endpoint, settings = config.endpoint, config.settings
    if endpoint.kind == "sentinel":
        login = {"username": endpoint.sentinel_username, "password": endpoint.sentinel_password}
        discovery = discovery_settings(settings, db=0, **login)
        return SentinelRouter(endpoint.addresses, endpoint.master, io, discovery, remap=config.address_remap)
    if endpoint.kind == "cluster":
        return ClusterRouter(
            endpoint.addresses, io, discovery_settings(settings), remap=config.address_remap, rng=rng
        )
    return SingleServerRouter(endpoint.addresses[0])


def _rng() -> random.Random:
    return random.Random()  # noqa: S311 - spreads retries, not used for security


def _rebuilt(kind: type[BaseRedisBroker], config: Config) -> BaseRedisBroker:
    broker = kind.__new__(kind)
    broker._start(config)  # noqa: SLF001 - the other half of __reduce__
    return broker
