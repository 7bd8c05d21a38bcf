"""Routing on a Redis Cluster. Each queue is in one slot, and slots can move between primaries."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import redis
from redis.crc import key_slot

from asynq.errors import BrokerRefusedError
from asynq.runtime.logs import get_logger
from asynq_redis.transport import redis_errors
from asynq_redis.transport.connection_pool import ConnectionPool
from asynq_redis.transport.requests import Command
from asynq_redis.url import Address
from asynq_redis.wire.keys import ALL_QUEUES, QueueKeys

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from asynq.runtime.loop_local import LoopState
    from asynq_redis.transport.io import ConnectionIO, ConnectionSettings
    from asynq_redis.transport.requests import Arg, Request

SLOTS = 16384

REFRESH_INTERVAL = 30.0
"""Seconds after which the slot map is refreshed although no request failed."""
MIN_REFRESH_INTERVAL = 0.1
"""Minimum seconds between two refreshes while servers fail."""

SUSPECT_TIMEOUT = 10.0
"""Seconds after a failure for which a server is the last one to be asked for the slot map."""

logger = get_logger("asynq.redis")


class ClusterRouter:
    """See Router. Caches the slot map. A MOVED reply corrects one slot; a failure refreshes the whole map."""

    def __init__(
        self,
        seeds: Sequence[Address],
        io: ConnectionIO,
        settings: ConnectionSettings,
        *,
        remap: Mapping[tuple[str, int], tuple[str, int]],
        monotonic: Callable[[], float] = time.monotonic,
        rng: random.Random,
    ) -> None:
        self._seeds = tuple(seeds)
        self._io = io
        self._settings = settings
        self._remap = remap
        self._monotonic = monotonic
        self._rng = rng
        self._refreshing = io.semaphore(1)
        self._owners: list[Address | None] = [None] * SLOTS
        self._primaries: tuple[Address, ...] = ()
        self._suspects: dict[Address, float] = {}
        """Monotonic time of the last failure of a server."""
        self._refresh_at = 0.0
        self._refreshed_at = -MIN_REFRESH_INTERVAL

    @property
    def shards(self) -> int:
        """See Router."""
        return len(self._primaries)

    @property
    def primary(self) -> None:
        """See Router. Each shard has one."""
        return

    @property
    def sentinels(self) -> dict[Address, bool]:
        """See Router. There are none."""
        return {}

    async def route(self, requests: Sequence[Request]) -> list[tuple[Address, list[int]]]:
        """See Router. A request without a key or slot goes to a primary that has not failed recently."""
        await self._refresh_if_due()
        places: dict[Address, list[int]] = {}
        for place, request in enumerate(requests):
            owner = self._owner(request)
            if owner is not None:
                places.setdefault(owner, []).append(place)
        return list(places.items())

    async def servers_of(self, queues: Iterable[str]) -> dict[Address, list[str]]:
        """See Router. Without queues, one primary: cluster-wide messages reach every server."""
        await self._refresh_if_due()
        homes: dict[Address, list[str]] = {}
        for queue in queues:
            owner = self._owners[slot_of(QueueKeys(queue).pending)]
            if owner is not None:
                homes.setdefault(owner, []).append(queue)
        anyone = self._any_primary()
        return homes or ({anyone: []} if anyone else {})

    def suspect(self, address: Address) -> None:
        """See Router."""
        self._suspects[address] = self._monotonic()
        self._refresh_at = 0.0

    def redirected(self, reply: redis.RedisError) -> bool:
        """See Router."""
        moved = redis_errors.moved(reply)
        if moved is None:
            return False
        slot, host, port = moved
        if host:
            self._owners[slot] = self._address(host, port)
        self._refresh_at = min(self._refresh_at, self._refreshed_at + 1.0)
        return True

    async def close(self) -> None:
        """See Router. It keeps no connections."""

    def drop(self, loop: LoopState) -> None:
        """See Router. It keeps no connections."""

    def _owner(self, request: Request) -> Address | None:
        slot = request.slot if request.key is None else slot_of(request.key)
        return self._any_primary() if slot is None else self._owners[slot]

    def _any_primary(self) -> Address | None:
        healthy = [address for address in self._primaries if not self._is_suspect(address)]
        first = self._owners[slot_of(ALL_QUEUES)]
        return first if first in healthy else next(iter(healthy or self._primaries), None)

    def _is_suspect(self, address: Address) -> bool:
        return self._monotonic() < self._suspects.get(address, -SUSPECT_TIMEOUT) + SUSPECT_TIMEOUT

    async def _refresh_if_due(self) -> None:
        if not self._is_due():
            return
        await self._io.wait(self._refreshing.acquire())
        try:
            # Another caller may have refreshed it meanwhile.
            if self._is_due():
                await self._refresh()
        finally:
            self._refreshing.release()

    def _is_due(self) -> bool:
        now = self._monotonic()
        return now >= self._refresh_at and now >= self._refreshed_at + MIN_REFRESH_INTERVAL

    async def _refresh(self) -> None:
        """Take the slot map of the first server that has one. The configured nodes are always asked too."""
        refusal: BrokerRefusedError | None = None
        for address in self._discovery_order():
            ranges = await self._slot_ranges(address)
            if isinstance(ranges, BrokerRefusedError):
                refusal = ranges
            elif ranges:
                self._learn(ranges, address)
                return
        self._refreshed_at = self._monotonic()
        if refusal is not None and not self._primaries:
            raise refusal

    def _discovery_order(self) -> Iterator[Address]:
        asked = [*self._rng.sample(self._primaries, len(self._primaries)), *self._seeds]
        yield from sorted(dict.fromkeys(asked), key=self._is_suspect)

    async def _slot_ranges(self, address: Address) -> list[Any] | BrokerRefusedError | None:
        scout = ConnectionPool(self._io, address, self._settings)
        exchange = await scout.exchange([Command(("CLUSTER", "SLOTS"))])
        await scout.close()
        if exchange.error is not None:
            return None
        [reply] = exchange.replies
        if not isinstance(reply, redis.RedisError):
            ranges: list[Any] = reply
            return ranges
        if redis_errors.unavailable_for_now(reply):
            return None
        return BrokerRefusedError(f"{address}: it is not a usable node of a Redis Cluster: {reply}")

    def _learn(self, ranges: list[Any], source: Address) -> None:
        owners: list[Address | None] = [None] * SLOTS
        for first, last, primary, *_ in ranges:
            host = primary[0].decode() if primary[0] else source.host
            owner = self._address(host, primary[1]) if primary[0] else Address(host, primary[1])
            owners[first : last + 1] = [owner] * (last + 1 - first)
        primaries = tuple(sorted({owner for owner in owners if owner}, key=str))
        if set(primaries) != set(self._primaries):
            logger.info("the primaries of the cluster are %s", ", ".join(map(str, primaries)))
        self._owners, self._primaries = owners, primaries
        # A failing server that is still listed as a primary may be about to be replaced.
        any_suspect = any(map(self._is_suspect, primaries))
        self._refreshed_at = self._monotonic()
        self._refresh_at = self._refreshed_at + (1.0 if any_suspect else REFRESH_INTERVAL)

    def _address(self, host: str, port: int) -> Address:
        return Address(*self._remap.get((host, port), (host, port)))


def slot_of(key: Arg) -> int:
    """The slot of a key."""
    raw = key if isinstance(key, bytes) else str(key).encode()
    slot: int = key_slot(raw)
    return slot
