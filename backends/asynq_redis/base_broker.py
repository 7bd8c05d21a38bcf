"""What all Redis brokers share: two faces, carried out over whatever servers a topology finds."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import evolve, field, frozen
from redis import RedisError

from asynq.checks import check_count, check_duration, check_timeout
from asynq.errors import BrokerUnavailable
from asynq.protocol.answers import unwrap
from asynq.protocol.broker import Capabilities
from asynq.protocol.broker_time import BrokerTime
from asynq.protocol.value_sizes import MAX_VALUE_BYTES, check_max_value_bytes, too_large
from asynq.runtime.per_loop import PerLoop
from asynq.runtime.sync_async import completed
from asynq_redis.events.cluster_listener import SpreadListener
from asynq_redis.events.listener import RedisListener
from asynq_redis.events.watcher import RedisWatcher
from asynq_redis.operations.steps import Batch, Env
from asynq_redis.transport import faults
from asynq_redis.transport.cluster import Cluster
from asynq_redis.transport.io import Awaiting, Blocking, Settings
from asynq_redis.transport.sentinel import Sentinel
from asynq_redis.transport.topology import Single, scouting
from asynq_redis.transport.transport import Patience, Transport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq.clock import Clock
    from asynq.errors import AsynqError
    from asynq.protocol.broker import Listener, Watcher
    from asynq.protocol.ops import Op
    from asynq_redis.transport.io import Face
    from asynq_redis.transport.topology import Topology
    from asynq_redis.url import Address, Endpoint

T = TypeVar("T")
Remap = Mapping[tuple[str, int], tuple[str, int]]
"""Where to reach the server that others know by this host and port."""

CAPABILITIES = Capabilities(backend="redis", durability="process", multi_process=True)


@frozen(kw_only=True)
class Config:
    """All a Redis broker is made from: values only, so that a broker can be sent to another process."""

    endpoint: Endpoint
    clock: Clock | None
    budget: timedelta
    connect_timeout: timedelta
    socket_timeout: timedelta
    max_connections: int
    address_remap: Remap = field(factory=dict)
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
            raise ValueError("replication_timeout must be at least 1 ms: WAIT takes 0 for ever")
        if self.min_replicas and self.replication_timeout >= self.socket_timeout:
            raise ValueError("replication_timeout must be shorter than socket_timeout")
        check_max_value_bytes(self.max_value_bytes)
        if not self.max_connections:
            raise ValueError("max_connections must be at least 1")

    @property
    def settings(self) -> Settings:
        """How its servers are connected to."""
        return Settings(
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


class _Connections:
    """What one process has open. After a fork the child begins with none of its own."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self.listed: set[str] = set()
        self.time = BrokerTime()
        self.blocking: Transport | None = None
        self.awaiting = PerLoop(Transport.close)


class BaseRedisBroker:
    """A broker on Redis servers, 6.2 or later (see asynq.protocol.broker.Broker).

    Nothing is connected before the first operation. A request that was surely not applied, or that can be
    sent twice without harm, is sent again for `budget`; after that, and at most the two timeouts later, the
    call ends with BrokerUnavailable.
    """

    _config: Config
    _connections_here: _Connections

    def _start(self, config: Config) -> None:
        self._config = config
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
        return evolve(CAPABILITIES, durability=durability, max_value_bytes=config.max_value_bytes)

    @property
    def clock(self) -> Clock | None:
        """See Broker."""
        return self._config.clock

    def execute(self, op: Op[T], /) -> T:
        """See Broker."""
        answer: T = unwrap(self.execute_many([op])[0])
        return answer

    def execute_many(self, ops: Sequence[Op[T]], /) -> list[T | AsynqError]:
        """See Broker."""
        return completed(self._carry_out(self._blocking(), ops))

    def close(self) -> None:
        """See Broker."""
        here = self._connections()
        transport, here.blocking = here.blocking, None
        if transport is not None:
            completed(transport.close())
        here.awaiting.drop_closed()

    async def aexecute(self, op: Op[T], /) -> T:
        """See Broker."""
        answer: T = unwrap((await self.aexecute_many([op]))[0])
        return answer

    async def aexecute_many(self, ops: Sequence[Op[T]], /) -> list[T | AsynqError]:
        """See Broker."""
        return await self._carry_out(self._awaiting(), ops)

    async def aclose(self) -> None:
        """See Broker."""
        await self._connections().awaiting.aclose()

    def listener(self) -> Listener:
        """See Broker."""
        config = self._config
        if config.endpoint.kind == "single":
            return RedisListener(config.endpoint.addresses[0], config.settings, _rng())
        return SpreadListener(self._awaiting().topology, config.settings, _rng())

    def watcher(self) -> Watcher:
        """See Broker."""
        return RedisWatcher(self._home, self._config.settings)

    async def _home(self, queue: str) -> Address | None:
        """The server that holds the queue now, None while none does."""
        homes = await self._awaiting().topology.homes([queue])
        return next((address for address, queues in homes.items() if queue in queues), None)

    async def _carry_out(self, transport: Transport, ops: Sequence[Op[T]]) -> list[T | AsynqError]:
        refused = [too_large(op, self._config.max_value_bytes) for op in ops]
        if not any(refused):
            return await self._send(transport, ops)
        sent = await self._send(transport, [op for op, no in zip(ops, refused, strict=True) if no is None])
        answers = iter(sent)
        return [next(answers) if no is None else no for no in refused]

    async def _send(self, transport: Transport, ops: Sequence[Op[T]]) -> list[T | AsynqError]:
        apart = self._config.endpoint.kind == "cluster"
        here = self._connections()
        env = Env(clock=self._config.clock, apart=apart, listed=here.listed, time=here.time)
        batch = Batch(ops, env)
        resend = all(op.idempotent for op in ops)
        first = True
        while requests := batch.requests:
            try:
                replies = await transport.send(requests, resend=resend, resent=env.resent)
            except BrokerUnavailable as error:
                changes = not all(op.read_only for op in ops)
                error.maybe_applied = changes and (error.maybe_applied or not first)
                raise
            batch.feed(replies)
            first = False
        return [
            faults.answer(op, answer) if isinstance(answer, RedisError) else answer
            for op, answer in zip(ops, batch.answers, strict=True)
        ]

    def _blocking(self) -> Transport:
        here = self._connections()
        with here.lock:
            if here.blocking is None:
                here.blocking = self._transport(Blocking())
            return here.blocking

    def _awaiting(self) -> Transport:
        return self._connections().awaiting.get(lambda: self._transport(Awaiting()))

    def _connections(self) -> _Connections:
        if self._connections_here.pid != os.getpid():
            self._connections_here = _Connections()
        return self._connections_here

    def _transport(self, face: Face) -> Transport:
        config, rng = self._config, _rng()
        budget = config.budget.total_seconds()
        return Transport(
            face,
            _topology(config, face, rng),
            config.settings,
            patience=lambda: Patience(budget, time.monotonic, rng),
        )


def _topology(config: Config, face: Face, rng: random.Random) -> Topology:
    endpoint, settings = config.endpoint, config.settings
    if endpoint.kind == "sentinel":
        as_whom = {"username": endpoint.sentinel_username, "password": endpoint.sentinel_password}
        asking = scouting(settings, db=0, **as_whom)
        return Sentinel(endpoint.addresses, endpoint.master, face, asking, remap=config.address_remap)
    if endpoint.kind == "cluster":
        return Cluster(endpoint.addresses, face, scouting(settings), remap=config.address_remap, rng=rng)
    return Single(endpoint.addresses[0])


def _rng() -> random.Random:
    return random.Random()  # noqa: S311 - it spreads retries, it guards nothing


def _rebuilt(kind: type[BaseRedisBroker], config: Config) -> BaseRedisBroker:
    broker = kind.__new__(kind)
    broker._start(config)  # noqa: SLF001 - the other half of __reduce__
    return broker
