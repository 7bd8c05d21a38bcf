"""A RESP3 connection: the server sends push messages besides replies."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Self

import hiredis
import redis

from asynq.runtime import timeouts
from asynq_redis.transport.abort import abort_transport
from asynq_redis.transport.name_resolution import open_transport
from asynq_redis.transport.tls import context_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.runtime.loop_local import LoopState
    from asynq_redis.transport.io import ConnectionSettings
    from asynq_redis.url import TLS, Address

_INCOMPLETE = object()

RESPONSIVE = 1.5
"""Keepalive intervals of silence after which a server no longer counts as responsive."""


class PushConnection(asyncio.Protocol):
    """An open connection. After `listen` has ended it must be closed.

    A push message is handed on as soon as its bytes arrive, without a further turn of the event loop.
    """

    def __init__(self, on_push: Callable[[list[Any]], None]) -> None:
        self._on_push = on_push
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = hiredis.Reader(
            protocolError=redis.InvalidResponse, replyError=redis.ResponseError, notEnoughData=_INCOMPLETE
        )
        self._expected: deque[asyncio.Future[Any]] = deque()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        """Has the error that ended the connection."""
        self._gone = asyncio.Event()
        self._heard_at = self._loop.time()
        self._dropped = False

    @classmethod
    async def open(
        cls, address: Address, settings: ConnectionSettings, on_push: Callable[[list[Any]], None]
    ) -> Self:
        """Connect, authenticate and switch to RESP3.

        Args:
            address: The server.
            settings: How to connect.
            on_push: Called with each push message. If it raises an error, `listen` raises it.

        Raises:
            TimeoutError: The connect timeout has passed.
        """
        async with timeouts.timeout(settings.connect_timeout):
            connection = cls(on_push)
            try:
                await _connect(connection, address, settings.tls)
                await connection._handshake(settings)
            except BaseException:
                await connection.close()
                raise
        return connection

    def send(self, *command: str) -> asyncio.Future[Any]:
        """Send a command. The future resolves to its reply, which may be an error, or to None if it is lost.

        SUBSCRIBE must name one channel: its confirmation is the reply.
        """
        reply = self._loop.create_future()
        if self._transport is None or self._ended.done():
            reply.set_result(None)
            return reply
        self._expected.append(reply)
        self._transport.write(hiredis.pack_command(command))  # type: ignore[arg-type]  # its stub: one word only
        return reply

    def responsive(self, keepalive: float) -> bool:
        """Whether a server that is pinged after `keepalive` seconds of silence has answered so far."""
        return not self._ended.done() and self._loop.time() - self._heard_at < RESPONSIVE * keepalive

    async def listen(self, keepalive: float) -> None:
        """Receive until the connection is lost.

        Args:
            keepalive: Seconds without a message after which the server is pinged.

        Raises:
            redis.RedisError: The server sent what is not RESP.
            OSError: The connection was lost. TimeoutError: a ping was not answered for `keepalive` seconds.
            EOFError: The server closed the connection.
        """
        pinged_at: float | None = None
        while True:
            since = self._heard_at if pinged_at is None else pinged_at
            await timeouts.wait([self._ended], since + keepalive - self._loop.time())
            if self._ended.done():
                self._ended.result()
            if pinged_at is not None and self._heard_at < pinged_at:  # equal in one tick of the clock
                raise TimeoutError
            pinged_at = None
            if self._loop.time() - self._heard_at >= keepalive:
                pinged_at = self._loop.time()
                self.send("PING")

    async def close(self) -> None:
        """Close the connection. Outstanding replies become None."""
        if self._dropped:
            return
        self._end(EOFError("the connection was closed"))
        if self._transport is not None:
            await self._gone.wait()

    def drop(self, loop: LoopState) -> None:
        """Close the connection without waiting. See asynq.runtime.loop_local.Droppable."""
        self._dropped = True
        if self._transport is not None:
            transport, self._transport = self._transport, None
            abort_transport(transport, loop)

    # --- called by the transport ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = transport  # type: ignore[assignment]
        if self._ended.done():
            transport.abort()  # type: ignore[attr-defined]  # `open` was cancelled meanwhile

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._heard_at = self._loop.time()
        try:
            self._parser.feed(data)
            while not self._ended.done() and (push := self._parse_push()) is not None:
                self._on_push(push)
        except Exception as error:  # noqa: BLE001 - raised by `listen`
            self._end(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._gone.set()
        self._end(exc or EOFError("the server closed the connection"))

    # ----------------------------------------------------------------------------------------------------

    def _parse_push(self) -> list[Any] | None:
        while (message := self._parser.gets()) is not _INCOMPLETE:
            if isinstance(message, hiredis.PushNotification) and message[0] != b"subscribe":
                return list(message)
            self._answer(message)
        return None

    def _answer(self, reply: Any) -> None:
        expected = self._expected.popleft()
        if not expected.done():
            expected.set_result(reply)

    def _end(self, error: Exception) -> None:
        if not self._ended.done():
            self._ended.set_exception(error)
            self._ended.exception()  # retrieved here, in case nobody listens
        while self._expected:
            self._answer(None)
        if self._transport is not None:
            self._transport.abort()

    async def _handshake(self, settings: ConnectionSettings) -> None:
        auth = ("AUTH", settings.username or "default", settings.password or "")
        hello = self.send("HELLO", "3", *(auth if settings.username or settings.password else ()))
        reply = await hello
        if reply is None:
            self._ended.result()
        if isinstance(reply, redis.RedisError):
            raise reply


async def _connect(connection: PushConnection, address: Address, tls: TLS | None) -> None:
    if address.path:
        await asyncio.get_running_loop().create_unix_connection(lambda: connection, address.path)
    else:
        context = None if tls is None else context_for(tls)
        await open_transport(lambda: connection, address.host, address.port, context)
