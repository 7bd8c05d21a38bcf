"""Sending rounds of requests until they are answered: how often, how long, and when to give up."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from asynq.runtime.backoff import Backoff
from asynq_redis.transport import faults
from asynq_redis.transport.attempt import Round
from asynq_redis.transport.large_requests import CLOSED_TIMES, LIMITS, bytes_of, exceeded, is_large, writes
from asynq_redis.transport.node import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from asynq.runtime.per_loop import LoopState
    from asynq_redis.transport.io import Face, Settings
    from asynq_redis.transport.requests import Reply, Request
    from asynq_redis.transport.topology import Topology
    from asynq_redis.url import Address

MOTION = 30.0
"""Seconds to keep trying at least while a key's slot is moving from one server to another."""
GRACE = 0.5
"""Seconds a round in a hurry waits for servers in trouble while others have answered."""
SUSPECT, SUSPECT_MOST = 1.0, 10.0
"""Seconds for which a server that has failed twice in a row is left alone by rounds in a hurry and by what is
optional; twice as many with each further failure."""

KEEP = 30.0
"""Seconds for which a connection is kept that is not needed."""

STALE = frozenset({"READONLY", "MASTERDOWN", "NOREPLICAS", "CLUSTERDOWN"})
"""Error codes of a server that is not, or will not long be, the primary."""


class Patience:
    """When to try again: after growing, jittered pauses, within a budget of time."""

    def __init__(self, budget: float, monotonic: Callable[[], float], rng: Random) -> None:
        self._monotonic = monotonic
        self._budget = budget
        self._began = monotonic()
        self._backoff = Backoff(rng, first=0.02, cap=1.0)

    def pause(self, *, at_least: float = 0.0, at_most: float = math.inf) -> float | None:
        """Seconds to wait before the next try; None when the budget is spent, however it is stretched."""
        budget = min(max(self._budget, at_least), at_most)
        left = self._began + budget - self._monotonic()
        return min(self._backoff.pause(), left) if left > 0 else None


class Transport:
    """Sends rounds over one face of a broker."""

    def __init__(
        self,
        face: Face,
        topology: Topology,
        settings: Settings,
        *,
        patience: Callable[[], Patience],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.topology = topology
        self._face = face
        self._settings = settings
        self._patience = patience
        self._monotonic = monotonic
        self._nodes: dict[Address, Node] = {}
        self._failing: dict[Address, tuple[int, float]] = {}
        """How often in a row a server has failed, and when last."""
        self._trim_at = 0.0

    async def send(
        self, requests: Sequence[Request], *, resend: bool, resent: dict[int, Request] | None = None
    ) -> list[Reply]:
        """The reply to each request, in order; a reply may be an error the server answered with.

        What was surely not applied is sent again until the budget is spent; what may have been applied, only
        if `resend` allows it. Where several servers are asked and only some answer, faults.NoAnswer stands
        for the other replies; BrokerUnavailable when no server answered all it was asked. `resent` is given
        the requests, by identity, whose reply is that of a copy and whose first copy may have been applied.
        """
        prompt = self.topology.shards > 1 and any(request.prompt for request in requests)
        replicas = self._settings.min_replicas
        round_ = Round(requests, prompt=prompt, min_replicas=replicas, resend=resend)
        patience, spare = self._patience(), self._patience()
        while round_.waiting:
            await self._pass(round_)
            if round_.unknown and not resend:
                raise round_.unavailable()
            if not round_.trouble:
                continue
            if round_.left_alone.issuperset(round_.waiting):
                pause = None
            elif round_.in_a_hurry:
                pause = spare.pause(at_most=GRACE)
            else:
                pause = patience.pause(at_least=MOTION if round_.in_motion else 0.0)
            if pause is None:
                break
            await self._face.pause(pause)
        replies = round_.given_up()
        if resent is not None:
            resent.update({id(request): request for request in round_.resent()})
        return replies

    async def close(self) -> None:
        """Free all connections."""
        nodes, self._nodes = self._nodes, {}
        for node in nodes.values():
            await node.close()
        await self.topology.close()

    def drop(self, loop: LoopState) -> None:
        """`close`, without waiting; see asynq.runtime.per_loop."""
        nodes, self._nodes = self._nodes, {}
        for node in nodes.values():
            node.drop(loop)
        self.topology.drop(loop)

    async def _pass(self, round_: Round) -> None:
        """Send what waits, once, to all servers at the same time."""
        round_.begin_pass()
        waiting = list(round_.waiting)
        located = await self.topology.locate([round_.requests[at] for at in waiting])
        shares = [(address, [waiting[place] for place in places]) for address, places in located]
        if sum(len(share) for _, share in shares) < len(waiting):
            round_.trouble = "no server is known to be in charge"
        await self._trim()
        if shares:
            await self._face.together([self._serve(address, round_, share) for address, share in shares])

    async def _trim(self) -> None:
        """Servers that have lost their part and peaks that are over leave no connections behind for long."""
        now = self._monotonic()
        if now >= self._trim_at:
            self._trim_at = now + KEEP / 4
            for node in list(self._nodes.values()):
                await node.trim(now - KEEP)

    async def _serve(self, address: Address, round_: Round, share: list[int]) -> None:
        """Send one server its share; end early when it is in trouble."""
        hurry = round_.prompt or all(round_.requests[at].optional for at in share)
        if hurry and self._is_suspect(address):
            round_.trouble = f"{address}: it has just failed"
            round_.left_alone.update(share)
            return
        limit = GRACE if hurry else math.inf
        for part in writes(round_.requests, share):
            if is_large(round_.requests[part[0]]):
                answered = await self._send_large(address, round_, part[0])
            else:
                answered = await self._exchange(address, round_, part, limit)
            if not answered:
                return
        round_.answered = round_.answered or round_.waiting.keys().isdisjoint(share)

    async def _send_large(self, address: Address, round_: Round, at: int) -> bool:
        """Send a large request alone; False as `_exchange`. One its server will never take is answered so."""
        request = round_.requests[at]
        for attempt in range(1, CLOSED_TIMES + 1):
            answered = await self._exchange(address, round_, [at], math.inf)
            told = answered and faults.protocol_error(round_.replies[at])
            if answered and not told:
                if faults.no_room(round_.replies[at]):
                    # What the server has read of it takes up room as long as this connection is open.
                    await self._node(address).reset()
                return True
            if not answered and at not in round_.closed:
                return False
            asked = await self._node(address).exchange(LIMITS)
            limit = 0 if asked.error else exceeded(request, asked.replies)
            if told or limit or (attempt == CLOSED_TIMES and not asked.error):
                surely = bool(told or limit)
                round_.refuse(at, faults.TooLarge(bytes_of(request), limit, maybe_applied=not surely))
                self._failing.pop(address, None)
                return True
            if asked.error or not round_.resend:
                return False
        return False

    def _node(self, address: Address) -> Node:
        return self._nodes.get(address) or self._nodes.setdefault(
            address, Node(self._face, address, self._settings, monotonic=self._monotonic)
        )

    async def _exchange(self, address: Address, round_: Round, share: list[int], limit: float) -> bool:
        """False when it left requests waiting."""
        node = self._node(address)
        exchange = await node.exchange(
            [round_.requests[at] for at in share],
            in_full=frozenset(place for place, at in enumerate(share) if at in round_.unknown_scripts),
            limit=limit,
        )
        codes = round_.absorb(share, exchange, address, self.topology.misrouted)
        stale = not STALE.isdisjoint(codes)
        if stale or exchange.error is not None:
            self.topology.doubt(address)
            await node.reset()
        if exchange.error is None:
            self._failing.pop(address, None)
        else:
            failures, _ = self._failing.get(address, (0, 0.0))
            self._failing[address] = (failures + 1, self._monotonic())
        return not codes and exchange.error is None

    def _is_suspect(self, address: Address) -> bool:
        """True if it is to be left alone now; false to one caller at a time, who is to find out."""
        failures, last = self._failing.get(address, (0, 0.0))
        if failures < 2:
            return False
        if self._monotonic() < last + min(SUSPECT * 2.0 ** (failures - 2), SUSPECT_MOST):
            return True
        self._failing[address] = (failures, self._monotonic())
        return False
