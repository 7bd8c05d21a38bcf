"""Redis Sentinel: the primary is the one the sentinels name, asked again and again."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import redis
from attrs import frozen

from asynq.errors import BrokerRefusedError
from asynq_redis import faults
from asynq_redis.nodes import Node
from asynq_redis.steps import Command
from asynq_redis.url import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from asynq_redis.faces import Face, Settings
    from asynq_redis.steps import Request

CONFIRM_EVERY = 1.0
"""Seconds after which the sentinels are asked again whether the primary still is it.

A primary that was only held up goes on as if nothing had happened, for 10 s, until a sentinel demotes it;
what it acknowledges is lost. Who asks for himself leaves it after one.
"""

logger = logging.getLogger(__name__)


@frozen
class _Word:
    """What one sentinel says."""

    primary: Address
    epoch: int
    """Counts failovers: the greater is the newer."""


class Sentinel:
    """See Topology. Asks one sentinel after the other; the one that answered is the first next time."""

    shards = 1

    def __init__(
        self,
        sentinels: Sequence[Address],
        master: str,
        face: Face,
        settings: Settings,
        *,
        remap: Mapping[tuple[str, int], tuple[str, int]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sentinels = [Node(face, address, settings) for address in sentinels]
        self._master = master
        self._face = face
        self._remap = remap
        self._monotonic = monotonic
        self._asking = face.semaphore(1)
        self._known: _Word | None = None
        self._confirm_at = 0.0

    async def locate(self, requests: Sequence[Request]) -> list[tuple[Address, list[int]]]:
        """See Topology."""
        if self._monotonic() >= self._confirm_at:
            await self._confirm()
        return [(self._known.primary, list(range(len(requests))))] if self._known else []

    async def homes(self, queues: Iterable[str]) -> dict[Address, list[str]]:
        """See Topology. Who only listens does not ask all the time, and leaves no connection open."""
        if not self._confirm_at:
            await self._confirm()
            await self._hang_up()
        return {self._known.primary: list(queues)} if self._known else {}

    def doubt(self, address: Address) -> None:
        """See Topology."""
        if self._known and self._known.primary == address:
            self._confirm_at = 0.0

    def misrouted(self, reply: redis.RedisError) -> bool:  # noqa: ARG002 - see Topology
        """See Topology: a demoted primary is known by its refusal to write."""
        return False

    async def close(self) -> None:
        """See Topology."""
        for sentinel in self._sentinels:
            await sentinel.close()

    async def _confirm(self) -> None:
        asked_before = self._confirm_at
        await self._face.wait(self._asking.acquire())
        try:
            # Others may have asked while this one waited.
            if self._confirm_at == asked_before:
                await self._ask()
        finally:
            self._asking.release()

    async def _hang_up(self) -> None:
        for sentinel in self._sentinels:
            await sentinel.reset()

    async def _ask(self) -> None:
        """Take the newest word; that of the first sentinel will do if it is no older than what is known."""
        newest: _Word | None = None
        unknown_to = 0
        for sentinel in list(self._sentinels):
            word = await self._word_of(sentinel)
            if isinstance(word, BrokerRefusedError):
                unknown_to += 1
                refusal = word
            elif word is not None:
                self._sentinels.remove(sentinel)
                self._sentinels.insert(0, sentinel)
                newest = word if newest is None or word.epoch > newest.epoch else newest
                if self._known is None or word.epoch >= self._known.epoch:
                    break
        if newest is not None:
            if self._known is None or newest.primary != self._known.primary:
                logger.info("the primary of %s is %s", self._master, newest.primary)
            self._known = newest
        elif unknown_to == len(self._sentinels):
            raise refusal
        self._confirm_at = self._monotonic() + CONFIRM_EVERY

    async def _word_of(self, sentinel: Node) -> _Word | BrokerRefusedError | None:
        exchange = await sentinel.exchange([Command(("SENTINEL", "MASTER", self._master))])
        if exchange.error is not None:
            await sentinel.reset()
            return None
        [reply] = exchange.replies
        if isinstance(reply, redis.RedisError):
            if faults.not_now(reply):
                return None
            return BrokerRefusedError(f"sentinel {sentinel.address}, asked for {self._master!r}: {reply}")
        facts = dict(zip(reply[::2], reply[1::2], strict=True))
        return _Word(self._address(facts), int(facts[b"config-epoch"]))

    def _address(self, facts: dict[bytes, Any]) -> Address:
        found = facts[b"ip"].decode(), int(facts[b"port"])
        return Address(*self._remap.get(found, found))
