"""Redis Sentinel: the primary is the one the sentinels name, asked again and again."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import redis
from attrs import frozen

from asynq.errors import BrokerRefusedError
from asynq.runtime.logs import get_logger
from asynq_redis.transport import faults
from asynq_redis.transport.node import Node
from asynq_redis.transport.requests import Command
from asynq_redis.url import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from asynq.runtime.per_loop import LoopState
    from asynq_redis.transport.io import Face, Settings
    from asynq_redis.transport.requests import Request

CONFIRM_EVERY = 1.0
"""Seconds after which the sentinels are asked again whether the primary still is it.

A primary that was only held up goes on as if nothing had happened, for 10 s, until a sentinel demotes it;
what it acknowledges is lost. Who asks for himself leaves it after one.
"""

LEFT_ALONE = 10.0
"""Seconds for which a sentinel that did not answer is asked only if no other one answers."""

logger = get_logger("asynq.redis")


@frozen
class _Word:
    """What one sentinel says."""

    primary: Address
    epoch: int
    """Counts failovers: the greater is the newer."""


class Sentinel:
    """See Topology. All sentinels are asked at the same time, and the newest word counts.

    One of them may be cut off from the others, and go on naming a primary that has long been replaced.
    """

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
        self._silent: dict[Address, float] = {}
        """When a sentinel that did not answer was asked last."""
        self._refusals: dict[Address, BrokerRefusedError] = {}
        """Why those that answered, but not the question, did not."""

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

    def drop(self, loop: LoopState) -> None:
        """See Topology."""
        for sentinel in self._sentinels:
            sentinel.drop(loop)

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
        in_doubt = not self._confirm_at
        soon = self._monotonic() - LEFT_ALONE
        silent = [one for one in self._sentinels if self._silent.get(one.address, -math.inf) > soon]
        words = await self._words([one for one in self._sentinels if one not in silent])
        words = words or await self._words(silent)
        if words:
            self._believe(max(words, key=lambda word: word.epoch), in_doubt=in_doubt)
        elif len(self._refusals) == len(self._sentinels):
            raise next(iter(self._refusals.values()))
        self._confirm_at = self._monotonic() + CONFIRM_EVERY

    def _believe(self, word: _Word, *, in_doubt: bool) -> None:
        # Who knows less than we do may be cut off; but sentinels that were set up anew count from the start.
        if self._known is not None and word.epoch < self._known.epoch and not in_doubt:
            return
        if self._known is None or word.primary != self._known.primary:
            logger.info("the primary of %s is %s", self._master, word.primary)
        self._known = word

    async def _words(self, sentinels: Sequence[Node]) -> list[_Word]:
        words: list[_Word] = []

        async def ask(sentinel: Node) -> None:
            word = await self._word_of(sentinel)
            if word is not None:
                words.append(word)

        await self._face.together([ask(sentinel) for sentinel in sentinels])
        return words

    async def _word_of(self, sentinel: Node) -> _Word | None:
        asked = sentinel.address
        self._silent.pop(asked, None)
        self._refusals.pop(asked, None)
        # The one tells of a new primary as soon as there is one, the other when all replicas follow it.
        both = ("GET-MASTER-ADDR-BY-NAME", "MASTER")
        try:
            exchange = await sentinel.exchange([Command(("SENTINEL", one, self._master)) for one in both])
        except BrokerRefusedError as error:
            self._refusals[asked] = error
            return None
        if exchange.error is not None:
            self._silent[asked] = self._monotonic()
            await sentinel.reset()
            return None
        where, facts = exchange.replies
        for reply in (facts, where):
            if isinstance(reply, redis.RedisError):
                if not faults.not_now(reply):
                    said = f"sentinel {asked}, asked for {self._master!r}: {reply}"
                    self._refusals[asked] = BrokerRefusedError(said)
                return None
        epoch = int(dict(zip(facts[::2], facts[1::2], strict=True))[b"config-epoch"])
        return _Word(self._address(where), epoch)

    def _address(self, where: list[bytes]) -> Address:
        found = where[0].decode(), int(where[1])
        return Address(*self._remap.get(found, found))
