"""Watch single tasks for changes, by client tracking of their keys."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import redis

from asynq.errors import BrokerUnavailable
from asynq_redis.events.listener import KEEPALIVE_INTERVAL
from asynq_redis.events.push_connection import PushConnection
from asynq_redis.transport import redis_errors
from asynq_redis.wire.keys import QueueKeys

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asynq.runtime.loop_local import LoopState
    from asynq_redis.transport.io import ConnectionSettings
    from asynq_redis.url import Address


class RedisWatcher:
    """See asynq.protocol.broker.Watcher. One connection to each server with a watched task.

    The server remembers which keys the connection has read. It reports the next change of each by any client.
    (Tracking by prefix, as in a listener, would add one comparison per watched task to every write.)
    """

    def __init__(
        self,
        server_of: Callable[[str], Awaitable[Address | None]],
        settings: ConnectionSettings,
        *,
        keepalive: float = KEEPALIVE_INTERVAL,
    ) -> None:
        """Make a watcher. `server_of` returns the current server of a queue, or None if there is none."""
        self._server_of = server_of
        self._settings = settings
        self._keepalive = keepalive
        self._servers: dict[Address, _Tracking] = {}

    async def watch(self, queue: str, task_id: str) -> asyncio.Future[None]:
        """See asynq.protocol.broker.Watcher."""
        address = await self._server_of(queue)
        if address is None:
            raise BrokerUnavailable(f"no server is known for queue {queue!r}")
        if address not in self._servers:
            self._servers[address] = _Tracking(address, self._settings, self._keepalive)
        return await self._servers[address].watch(QueueKeys(queue).task(task_id))

    async def aclose(self) -> None:
        """See asynq.protocol.broker.Watcher."""
        servers, self._servers = self._servers, {}
        for server in servers.values():
            await server.close()

    def drop(self, loop: LoopState) -> None:
        """Close without waiting. See asynq.runtime.loop_local.Droppable."""
        servers, self._servers = self._servers, {}
        for server in servers.values():
            server.drop(loop)


class _Tracking:
    """The connection to one server. It is opened on demand, and reopened after it was lost."""

    def __init__(self, address: Address, settings: ConnectionSettings, keepalive: float) -> None:
        self._address = address
        self._settings = settings
        self._keepalive = keepalive
        self._waiting: dict[bytes, set[asyncio.Future[None]]] = {}
        self._task: asyncio.Task[None] | None = None
        self._connection: PushConnection | None = None
        self._opened: asyncio.Future[PushConnection]
        self._tracking: asyncio.Future[Any]

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
        """Read the key, so that the server tracks it. If the connection is lost, all changes are resolved."""
        read = await connection.send("EXISTS", key)
        for reply in (self._tracking.result(), read):
            if isinstance(reply, redis.RedisError):
                raise redis_errors.refusal(reply)

    async def close(self) -> None:
        if (task := self._task) is not None:
            task.cancel()
            await asyncio.wait([task])

    def drop(self, loop: LoopState) -> None:
        if (task := self._task) is None:
            return
        if loop == "running":
            task.cancel()
        else:
            # The loop was closed without cancelling the task, or the task continues in the parent process.
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001
            self._waiting.clear()
        if self._connection is not None:
            self._connection.drop(loop)

    async def _connected(self) -> PushConnection:
        """Return the shared connection. Concurrent callers wait for the same attempt to open it."""
        if self._task is None:
            self._opened = asyncio.get_running_loop().create_future()
            task = asyncio.create_task(self._run(self._opened), name="asynq-redis-watcher")
            # It is done already if tasks start eagerly and the connection is refused at once.
            if not self._opened.done():
                self._task = task
        opened = self._opened
        # A caller that is cancelled must not cancel the attempt of the others.
        await asyncio.wait([opened])
        connection = opened.result()
        if self._task is None or opened is not self._opened:
            raise self._unavailable("the connection was lost")
        return connection

    async def _run(self, opened: asyncio.Future[PushConnection]) -> None:
        try:
            connection = await PushConnection.open(self._address, self._settings, self._handle_push)
            self._connection = connection
        except BaseException as error:
            self._task = None
            opened.set_exception(self._open_error(error))
            opened.exception()  # retrieved here, in case every caller has stopped waiting
            if isinstance(error, Exception):
                return
            raise
        try:
            self._tracking = connection.send("CLIENT", "TRACKING", "ON")
            opened.set_result(connection)
            await connection.listen(self._keepalive)
        except redis_errors.CONNECTION_ERRORS:
            pass  # the callers look at their tasks again and get the error there
        finally:
            # Before any await: a caller that watches from now on needs a new connection.
            self._task = self._connection = None
            self._notify(list(self._waiting))
            await connection.close()

    def _handle_push(self, push: list[Any]) -> None:
        kind, *rest = push
        if kind == b"invalidate":
            # No keys: the database was flushed.
            self._notify(list(self._waiting) if rest[0] is None else rest[0])

    def _notify(self, keys: list[bytes]) -> None:
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
        if isinstance(error, Exception) and not isinstance(error, redis_errors.CONNECTION_ERRORS):
            return error
        refusal = redis_errors.connect_refusal(error, self._address)
        return refusal or self._unavailable(str(error) or type(error).__name__)

    def _unavailable(self, reason: str) -> BrokerUnavailable:
        return BrokerUnavailable(f"{self._address}: {reason}")
