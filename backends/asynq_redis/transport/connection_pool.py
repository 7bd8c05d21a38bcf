"""The connections to one Redis server. Requests are sent in one write and their replies read one by one."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import redis
from attrs import define, field
from msgspec import Struct

from asynq.errors import BrokerRefusedError
from asynq_redis.lua.scripts import MARK
from asynq_redis.transport import redis_errors
from asynq_redis.transport.requests import Command, Reply, Request, ScriptRequest, packed
from asynq_redis.wire.keys import mark_beside

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Sequence

    from asynq.runtime.loop_local import LoopState
    from asynq_redis.transport.io import ConnectionIO, ConnectionSettings
    from asynq_redis.transport.links import Link
    from asynq_redis.transport.requests import Arg
    from asynq_redis.url import Address

MIN_SERVER_VERSION = (6, 2)
"""The oldest supported server version."""
WRITE_BYTES: Final = 16 * 1024
"""Bytes after which what is ready is written. A server reads about as much at a time."""
SCRIPT_FLAGS_VERSION = (7, 0)
"""The first server version that reads script flags such as allow-oom."""


class Exchange(Struct, kw_only=True):
    """The outcome of one write."""

    replies: list[Reply]
    """Replies in the order of the requests. There are fewer if the exchange ended early."""
    refused: bool = False
    """True if one of the replies is an error."""
    error: Exception | None = None
    """The error that ended the exchange early."""
    sent: bool = False
    """True if the server may have received the requests without a reply."""
    confirmed: int | None = None
    """Number of replicas that have everything written. None if no request needed confirmation."""


@define
class _PooledLink:
    link: Link
    flags: bool
    known: set[str] = field(factory=set)
    """Digests of the scripts that were sent in full over this connection."""
    used_at: float = 0.0
    """Monotonic time of the last use."""


class ConnectionPool:
    """Connections to one server, shared by threads or by the tasks of one event loop.

    An exchange has its connection to itself: only it may disconnect the connection.
    """

    def __init__(
        self,
        io: ConnectionIO,
        address: Address,
        settings: ConnectionSettings,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.address = address
        self._monotonic = monotonic
        self._io = io
        self._settings = settings
        self._idle: deque[_PooledLink] = deque()
        self._slots = io.semaphore(settings.max_connections)
        self._closed = False

    async def exchange(
        self,
        requests: Sequence[Request],
        *,
        in_full: frozenset[int] = frozenset(),
        limit: float = math.inf,
    ) -> Exchange:
        """Send the requests in one write and read their replies.

        Connection errors are returned in the Exchange.

        Args:
            requests: What to send, in order.
            in_full: Positions of the script calls to send with the text of the script.
            limit: Maximum seconds to wait for a connection, and for the replies. Blocking sockets only use
                their own timeouts.

        Raises:
            BrokerRefusedError: The server cannot be used at all, for example because of a wrong password.
        """
        await self._io.wait(self._slots.acquire())
        try:
            try:
                while True:
                    try:
                        pooled = self._idle.pop()
                    except IndexError:
                        pooled = None
                    if pooled is None or pooled.link.usable():
                        break
                    self._drop(pooled.link.connection)
                if pooled is None:  # not where it is found out: that error would hide the cause of another
                    pooled = await self._connect(limit)
            except redis_errors.CONNECTION_ERRORS as error:
                self._raise_if_permanent(error)
                return Exchange(replies=[], error=error)
            return await self._exchange_on(pooled, requests, in_full, limit)
        finally:
            self._slots.release()

    def reset(self) -> None:
        """Close the idle connections, so that the next exchange resolves the address again."""
        while (pooled := self._pop()) is not None:
            self._drop(pooled.link.connection)

    def trim(self, before: float) -> None:
        """Close the connections that were last used before a monotonic time."""
        while self._idle:
            try:
                pooled = self._idle.popleft()
            except IndexError:  # another thread took it
                return
            if pooled.used_at >= before:
                self._idle.appendleft(pooled)
                return
            self._drop(pooled.link.connection)

    async def close(self) -> None:
        """Close all connections. A connection in use is closed when its exchange ends."""
        self._closed = True
        while (pooled := self._pop()) is not None:
            await self._io.close(pooled.link.connection)

    def drop(self, loop: LoopState) -> None:
        """Close all connections without waiting. See asynq.runtime.loop_local.Droppable."""
        self._closed = True
        while (pooled := self._pop()) is not None:
            self._io.drop(pooled.link.connection, loop)

    async def _exchange_on(
        self, pooled: _PooledLink, requests: Sequence[Request], in_full: Container[int], limit: float
    ) -> Exchange:
        connection = pooled.link.connection
        durable = self._durable(requests) if self._settings.min_replicas else None
        patience = min(self._settings.socket_timeout, limit)
        replies: list[Reply] = []
        try:
            if durable is not None:
                requests = [*requests, *self._confirmation(requests[durable], pooled)]
                patience += self._settings.replication_timeout
            await pooled.link.exchange(_writes(requests, pooled, in_full), len(requests), replies, patience)
        except redis_errors.CONNECTION_ERRORS as error:
            self._drop(connection)
            self._raise_if_permanent(error)
            # Unconfirmed writes count as unanswered and are sent again.
            return Exchange(replies=replies[:durable], error=error, sent=True)
        except GeneratorExit:  # collected after its event loop was closed: cannot await
            self._io.drop(connection, "closed")
            raise
        except BaseException:
            # Interrupted or cancelled: a reply may still arrive, so the connection cannot be reused.
            self._drop(connection)
            raise
        refused = redis.ResponseError in map(type, replies)
        if self._closed or (refused and any(map(redis_errors.protocol_error, replies))):
            self._drop(connection)
        else:
            pooled.used_at = self._monotonic()
            self._idle.append(pooled)
        if durable is None:
            return Exchange(replies=replies, refused=refused)
        *replies, _, confirmed = replies
        confirmed = confirmed if isinstance(confirmed, int) else 0
        return Exchange(replies=replies, refused=refused, confirmed=confirmed)

    def _durable(self, requests: Sequence[Request]) -> int | None:
        """Position of the first request that needs confirmation by replicas."""
        return next((position for position, request in enumerate(requests) if request.durable), None)

    def _confirmation(self, request: Request, pooled: _PooledLink) -> list[Command]:
        # Since Redis 7.2, WAIT returns at once on a connection that has written nothing. Without the mark, an
        # operation that is sent again and finds its work done would count as confirmed by all replicas.
        key = request.key
        milliseconds = round(1000 * self._settings.replication_timeout)
        keys = (mark_beside(str(key) if isinstance(key, int) else key or ""), key or "")
        return [
            Command(("EVAL", MARK.text(pooled.flags), len(keys), *keys, milliseconds)),
            Command(("WAIT", self._settings.min_replicas, milliseconds)),
        ]

    async def _connect(self, limit: float) -> _PooledLink:
        connection, wait = self._io.connection(self.address, self._settings), self._io.wait
        # The variable keeps the timeout and its task alive while this coroutine runs. Python 3.11 crashes if
        # an abandoned coroutine frees the last reference to its own task while it is closed.
        timeout = self._io.timeout(min(self._settings.connect_timeout, limit))
        try:
            async with timeout:
                await wait(connection.connect())
                await wait(connection.send_command("HELLO", check_health=False))
                try:
                    version = _version(await wait(connection.read_response()))
                except redis.ResponseError as error:
                    if redis_errors.code(error) != "ERR":
                        raise
                    version = (0,)  # before 6.2, HELLO did not exist or required an argument
            self._check_version(version)
        except GeneratorExit:  # collected after its event loop was closed: cannot await
            self._io.drop(connection, "closed")
            raise
        except BaseException:
            self._drop(connection)
            raise
        return _PooledLink(self._io.link(connection), flags=version >= SCRIPT_FLAGS_VERSION)

    def _drop(self, connection: Any) -> None:
        self._io.drop(connection, "running")

    def _pop(self) -> _PooledLink | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _check_version(self, version: tuple[int, ...]) -> None:
        if version < MIN_SERVER_VERSION:
            found = ".".join(map(str, version)) if any(version) else "older"
            oldest = ".".join(map(str, MIN_SERVER_VERSION))
            raise BrokerRefusedError(
                f"{self.address}: asynq needs Redis {oldest} or later; this one is {found}"
            )

    def _raise_if_permanent(self, error: BaseException) -> None:
        if (bug := redis_errors.wrapped_bug(error)) is not None:
            raise bug
        refusal = redis_errors.connect_refusal(error, self.address)
        if refusal is not None:
            raise refusal from error


def _writes(requests: Sequence[Request], pooled: _PooledLink, in_full: Container[int]) -> Iterator[bytes]:
    """The requests, as the server reads them, in writes of about WRITE_BYTES.

    What is composed for a write is composed after the previous one: the server carries that out meanwhile.
    """
    write: list[bytes] = []
    size = 0
    for position, request in enumerate(requests):
        if isinstance(request, Command):
            data = request.packed
        else:
            data = packed(_rendered(request, pooled, in_full=position in in_full))
        write.append(data)
        size += len(data)
        if size >= WRITE_BYTES:
            yield b"".join(write)
            write, size = [], 0
    if write:
        yield b"".join(write)


def _rendered(request: ScriptRequest, pooled: _PooledLink, *, in_full: bool) -> tuple[Arg, ...]:
    script, (keys, args) = request.script, request.parts()
    digest = script.shas[pooled.flags]
    if in_full or digest not in pooled.known:
        pooled.known.add(digest)
        return ("EVAL", script.text(pooled.flags), len(keys), *keys, *args)
    return ("EVALSHA", digest, len(keys), *keys, *args)


def _version(hello: list[Any]) -> tuple[int, ...]:
    facts = dict(zip(hello[::2], hello[1::2], strict=True))
    return tuple(int(part) for part in facts[b"version"].split(b".")[:2])
