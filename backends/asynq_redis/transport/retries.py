"""Retries: send requests until they are answered or the retry budget is spent."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from asynq.runtime.backoff import Backoff
from asynq_redis.transport import redis_errors
from asynq_redis.transport.connection_pool import ConnectionPool
from asynq_redis.transport.large_requests import (
    LIMIT_QUERIES,
    MAX_CLOSED_ATTEMPTS,
    MAX_WRITE_REQUESTS,
    exceeded,
    is_large,
    writes,
)
from asynq_redis.transport.pending_requests import PendingRequests
from asynq_redis.wire.sizes import LARGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from asynq.runtime.loop_local import LoopState
    from asynq_redis.transport.connection_pool import Exchange
    from asynq_redis.transport.io import ConnectionIO, ConnectionSettings
    from asynq_redis.transport.requests import Reply, Request
    from asynq_redis.transport.routing import Router
    from asynq_redis.url import Address

SLOT_MIGRATION_TIMEOUT = 30.0
"""Minimum seconds to keep trying while a slot moves from one server to another."""
FAIL_FAST_TIMEOUT = 0.5
"""Seconds that fail-fast requests wait for a failing server."""
MIN_COOLDOWN, MAX_COOLDOWN = 1.0, 10.0
"""Seconds for which fail-fast and best-effort requests skip a server that has failed twice in a row.

The cooldown doubles with each further failure, up to the maximum.
"""

IDLE_CONNECTION_TIMEOUT = 30.0
"""Seconds after which an idle connection is closed."""

NOT_PRIMARY_CODES = frozenset({"READONLY", "MASTERDOWN", "NOREPLICAS", "CLUSTERDOWN"})
"""Error codes of a server that is not the primary, or that is about to be replaced."""


class RetryBudget:
    """The pauses between the attempts of one call: growing, jittered, within a total time since `began`."""

    def __init__(self, budget: float, began: float, monotonic: Callable[[], float], rng: Random) -> None:
        self._monotonic = monotonic
        self._budget = budget
        self._began = began
        self._backoff = Backoff(rng, first=0.02, cap=1.0)

    def pause(self, *, at_least: float = 0.0, at_most: float = math.inf) -> float | None:
        """Return the seconds to wait before the next attempt, or None if the budget is spent.

        `at_least` and `at_most` bound the budget in seconds.
        """
        budget = min(max(self._budget, at_least), at_most)
        left = self._began + budget - self._monotonic()
        return min(self._backoff.pause(), left) if left > 0 else None


class Transport:
    """Sends requests for one side of a broker, blocking or async."""

    def __init__(
        self,
        io: ConnectionIO,
        router: Router,
        settings: ConnectionSettings,
        *,
        retry_budget: Callable[[float], RetryBudget],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.router = router
        self._io = io
        self._settings = settings
        self._retry_budget = retry_budget
        self._monotonic = monotonic
        self._pools: dict[Address, ConnectionPool] = {}
        self._failing: dict[Address, tuple[int, float]] = {}
        """Number of failures in a row of each server, and the time of the last one."""
        self._trim_at = 0.0

    async def send(
        self, requests: Sequence[Request], *, resend: bool, resent: dict[int, Request] | None = None
    ) -> list[Reply]:
        """Return the reply to each request, in order. A reply may be the error that the server answered with.

        A request that was certainly not applied is sent again until the retry budget is spent. When several
        servers are asked and only some answer, a redis_errors.NoAnswer takes the place of each missing reply.

        Args:
            requests: What to send.
            resend: Also send requests again that may have been applied.
            resent: Receives, keyed by identity, the requests that were sent again and whose first copy may
                have been applied.

        Raises:
            BrokerUnavailable: No server answered all requests that it was sent.
        """
        began = self._monotonic()
        if began >= self._trim_at:
            self._trim(began)
        located = await self.router.route(requests)
        address = self._only_server(located, requests)
        if address is not None:
            exchange = await (self._pools.get(address) or self._pool(address)).exchange(requests)
            if exchange.error is None and not exchange.refused and exchange.confirmed is None:
                return exchange.replies
        # Everything that only trouble needs begins here.
        fail_fast = self.router.shards > 1 and any(request.fail_fast for request in requests)
        replicas = self._settings.min_replicas
        pending = PendingRequests(requests, fail_fast=fail_fast, min_replicas=replicas, resend=resend)
        if address is None:
            await self._serve_all(located, pending)
        elif await self._conclude(exchange, address, pending, list(pending.waiting)):
            pending.answered = True
        if pending.waiting:
            await self._repeat(pending, began)
        replies = pending.final_replies()
        if resent is not None:
            resent.update({id(request): request for request in pending.resent()})
        return replies

    async def _repeat(self, pending: PendingRequests, began: float) -> None:
        """Send what is unanswered until it is answered, or the budget of the call is spent."""
        budget, fail_fast_budget = self._retry_budget(began), self._retry_budget(began)
        while pending.waiting:
            if pending.unknown and not pending.resend:
                raise pending.unavailable()
            if pending.trouble:
                if pending.skipped.issuperset(pending.waiting):
                    pause = None
                elif pending.fails_fast:
                    pause = fail_fast_budget.pause(at_most=FAIL_FAST_TIMEOUT)
                else:
                    pause = budget.pause(at_least=SLOT_MIGRATION_TIMEOUT if pending.slot_migrating else 0.0)
                if pause is None:
                    return
                await self._io.sleep(pause)
            waiting = list(pending.waiting)
            located = await self.router.route([pending.requests[at] for at in waiting])
            shares = [(address, [waiting[place] for place in places]) for address, places in located]
            pending.begin_attempt()
            await self._serve_all(shares, pending)

    async def close(self) -> None:
        """Close all connections."""
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            await pool.close()
        await self.router.close()

    def drop(self, loop: LoopState) -> None:
        """Close all connections without waiting. See asynq.runtime.loop_local.Droppable."""
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.drop(loop)
        self.router.drop(loop)

    def _only_server(
        self, located: Sequence[tuple[Address, list[int]]], requests: Sequence[Request]
    ) -> Address | None:
        """The server that gets all requests in one write, as nearly always. None if there is more to it."""
        if self._failing or len(located) != 1 or len(requests) > MAX_WRITE_REQUESTS:
            return None
        [(address, places)] = located
        several, size = self.router.shards > 1, 0
        for request in requests:
            size += request.size
            if request.best_effort or (several and request.fail_fast):
                return None
        return address if size <= LARGE_BYTES and len(places) == len(requests) else None

    async def _serve_all(self, shares: Sequence[tuple[Address, list[int]]], pending: PendingRequests) -> None:
        """Send the waiting requests once, to all servers concurrently."""
        if sum(len(share) for _, share in shares) < len(pending.waiting):
            pending.trouble = "no server is known for the request"
        if shares:
            await self._io.gather([self._serve(address, pending, share) for address, share in shares])

    def _trim(self, now: float) -> None:
        """Close connections that have been idle for IDLE_CONNECTION_TIMEOUT."""
        self._trim_at = now + IDLE_CONNECTION_TIMEOUT / 4
        for pool in list(self._pools.values()):
            pool.trim(now - IDLE_CONNECTION_TIMEOUT)

    async def _serve(self, address: Address, pending: PendingRequests, share: list[int]) -> None:
        """Send the requests of one server. Stop early if the server fails."""
        fail_fast = pending.fail_fast or all(pending.requests[at].best_effort for at in share)
        if fail_fast and self._is_cooling_down(address):
            pending.trouble = f"{address}: it has just failed"
            pending.skipped.update(share)
            return
        limit = FAIL_FAST_TIMEOUT if fail_fast else math.inf
        for part in writes(pending.requests, share):
            if is_large(pending.requests[part[0]]):
                answered = await self._send_large(address, pending, part[0])
            else:
                answered = await self._exchange(address, pending, part, limit)
            if not answered:
                return
        pending.answered = pending.answered or pending.waiting.keys().isdisjoint(share)

    async def _send_large(self, address: Address, pending: PendingRequests, at: int) -> bool:
        """Send a large request alone. Returns False if it is still unanswered, as `_exchange` does.

        A request that exceeds a limit of its server gets a TooLarge error as its reply.
        """
        request = pending.requests[at]
        for attempt in range(1, MAX_CLOSED_ATTEMPTS + 1):
            answered = await self._exchange(address, pending, [at], math.inf)
            told = answered and redis_errors.protocol_error(pending.replies[at])
            if answered and not told:
                if redis_errors.out_of_memory(pending.replies[at]):
                    # The server keeps the part it has read in memory until this connection is closed.
                    self._pool(address).reset()
                return True
            if not answered and at not in pending.closed:
                return False
            asked = await self._pool(address).exchange(LIMIT_QUERIES)
            limit = 0 if asked.error else exceeded(request, asked.replies)
            if told or limit or (attempt == MAX_CLOSED_ATTEMPTS and not asked.error):
                surely = bool(told or limit)
                pending.refuse(at, redis_errors.TooLarge(request.size, limit, maybe_applied=not surely))
                self._failing.pop(address, None)
                return True
            if asked.error or not pending.resend:
                return False
        return False

    def _pool(self, address: Address) -> ConnectionPool:
        return self._pools.get(address) or self._pools.setdefault(
            address, ConnectionPool(self._io, address, self._settings, monotonic=self._monotonic)
        )

    async def _exchange(
        self, address: Address, pending: PendingRequests, share: list[int], limit: float
    ) -> bool:
        """Send requests in one write. Returns False if some of them are still unanswered."""
        exchange = await self._pool(address).exchange(
            [pending.requests[at] for at in share],
            in_full=frozenset(place for place, at in enumerate(share) if at in pending.unknown_scripts),
            limit=limit,
        )
        return await self._conclude(exchange, address, pending, share)

    async def _conclude(
        self, exchange: Exchange, address: Address, pending: PendingRequests, share: list[int]
    ) -> bool:
        """Record the outcome of sending some requests. Returns False if some of them are still unanswered."""
        codes = pending.absorb(share, exchange, address, self.router.redirected)
        stale = not NOT_PRIMARY_CODES.isdisjoint(codes)
        if stale or exchange.error is not None:
            self.router.suspect(address)
            self._pool(address).reset()
        if exchange.error is None:
            self._failing.pop(address, None)
        else:
            failures, _ = self._failing.get(address, (0, 0.0))
            self._failing[address] = (failures + 1, self._monotonic())
        return not codes and exchange.error is None

    def _is_cooling_down(self, address: Address) -> bool:
        """Whether to skip the server now. After the cooldown it is False for one caller, the probe."""
        failures, last = self._failing.get(address, (0, 0.0))
        if failures < 2:
            return False
        if self._monotonic() < last + min(MIN_COOLDOWN * 2.0 ** (failures - 2), MAX_COOLDOWN):
            return True
        self._failing[address] = (failures, self._monotonic())
        return False
