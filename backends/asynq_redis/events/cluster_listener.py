"""Being told of events by servers that come and go: one connection to each that has a watched queue."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from attrs import define

from asynq.errors import AsynqError, BrokerUnavailable
from asynq.protocol.broker import Wake
from asynq.runtime.logs import get_logger
from asynq_redis.events.listener import KEEPALIVE, MAX_EVENTS, RedisListener, failed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from asynq.protocol.broker import Event
    from asynq_redis.transport.io import Settings
    from asynq_redis.transport.topology import Topology
    from asynq_redis.url import Address

FOLLOW_EVERY = 0.5
"""Seconds between two looks whether queues have changed their server; what the topology knows is free."""

logger = get_logger("asynq.redis")


@define(eq=False)
class _Ear:
    """The listener to one server, and the task that hands on what it hears."""

    listener: RedisListener
    queues: list[str]
    task: asyncio.Task[None]


class SpreadListener:
    """A stream of the events of all servers a topology names (see asynq.protocol.broker.Listener).

    Cancellations reach every server, so they may be told once by each.
    """

    def __init__(
        self, topology: Topology, settings: Settings, rng: Random, *, keepalive: float = KEEPALIVE
    ) -> None:
        self._topology = topology
        self._settings = settings
        self._rng = rng
        self._keepalive = keepalive
        self._queues: tuple[str, ...] = ()
        self._queues_before: tuple[str, ...] = ()
        """Those it was armed for last."""
        self._ears: dict[Address, _Ear] = {}
        self._events: dict[Event, None] = {}
        self._fresh = asyncio.Event()
        self._following = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def arm(self, queues: Sequence[str]) -> None:
        """See Listener. A server that cannot be reached is armed later: a Wake tells when it is."""
        self._queues_before, self._queues = self._queues or self._queues_before, tuple(queues)
        self._begin()
        await self._follow()

    async def disarm(self) -> None:
        """See Listener."""
        await self.arm(())

    async def next(self) -> Event:
        """See Listener."""
        while True:
            self._begin()
            if self._events:
                event = next(iter(self._events))
                del self._events[event]
                return event
            self._fresh.clear()
            await self._fresh.wait()

    async def aclose(self) -> None:
        """See Listener."""
        self._closed = True
        self._fresh.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        async with self._following:
            for address in list(self._ears):
                await self._forget(address)

    def _begin(self) -> None:
        if self._closed:
            raise BrokerUnavailable("the listener is closed")
        if self._task is not None and failed(self._task):
            task, self._task = self._task, None  # the next call starts a new one
            task.result()
        if self._task is None:
            self._task = asyncio.create_task(self._keep_following(), name="asynq-redis-listeners")
            self._task.add_done_callback(lambda _: self._fresh.set())

    async def _keep_following(self) -> None:
        while True:
            await self._follow()
            await asyncio.sleep(FOLLOW_EVERY)

    async def _follow(self) -> None:
        """Listen to the servers the queues are on now, and to no others."""
        async with self._following:
            if self._closed:
                return
            for address, ear in list(self._ears.items()):
                if failed(ear.task):
                    await self._forget(address)
                    ear.task.result()
                if not ear.listener.listening:
                    self._topology.doubt(address)
            try:
                homes = await self._homes()
            except AsynqError as error:
                logger.debug("servers to listen to are not known: %s", error)
                return
            # While nobody is known to be in charge, the old servers may be back soon.
            for address in self._ears.keys() - homes.keys() if homes else ():
                await self._forget(address)
            for address, queues in homes.items():
                await self._listen(address, queues)

    async def _homes(self) -> dict[Address, list[str]]:
        """The servers to listen to. Without queues, one that is listened to already, if it still has any.

        All servers tell of cancellations; those that come while another connection is opened are not heard.
        """
        if self._queues:
            return await self._topology.homes(self._queues)
        for address in await self._topology.homes(self._queues_before):
            if address in self._ears and self._ears[address].listener.listening:
                return {address: []}
        return await self._topology.homes(())

    async def _listen(self, address: Address, queues: list[str]) -> None:
        ear = self._ears.get(address)
        if ear is None:
            listener = RedisListener(
                address, self._settings, self._rng, keepalive=self._keepalive, followed=True
            )
            task = asyncio.create_task(self._hear(listener), name=f"asynq-redis-listener-{address}")
            ear = self._ears[address] = _Ear(listener, [], task)
        if ear.queues != queues:
            ear.queues = queues
            await ear.listener.arm(queues)
            # What a queue's former server was to tell may not have been told. A listener that has no
            # connection yet wakes by itself when it has one: before that it hears of nothing.
            if ear.listener.listening:
                self._put(Wake())

    async def _forget(self, address: Address) -> None:
        ear = self._ears.pop(address)
        ear.task.cancel()
        await asyncio.wait([ear.task])
        await ear.listener.aclose()

    async def _hear(self, listener: RedisListener) -> None:
        while True:
            self._put(await listener.next())

    def _put(self, event: Event) -> None:
        self._events[event] = None
        if len(self._events) > MAX_EVENTS:
            del self._events[next(iter(self._events))]
        self._fresh.set()
