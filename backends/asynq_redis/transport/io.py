"""Blocking and async I/O: the only code that differs between the two sides of a broker.

All callers are coroutines, written once. With BlockingIO they never suspend, so `completed` runs them like
functions.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import redis.asyncio.connection as awaited
import redis.asyncio.retry
import redis.connection as blocking
from attrs import field, frozen
from redis.backoff import NoBackoff
from redis.retry import Retry

from asynq.runtime import timeouts
from asynq.runtime.sync_async import completed
from asynq_redis.transport.abort import abort_stream
from asynq_redis.transport.links import AwaitedLink, BlockingLink
from asynq_redis.transport.name_resolution import ResolvingConnection, ResolvingTLSConnection
from asynq_redis.transport.tls import TLSConnection, context_for

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from asynq.runtime.loop_local import LoopState
    from asynq_redis.transport.links import Link
    from asynq_redis.url import TLS, Address

T = TypeVar("T")

CLOSE_TIMEOUT = 0.2
"""Seconds to wait for a connection to close cleanly."""

# redis-py sends its name to the server unless told not to. The option that tells it depends on its version.
_NO_DRIVER_NAME: dict[str, None] = (
    {"driver_info": None}
    if "driver_info" in inspect.signature(blocking.AbstractConnection.__init__).parameters
    else {"lib_name": None, "lib_version": None}
)


@frozen(kw_only=True)
class ConnectionSettings:
    """How to connect to a server. All servers that hold data have the same settings."""

    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: TLS | None = None
    connect_timeout: float
    """Seconds."""
    socket_timeout: float
    """Maximum seconds to wait for a reply."""
    max_connections: int
    """Maximum connections per server, for all threads together and for each event loop. More callers wait."""
    min_replicas: int = 0
    """Number of replicas that must confirm a durable write."""
    replication_timeout: float = 0.0
    """Maximum seconds to wait for the replicas."""


class ConnectionIO(Protocol):
    """How connections are made and waited for."""

    def connection(self, address: Address, settings: ConnectionSettings) -> Any:
        """Make a redis-py connection that is not connected yet."""
        ...

    def link(self, connection: Any) -> Link:
        """Take over a connection that is connected."""
        ...

    async def close(self, connection: Any) -> None:
        """Close a connection, and wait until it is closed."""
        ...

    def drop(self, connection: Any, loop: LoopState) -> None:
        """Close a connection without waiting. `loop` is the state of its event loop."""
        ...

    def semaphore(self, count: int) -> Any:
        """Make a semaphore. Pass the result of its `acquire` to `wait`."""
        ...

    async def wait(self, value: Any) -> Any:
        """Wait for the result of a method of a connection or semaphore."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        ...

    async def gather(self, parts: Sequence[Coroutine[Any, Any, None]]) -> None:
        """Run all coroutines concurrently, wait for all of them, then raise the first error."""
        ...

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """A context that raises TimeoutError after so many seconds."""
        ...


class BlockingIO:
    """Blocks the thread. The sockets have timeouts of their own."""

    def connection(self, address: Address, settings: ConnectionSettings) -> Any:
        """See ConnectionIO."""
        options = _options(address, settings, Retry(NoBackoff(), 0))
        options |= {
            "socket_timeout": settings.socket_timeout,
            "socket_connect_timeout": settings.connect_timeout,
        }
        if settings.tls and not address.path:
            return TLSConnection(context=context_for(settings.tls), **options)
        make: Any = blocking.UnixDomainSocketConnection if address.path else blocking.Connection
        return make(**options)

    def link(self, connection: Any) -> Link:
        """See ConnectionIO."""
        return BlockingLink(connection)

    async def close(self, connection: Any) -> None:
        """See ConnectionIO."""
        connection.disconnect()

    def drop(self, connection: Any, loop: LoopState) -> None:  # noqa: ARG002 - there is no event loop
        """See ConnectionIO."""
        connection.disconnect()

    def semaphore(self, count: int) -> Any:
        """See ConnectionIO."""
        return _ThreadSemaphore(count)

    async def wait(self, value: Any) -> Any:
        """See ConnectionIO."""
        return value

    async def sleep(self, seconds: float) -> None:
        """See ConnectionIO."""
        time.sleep(seconds)  # noqa: ASYNC251 - never runs on an event loop

    async def gather(self, parts: Sequence[Coroutine[Any, Any, None]]) -> None:
        """See ConnectionIO. The last coroutine runs on the caller's thread, each other one on its own."""
        errors: list[BaseException] = []

        def run(part: Coroutine[Any, Any, None]) -> None:
            try:
                completed(part)
            except BaseException as error:  # noqa: BLE001 - raised below, on the caller's thread
                errors.append(error)

        threads = [threading.Thread(target=run, args=(part,), daemon=True) for part in parts[:-1]]
        for thread in threads:
            thread.start()
        for part in parts[-1:]:
            run(part)
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:  # noqa: ARG002 - see the class
        """See ConnectionIO."""
        return nullcontext()


class AwaitedIO:
    """Suspends the task. One timeout covers a whole exchange instead of each reply."""

    def connection(self, address: Address, settings: ConnectionSettings) -> Any:
        """See ConnectionIO."""
        options = _options(address, settings, redis.asyncio.retry.Retry(NoBackoff(), 0))
        options |= {"socket_timeout": None, "socket_connect_timeout": None}
        if address.path:
            return awaited.UnixDomainSocketConnection(**options)
        if settings.tls:
            return ResolvingTLSConnection(context=context_for(settings.tls), **options)
        return ResolvingConnection(**options)

    def link(self, connection: Any) -> Link:
        """See ConnectionIO."""
        return AwaitedLink(connection)

    async def close(self, connection: Any) -> None:
        """See ConnectionIO."""
        writer = connection._writer  # noqa: SLF001 - disconnect forgets it
        try:
            async with timeouts.timeout(CLOSE_TIMEOUT):
                await connection.disconnect()
        except TimeoutError:
            # The end of TLS waits for the server. An event loop must not be closed meanwhile.
            if writer is not None:
                abort_stream(writer, "running")
                await asyncio.sleep(0)

    def drop(self, connection: Any, loop: LoopState) -> None:
        """See ConnectionIO."""
        writer = connection._writer  # noqa: SLF001 - its disconnect methods need a running loop
        connection._writer = connection._reader = None  # noqa: SLF001
        if writer is not None:
            abort_stream(writer, loop)

    def semaphore(self, count: int) -> Any:
        """See ConnectionIO."""
        return asyncio.Semaphore(count)

    async def wait(self, value: Any) -> Any:
        """See ConnectionIO."""
        return await value

    async def sleep(self, seconds: float) -> None:
        """See ConnectionIO."""
        await asyncio.sleep(seconds)

    async def gather(self, parts: Sequence[Coroutine[Any, Any, None]]) -> None:
        """See ConnectionIO."""
        if len(parts) == 1:
            await parts[0]
            return
        ended = await asyncio.gather(*parts, return_exceptions=True)
        errors = [error for error in ended if error is not None]
        if errors:
            raise errors[0]

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """See ConnectionIO."""
        return timeouts.timeout(seconds)


class _ThreadSemaphore:
    """A semaphore. threading.Semaphore takes ten times as long."""

    def __init__(self, count: int) -> None:
        places: SimpleQueue[None] = SimpleQueue()
        for _ in range(count):
            places.put(None)
        self.acquire = places.get
        self.release = partial(places.put, None)


def _options(address: Address, settings: ConnectionSettings, retry: object) -> dict[str, Any]:
    # All settings are explicit because redis-py's defaults change between versions. Its retries are off:
    # redis-py cannot know which requests may be sent twice.
    options: dict[str, Any] = {
        "db": settings.db,
        "username": settings.username,
        "password": settings.password,
        "retry": retry,
        "retry_on_timeout": False,
        "retry_on_error": [],
        "health_check_interval": 0,
        "protocol": 2,
        "decode_responses": False,
        **_NO_DRIVER_NAME,
    }
    if address.path:
        return options | {"path": address.path}
    return options | {"host": address.host, "port": address.port, "socket_keepalive": True}
