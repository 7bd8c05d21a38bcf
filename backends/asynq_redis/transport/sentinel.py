"""Routing behind Redis Sentinel. The sentinels are asked for the primary regularly."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import redis
from attrs import frozen

from asynq.errors import BrokerRefusedError
from asynq.runtime.logs import get_logger
from asynq_redis.transport import redis_errors
from asynq_redis.transport.connection_pool import ConnectionPool
from asynq_redis.transport.requests import Command
from asynq_redis.url import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from asynq.runtime.loop_local import LoopState
    from asynq_redis.transport.io import ConnectionIO, ConnectionSettings
    from asynq_redis.transport.requests import Request

CONFIRM_INTERVAL = 1.0
"""Seconds after which the sentinels are asked again for the primary.

A former primary that was only paused keeps accepting writes for up to 10 s, until a sentinel demotes it.
These writes are lost. A client that asks every second leaves the former primary after one second.
"""

SUSPECT_TIMEOUT = 10.0
"""Seconds for which a sentinel that did not answer is asked only if no other sentinel answers."""

logger = get_logger("asynq.redis")


@frozen
class _Report:
    """The answer of one sentinel."""

    primary: Address
    epoch: int
    """Configuration epoch. It grows with each failover."""


class SentinelRouter:
    """See Router. All sentinels are asked at the same time, and the newest report counts.

    One of them may be cut off from the others, and go on naming a primary that has long been replaced.
    """

    shards = 1

    def __init__(
        self,
        sentinels: Sequence[Address],
        master: str,
        io: ConnectionIO,
        settings: ConnectionSettings,
        *,
        remap: Mapping[tuple[str, int], tuple[str, int]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sentinels = [ConnectionPool(io, address, settings) for address in sentinels]
        self._master = master
        self._io = io
        self._remap = remap
        self._monotonic = monotonic
        self._confirming = io.semaphore(1)
        self._known: _Report | None = None
        self._confirm_at = 0.0
        self._unresponsive: dict[Address, float] = {}
        """Monotonic time at which a sentinel did not answer."""
        self._refusals: dict[Address, BrokerRefusedError] = {}
        """Errors of the sentinels that answered but did not name a primary."""

    @property
    def primary(self) -> Address | None:
        """See Router."""
        return self._known.primary if self._known else None

    @property
    def sentinels(self) -> dict[Address, bool]:
        """See Router."""
        failed = self._unresponsive.keys() | self._refusals.keys()
        return {one.address: one.address not in failed for one in self._sentinels}

    async def route(self, requests: Sequence[Request]) -> list[tuple[Address, list[int]]]:
        """See Router."""
        if self._monotonic() >= self._confirm_at:
            await self._confirm()
        return [(self._known.primary, list(range(len(requests))))] if self._known else []

    async def servers_of(self, queues: Iterable[str]) -> dict[Address, list[str]]:
        """See Router. Asks only while the primary is unknown or suspect, and leaves no connection open."""
        if not self._confirm_at:
            await self._confirm()
            self._close_idle()
        return {self._known.primary: list(queues)} if self._known else {}

    def suspect(self, address: Address) -> None:
        """See Router."""
        if self._known and self._known.primary == address:
            self._confirm_at = 0.0

    def redirected(self, reply: redis.RedisError) -> bool:  # noqa: ARG002 - see Router
        """See Router. A demoted primary refuses writes instead of redirecting."""
        return False

    async def close(self) -> None:
        """See Router."""
        for sentinel in self._sentinels:
            await sentinel.close()

    def drop(self, loop: LoopState) -> None:
        """See Router."""
        for sentinel in self._sentinels:
            sentinel.drop(loop)

    async def _confirm(self) -> None:
        asked_before = self._confirm_at
        await self._io.wait(self._confirming.acquire())
        try:
            # Another caller may have asked meanwhile.
            if self._confirm_at == asked_before:
                await self._ask()
        finally:
            self._confirming.release()

    def _close_idle(self) -> None:
        for sentinel in self._sentinels:
            sentinel.reset()

    async def _ask(self) -> None:
        asked_at, primary_suspect = self._monotonic(), not self._confirm_at
        soon = asked_at - SUSPECT_TIMEOUT
        unresponsive = [
            one for one in self._sentinels if self._unresponsive.get(one.address, -math.inf) > soon
        ]
        reports = await self._reports([one for one in self._sentinels if one not in unresponsive])
        reports = reports or await self._reports(unresponsive)
        if reports:
            self._adopt(max(reports, key=lambda report: report.epoch), primary_suspect=primary_suspect)
        elif len(self._refusals) == len(self._sentinels):
            raise next(iter(self._refusals.values()))
        # The reports are as old as the question, however late they were read.
        self._confirm_at = asked_at + CONFIRM_INTERVAL

    def _adopt(self, report: _Report, *, primary_suspect: bool) -> None:
        # A sentinel with an older epoch may be cut off. But reinstalled sentinels start from epoch 0 again.
        if self._known is not None and report.epoch < self._known.epoch and not primary_suspect:
            return
        if self._known is None or report.primary != self._known.primary:
            logger.info("the primary of %s is %s", self._master, report.primary)
        self._known = report

    async def _reports(self, sentinels: Sequence[ConnectionPool]) -> list[_Report]:
        reports: list[_Report] = []

        async def ask(sentinel: ConnectionPool) -> None:
            report = await self._report_of(sentinel)
            if report is not None:
                reports.append(report)

        await self._io.gather([ask(sentinel) for sentinel in sentinels])
        return reports

    async def _report_of(self, sentinel: ConnectionPool) -> _Report | None:
        asked = sentinel.address
        self._unresponsive.pop(asked, None)
        self._refusals.pop(asked, None)
        # The first names a new primary at once, the second only when all replicas follow it.
        both = ("GET-MASTER-ADDR-BY-NAME", "MASTER")
        try:
            exchange = await sentinel.exchange([Command(("SENTINEL", one, self._master)) for one in both])
        except BrokerRefusedError as error:
            self._refusals[asked] = error
            return None
        if exchange.error is not None:
            self._unresponsive[asked] = self._monotonic()
            sentinel.reset()
            return None
        where, facts = exchange.replies
        for reply in (facts, where):
            if isinstance(reply, redis.RedisError):
                if not redis_errors.unavailable_for_now(reply):
                    said = f"sentinel {asked}, asked for {self._master!r}: {reply}"
                    self._refusals[asked] = BrokerRefusedError(said)
                return None
        epoch = int(dict(zip(facts[::2], facts[1::2], strict=True))[b"config-epoch"])
        return _Report(self._address(where), epoch)

    def _address(self, where: list[bytes]) -> Address:
        found = where[0].decode(), int(where[1])
        return Address(*self._remap.get(found, found))
