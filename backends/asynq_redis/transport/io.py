"""The two ways of waiting, by blocking a thread or by awaiting: all that differs between a broker's faces.

Everything above is written once, as coroutines. Over the Blocking face they never suspend, so `completed`
runs them like plain functions.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import redis.asyncio.connection as awaited
import redis.asyncio.retry
import redis.connection as blocking
from attrs import field, frozen
from redis.backoff import NoBackoff
from redis.retry import Retry

from asynq.runtime.sync_async import completed
from asynq_redis.transport.abort import abort_stream
from asynq_redis.transport.name_resolution import ResolvingConnection, ResolvingTLSConnection
from asynq_redis.transport.tls import TLSConnection, context_for

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from asynq.runtime.loop_local import LoopState
    from asynq_redis.url import TLS, Address

T = TypeVar("T")


@frozen(kw_only=True)
class ConnectionSettings:
    """How to connect to a server: the same for all servers that hold data."""

    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: TLS | None = None
    connect_timeout: float
    """Seconds."""
    socket_timeout: float
    """Seconds a server may take to reply."""
    max_connections: int
    """Per server and face; whoever needs one more waits."""
    min_replicas: int = 0
    """How many replicas must have a durable write before it is answered."""
    replication_timeout: float = 0.0
    """Seconds they may take."""


class ConnectionIO(Protocol):
    """One way of waiting."""

    def connection(self, address: Address, settings: ConnectionSettings) -> Any:
        """A redis-py connection of this face's kind, not yet connected."""
        ...

    def drop(self, connection: Any, loop: LoopState) -> None:
        """Free a connection without waiting; `loop` is what became of the event loop it belongs to."""
        ...

    def semaphore(self, count: int) -> Any:
        """A semaphore whose `acquire` is to be waited for."""
        ...

    async def wait(self, value: Any) -> Any:
        """What a method of a connection or semaphore gave, once it is there."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        ...

    async def gather(self, parts: Sequence[Coroutine[Any, Any, None]]) -> None:
        """Run all of them at once, to the end; then the first error of any."""
        ...

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """A context that ends with TimeoutError when it takes longer."""
        ...


class BlockingIO:
    """Waits by blocking the thread. The timeouts are the socket's own."""

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

    def drop(self, connection: Any, loop: LoopState) -> None:  # noqa: ARG002 - there is no event loop
        """See ConnectionIO."""
        connection.disconnect()

    def semaphore(self, count: int) -> Any:
        """See ConnectionIO."""
        return threading.Semaphore(count)

    async def wait(self, value: Any) -> Any:
        """See ConnectionIO."""
        return value

    async def sleep(self, seconds: float) -> None:
        """See ConnectionIO."""
        time.sleep(seconds)  # noqa: ASYNC251 - this face never runs on an event loop

    async def gather(self, parts: Sequence[Coroutine[Any, Any, None]]) -> None:
        """See ConnectionIO. Each has a thread, the last one the caller's."""
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
    """Waits by suspending the task. One timer guards a whole exchange instead of one per reply."""

    def connection(self, address: Address, settings: ConnectionSettings) -> Any:
        """See ConnectionIO."""
        options = _options(address, settings, redis.asyncio.retry.Retry(NoBackoff(), 0))
        options |= {"socket_timeout": None, "socket_connect_timeout": None}
        if address.path:
            return awaited.UnixDomainSocketConnection(**options)
        if settings.tls:
            return ResolvingTLSConnection(context=context_for(settings.tls), **options)
        return ResolvingConnection(**options)

    def drop(self, connection: Any, loop: LoopState) -> None:
        """See ConnectionIO."""
        writer = connection._writer  # noqa: SLF001 - its own ways to disconnect need a loop that runs
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
        return asyncio.timeout(seconds)


def _options(address: Address, settings: ConnectionSettings, retry: object) -> dict[str, Any]:
    # Every setting is given, since redis-py's own defaults change from version to version. Its retries
    # are off: only we know which requests may be sent twice.
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
        "driver_info": None,
    }
    if address.path:
        return options | {"path": address.path}
    return options | {"host": address.host, "port": address.port, "socket_keepalive": True}
