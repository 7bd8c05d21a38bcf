"""Listen behind Sentinel or on a Cluster: one connection to each server that has a watched queue."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from attrs import define

from asynq.errors import AsynqError
from asynq.protocol.broker import Wake
from asynq.runtime.logs import get_logger
from asynq_redis.events.background_listener import BackgroundListener, failed
from asynq_redis.events.listener import KEEPALIVE_INTERVAL, RedisListener

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from asynq_redis.transport.io import ConnectionSettings
    from asynq_redis.transport.routing import Router
    from asynq_redis.url import Address

ROUTE_CHECK_INTERVAL = 0.5
"""Seconds between two checks whether queues have moved to another server. The routes are cached."""

logger = get_logger("asynq.redis")


@define(eq=False)
class _Subscription:
    """The listener of one server, and the task that forwards its events."""

    listener: RedisListener
    queues: list[str]
    task: asyncio.Task[None]


class RoutedListener(BackgroundListener):
    """A stream of the events of all servers of a router (see asynq.protocol.broker.Listener).

    Each server may deliver the same cancellation.
    """

    def __init__(
        self,
        router: Router,
        settings: ConnectionSettings,
        rng: Random,
        *,
        keepalive: float = KEEPALIVE_INTERVAL,
    ) -> None:
        super().__init__("asynq-redis-listeners")
        self._router = router
        self._settings = settings
        self._rng = rng
        self._keepalive = keepalive
        self._queues: tuple[str, ...] = ()
        self._queues_before: tuple[str, ...] = ()
        """The queues it was armed for before."""
        self._subscriptions: dict[Address, _Subscription] = {}
        self._updating = asyncio.Lock()

    async def arm(self, queues: Sequence[str]) -> None:
        """See Listener. An unreachable server is armed later, and a Wake is delivered then."""
        self._queues_before, self._queues = self._queues or self._queues_before, tuple(queues)
        self._ensure_running()
        await self._update_subscriptions()

    @property
    def live(self) -> bool:
        """See Listener. Whether a queue has moved to another server is learned only from requests."""
        return False

    async def aclose(self) -> None:
        """See Listener."""
        await super().aclose()
        async with self._updating:
            for address in list(self._subscriptions):
                await self._unsubscribe(address)

    async def _run(self) -> None:
        while True:
            await self._update_subscriptions()
            await asyncio.sleep(ROUTE_CHECK_INTERVAL)

    async def _update_subscriptions(self) -> None:
        """Listen to the current servers of the queues, and to no others."""
        async with self._updating:
            if self._closed:
                return
            for address, subscription in list(self._subscriptions.items()):
                if failed(subscription.task):
                    await self._unsubscribe(address)
                    subscription.task.result()
                if not subscription.listener.connected:
                    self._router.suspect(address)
            try:
                servers = await self._servers()
            except AsynqError as error:
                logger.debug("cannot find the servers to listen to: %s", error)
                return
            # If no server is known, the old servers may come back soon.
            for address in self._subscriptions.keys() - servers.keys() if servers else ():
                await self._unsubscribe(address)
            for address, queues in servers.items():
                await self._subscribe(address, queues)

    async def _servers(self) -> dict[Address, list[str]]:
        """Return the servers to listen to. Without queues, keep one that is connected, if any.

        All servers deliver cancellations. A new connection would miss those sent while it is opened.
        """
        if self._queues:
            return await self._router.servers_of(self._queues)
        for address in await self._router.servers_of(self._queues_before):
            if address in self._subscriptions and self._subscriptions[address].listener.connected:
                return {address: []}
        return await self._router.servers_of(())

    async def _subscribe(self, address: Address, queues: list[str]) -> None:
        subscription = self._subscriptions.get(address)
        if subscription is None:
            listener = RedisListener(
                address, self._settings, self._rng, keepalive=self._keepalive, expects_replica=True
            )
            task = asyncio.create_task(self._forward_events(listener), name=f"asynq-redis-listener-{address}")
            subscription = self._subscriptions[address] = _Subscription(listener, [], task)
        if subscription.queues != queues:
            subscription.queues = queues
            await subscription.listener.arm(queues)
            # Events of a queue's former server may be lost. A listener without a connection delivers a Wake
            # itself once it is connected.
            if subscription.listener.connected:
                self._put(Wake())

    async def _unsubscribe(self, address: Address) -> None:
        subscription = self._subscriptions.pop(address)
        subscription.task.cancel()
        await asyncio.wait([subscription.task])
        await subscription.listener.aclose()

    async def _forward_events(self, listener: RedisListener) -> None:
        while True:
            self._put(await listener.next())
