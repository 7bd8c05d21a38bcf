"""A RESP3 connection: the server sends push messages besides replies."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any, Self

import hiredis
import redis

from asynq.runtime import timeouts
from asynq_redis.transport.abort import abort_stream
from asynq_redis.transport.name_resolution import open_stream
from asynq_redis.transport.tls import context_for

if TYPE_CHECKING:
    from asynq.runtime.loop_local import LoopState
    from asynq_redis.transport.io import ConnectionSettings
    from asynq_redis.url import TLS, Address

_INCOMPLETE = object()


class PushConnection:
    """An open connection. After a redis.RedisError, OSError or EOFError it must be closed."""

    def __init__(self, stream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._stream = stream
        self._writer = writer
        self._parser = hiredis.Reader(
            protocolError=redis.InvalidResponse, replyError=redis.ResponseError, notEnoughData=_INCOMPLETE
        )
        self._expected: deque[asyncio.Future[Any]] = deque()
        self._ping_sent = False
        self._dropped = False

    @classmethod
    async def open(cls, address: Address, settings: ConnectionSettings) -> Self:
        """Connect, authenticate and switch to RESP3.

        Raises:
            TimeoutError: The connect timeout has passed.
        """
        async with timeouts.timeout(settings.connect_timeout):
            connection = cls(*await _streams(address, settings.tls))
            try:
                await connection._handshake(settings)
            except BaseException:
                await connection.close()
                raise
        return connection

    def send(self, *command: str) -> asyncio.Future[Any]:
        """Send a command. The future resolves to its reply, which may be an error, or to None if it is lost.

        SUBSCRIBE must name one channel: its confirmation is the reply.
        """
        reply = asyncio.get_running_loop().create_future()
        self._expected.append(reply)
        self._writer.write(hiredis.pack_command(command))  # type: ignore[arg-type]  # its stub: one word only
        return reply

    async def next_push(self, keepalive: float) -> list[Any]:
        """Return the next push message.

        Raises:
            TimeoutError: The server sent nothing for twice `keepalive` seconds.
        """
        while True:
            message = self._parse_push()
            if message is not None:
                return message
            try:
                async with timeouts.timeout(keepalive):
                    await self._receive()
                self._ping_sent = False
            except TimeoutError:
                if self._ping_sent:
                    raise
                self._ping_sent = True
                self.send("PING")

    async def close(self) -> None:
        """Close the connection. Outstanding replies become None."""
        if self._dropped:
            return
        self._writer.transport.abort()
        while self._expected:
            self._answer(None)
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def drop(self, loop: LoopState) -> None:
        """Close the connection without waiting. See asynq.runtime.loop_local.Droppable."""
        self._dropped = True
        abort_stream(self._writer, loop)

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

    async def _handshake(self, settings: ConnectionSettings) -> None:
        auth = ("AUTH", settings.username or "default", settings.password or "")
        hello = self.send("HELLO", "3", *(auth if settings.username or settings.password else ()))
        while not hello.done():
            await self._receive()
            self._parse_push()
        if isinstance(hello.result(), redis.RedisError):
            raise hello.result()

    async def _receive(self) -> None:
        data = await self._stream.read(65536)
        if not data:
            raise EOFError("the server closed the connection")
        self._parser.feed(data)


async def _streams(address: Address, tls: TLS | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if address.path:
        return await asyncio.open_unix_connection(address.path)
    context = None if tls is None else context_for(tls)
    return await open_stream(address.host, address.port, context)
