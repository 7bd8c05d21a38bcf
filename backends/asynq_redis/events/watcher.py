"""Being told of changes to single tasks, by the server that holds them: client tracking of their keys."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import redis

from asynq.errors import BrokerUnavailable
from asynq_redis.events.listener import KEEPALIVE
from asynq_redis.events.push import PushConnection
from asynq_redis.transport import faults
from asynq_redis.wire.keys import QueueKeys

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asynq.runtime.per_loop import LoopState
    from asynq_redis.transport.io import Settings
    from asynq_redis.url import Address


class RedisWatcher:
    """See asynq.protocol.broker.Watcher. One connection to each server that holds a task somebody waits for.

    The server remembers which keys such a connection has read, and tells once when one of them is changed,
    by whomever. (A listener's tracking, by prefix, would make each write by any client cost the server as
    many comparisons as tasks are waited for.)
    """

    def __init__(
        self,
        home: Callable[[str], Awaitable[Address | None]],
        settings: Settings,
        *,
        keepalive: float = KEEPALIVE,
    ) -> None:
        """`home` finds the server that holds a queue now, None while none does."""
        self._home = home
        self._settings = settings
        self._keepalive = keepalive
        self._servers: dict[Address, _Tracking] = {}

    async def watch(self, queue: str, task_id: str) -> asyncio.Future[None]:
        """See asynq.protocol.broker.Watcher."""
        address = await self._home(queue)
        if address is None:
            raise BrokerUnavailable(f"no server has queue {queue!r} now")
        if address not in self._servers:
            self._servers[address] = _Tracking(address, self._settings, self._keepalive)
        return await self._servers[address].watch(QueueKeys(queue).task(task_id))

    async def aclose(self) -> None:
        """See asynq.protocol.broker.Watcher."""
        servers, self._servers = self._servers, {}
        for server in servers.values():
            await server.close()

    def drop(self, loop: LoopState) -> None:
        """`aclose`, without waiting; see asynq.runtime.per_loop."""
        servers, self._servers = self._servers, {}
        for server in servers.values():
            server.drop(loop)


class _Tracking:
    """The connection to one server: opened when it is first needed, and again after it was lost."""

    def __init__(self, address: Address, settings: Settings, keepalive: float) -> None:
        self._address = address
        self._settings = settings
        self._keepalive = keepalive
        self._waiting: dict[bytes, set[asyncio.Future[None]]] = {}
        self._life: asyncio.Task[None] | None = None
        self._connection: PushConnection | None = None
        self._opened: asyncio.Future[PushConnection]
        self._switched_on: asyncio.Future[Any]

    async def watch(self, key: str) -> asyncio.Future[None]:
        connection = await self._connected()
        change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key.encode(), set()).add(change)
        change.add_done_callback(lambda _: self._forget(key.encode(), change))
        try:
            await self._read(connection, key)
        except BaseException:
            change.cancel()
            raise
        return change

    async def _read(self, connection: PushConnection, key: str) -> None:
        """Read the key, so that the server remembers it; a connection that was lost has told everybody."""
        read = await connection.send("EXISTS", key)
        for reply in (self._switched_on.result(), read):
            if isinstance(reply, redis.RedisError):
                raise faults.refusal(reply)

    async def close(self) -> None:
        if (life := self._life) is not None:
            life.cancel()
            await asyncio.wait([life])

    def drop(self, loop: LoopState) -> None:
        if (life := self._life) is None:
            return
        if loop == "running":
            life.cancel()
        else:
            # It was left without a word by whoever closed the loop, or it goes on in the parent process.
            life._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001
            self._waiting.clear()
        if self._connection is not None:
            self._connection.drop(loop)

    async def _connected(self) -> PushConnection:
        """The connection everybody shares; who comes while it is being opened waits for the same attempt."""
        if self._life is None:
            self._opened = asyncio.get_running_loop().create_future()
            self._life = asyncio.create_task(self._live(self._opened), name="asynq-redis-watcher")
        opened = self._opened
        # Whoever gives up must not cancel it for the others.
        await asyncio.wait([opened])
        connection = opened.result()
        if self._life is None or opened is not self._opened:
            raise self._unavailable("the connection was lost")
        return connection

    async def _live(self, opened: asyncio.Future[PushConnection]) -> None:
        try:
            connection = self._connection = await PushConnection.open(self._address, self._settings)
        except BaseException as error:
            self._life = None
            opened.set_exception(self._open_error(error))
            opened.exception()  # retrieved here, in case every caller has stopped waiting
            if isinstance(error, Exception):
                return
            raise
        try:
            self._switched_on = connection.send("CLIENT", "TRACKING", "ON")
            opened.set_result(connection)
            while True:
                self._heard(await connection.pushed(self._keepalive))
        except faults.CONNECTION_ERRORS:
            pass  # whoever waits looks again, and finds out what is wrong
        finally:
            # Before anything is awaited: who watches from now on needs another connection.
            self._life = self._connection = None
            self._tell(list(self._waiting))
            await connection.close()

    def _heard(self, push: list[Any]) -> None:
        kind, *rest = push
        if kind == b"invalidate":
            # No keys: the whole database was flushed.
            self._tell(list(self._waiting) if rest[0] is None else rest[0])

    def _tell(self, keys: list[bytes]) -> None:
        for key in keys:
            for change in list(self._waiting.get(key, ())):
                if not change.done():
                    change.set_result(None)

    def _forget(self, key: bytes, change: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(key, set())
        waiting.discard(change)
        if not waiting:
            self._waiting.pop(key, None)

    def _open_error(self, error: BaseException) -> Exception:
        """The exception for the callers that wait for the connection. A bug is raised as itself."""
        if isinstance(error, Exception) and not isinstance(error, faults.CONNECTION_ERRORS):
            return error
        refusal = faults.connect_refusal(error, self._address)
        return refusal or self._unavailable(str(error) or type(error).__name__)

    def _unavailable(self, reason: str) -> BrokerUnavailable:
        return BrokerUnavailable(f"{self._address}: {reason}")
