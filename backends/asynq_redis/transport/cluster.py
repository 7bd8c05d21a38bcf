"""Redis Cluster: every queue lives in one slot, every slot on one primary, and slots move."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import redis
from redis.crc import key_slot

from asynq.errors import BrokerRefusedError
from asynq.runtime.logs import get_logger
from asynq_redis.transport import faults
from asynq_redis.transport.node import Node
from asynq_redis.transport.requests import Command
from asynq_redis.url import Address
from asynq_redis.wire.keys import QUEUES, QueueKeys

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from asynq.runtime.per_loop import LoopState
    from asynq_redis.transport.io import Face, Settings
    from asynq_redis.transport.requests import Arg, Request

SLOTS = 16384

LOOK_EVERY = 30.0
"""Seconds after which the slots are looked up again although nobody complained."""
LOOK_AGAIN = 0.1
"""Least seconds between two looks while servers are in trouble."""

DOUBTFUL = 10.0
"""Seconds for which a server that was in trouble is the last to be asked where the others are."""

logger = get_logger("asynq.redis")


class Cluster:
    """See Topology. Remembers who has which slot; a MOVED corrects one, trouble makes it ask for all."""

    def __init__(
        self,
        seeds: Sequence[Address],
        face: Face,
        settings: Settings,
        *,
        remap: Mapping[tuple[str, int], tuple[str, int]],
        monotonic: Callable[[], float] = time.monotonic,
        rng: random.Random,
    ) -> None:
        self._seeds = tuple(seeds)
        self._face = face
        self._settings = settings
        self._remap = remap
        self._monotonic = monotonic
        self._rng = rng
        self._asking = face.semaphore(1)
        self._owners: list[Address | None] = [None] * SLOTS
        self._primaries: tuple[Address, ...] = ()
        self._doubted: dict[Address, float] = {}
        """When a server was last in trouble."""
        self._look_at = 0.0
        self._looked_at = -LOOK_AGAIN

    @property
    def shards(self) -> int:
        """See Topology."""
        return len(self._primaries)

    async def locate(self, requests: Sequence[Request]) -> list[tuple[Address, list[int]]]:
        """See Topology. A request without a key or slot goes to a primary that is not in trouble."""
        await self._look()
        places: dict[Address, list[int]] = {}
        for place, request in enumerate(requests):
            owner = self._owner(request)
            if owner is not None:
                places.setdefault(owner, []).append(place)
        return list(places.items())

    async def homes(self, queues: Iterable[str]) -> dict[Address, list[str]]:
        """See Topology. Without queues, one server that tells of what all are told."""
        await self._look()
        homes: dict[Address, list[str]] = {}
        for queue in queues:
            owner = self._owners[slot_of(QueueKeys(queue).pending)]
            if owner is not None:
                homes.setdefault(owner, []).append(queue)
        anyone = self._anyone()
        return homes or ({anyone: []} if anyone else {})

    def doubt(self, address: Address) -> None:
        """See Topology."""
        self._doubted[address] = self._monotonic()
        self._look_at = 0.0

    def misrouted(self, reply: redis.RedisError) -> bool:
        """See Topology."""
        if faults.code(reply) != "MOVED" or not isinstance(reply, redis.exceptions.MovedError):
            return False
        if reply.host:
            self._owners[reply.slot_id] = self._address(reply.host, reply.port)
        self._look_at = min(self._look_at, self._looked_at + 1.0)
        return True

    async def close(self) -> None:
        """See Topology: it holds nothing."""

    def drop(self, loop: LoopState) -> None:
        """See Topology: it holds nothing."""

    def _owner(self, request: Request) -> Address | None:
        slot = request.slot if request.key is None else slot_of(request.key)
        return self._anyone() if slot is None else self._owners[slot]

    def _anyone(self) -> Address | None:
        calm = [address for address in self._primaries if not self._in_doubt(address)]
        first = self._owners[slot_of(QUEUES)]
        return first if first in calm else next(iter(calm or self._primaries), None)

    def _in_doubt(self, address: Address) -> bool:
        return self._monotonic() < self._doubted.get(address, -DOUBTFUL) + DOUBTFUL

    async def _look(self) -> None:
        if not self._due():
            return
        await self._face.wait(self._asking.acquire())
        try:
            # Others may have looked while this one waited.
            if self._due():
                await self._ask()
        finally:
            self._asking.release()

    def _due(self) -> bool:
        now = self._monotonic()
        return now >= self._look_at and now >= self._looked_at + LOOK_AGAIN

    async def _ask(self) -> None:
        """Take the word of the first server that gives one; the nodes to begin with are never forgotten."""
        refusal: BrokerRefusedError | None = None
        for address in self._whom_to_ask():
            ranges = await self._ranges(address)
            if isinstance(ranges, BrokerRefusedError):
                refusal = ranges
            elif ranges:
                self._learn(ranges, address)
                return
        self._looked_at = self._monotonic()
        if refusal is not None and not self._primaries:
            raise refusal

    def _whom_to_ask(self) -> Iterator[Address]:
        asked = [*self._rng.sample(self._primaries, len(self._primaries)), *self._seeds]
        yield from sorted(dict.fromkeys(asked), key=self._in_doubt)

    async def _ranges(self, address: Address) -> list[Any] | BrokerRefusedError | None:
        scout = Node(self._face, address, self._settings)
        exchange = await scout.exchange([Command(("CLUSTER", "SLOTS"))])
        await scout.close()
        if exchange.error is not None:
            return None
        [reply] = exchange.replies
        if not isinstance(reply, redis.RedisError):
            ranges: list[Any] = reply
            return ranges
        if faults.not_now(reply):
            return None
        return BrokerRefusedError(f"{address}: it is no node of a Redis Cluster that may be asked: {reply}")

    def _learn(self, ranges: list[Any], teller: Address) -> None:
        owners: list[Address | None] = [None] * SLOTS
        for first, last, primary, *_ in ranges:
            host = primary[0].decode() if primary[0] else teller.host
            owner = self._address(host, primary[1]) if primary[0] else Address(host, primary[1])
            owners[first : last + 1] = [owner] * (last + 1 - first)
        primaries = tuple(sorted({owner for owner in owners if owner}, key=str))
        if set(primaries) != set(self._primaries):
            logger.info("the primaries of the cluster are %s", ", ".join(map(str, primaries)))
        self._owners, self._primaries = owners, primaries
        # A server in trouble that is still said to be a primary may be about to be replaced.
        troubled = any(map(self._in_doubt, primaries))
        self._looked_at = self._monotonic()
        self._look_at = self._looked_at + (1.0 if troubled else LOOK_EVERY)

    def _address(self, host: str, port: int) -> Address:
        return Address(*self._remap.get((host, port), (host, port)))


def slot_of(key: Arg) -> int:
    """The slot a key lies in."""
    raw = key if isinstance(key, bytes) else str(key).encode()
    slot: int = key_slot(raw)
    return slot
