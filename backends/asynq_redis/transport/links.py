"""Links: open connections that send requests as bytes and parse the replies.

redis-py connects, authenticates and selects the database. A link takes over what it has opened.
"""

from __future__ import annotations

import asyncio
import select
import ssl
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

import hiredis
import redis

from asynq.runtime.awake import AwakeThread
from asynq.runtime.timeouts import Timer

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

    from asynq_redis.transport.requests import Reply

_READ_BYTES: Final = 65536
_INCOMPLETE: Final = object()
_CLOSED: Final = "Connection closed by server."


class Link(Protocol):
    """An open connection. It carries one exchange at a time. After an error it must be closed."""

    connection: Any
    """The redis-py connection that opened it, and closes it."""

    def usable(self) -> bool:
        """Whether an exchange can begin: nothing has arrived since the last one, not even the end."""
        ...

    async def exchange(self, writes: Iterable[bytes], count: int, replies: list[Reply], limit: float) -> None:
        """Send requests and append their replies, also the errors among them, to `replies`.

        Args:
            writes: The requests, in one or several writes. Each is sent before the next one is asked for.
            count: Number of replies.
            replies: The replies that arrived before an error are appended too.
            limit: Maximum seconds to wait. A blocking socket uses its own timeout instead.

        Raises:
            redis.RedisError, OSError: The connection is lost, or a reply is late.
        """
        ...


class BlockingLink:
    """See Link. It blocks the thread."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self._socket: socket.socket = connection._sock  # noqa: SLF001 - redis-py has no public name for it
        self._reader = _reader()
        self._arrivals = select.poll()
        self._arrivals.register(self._socket, select.POLLIN)
        self._awake = AwakeThread(partial(self._arrivals.poll, 0))

    def usable(self) -> bool:
        """See Link."""
        if self._reader.has_data() or self._socket.fileno() < 0:
            return False
        return not self._arrivals.poll(0) or (
            isinstance(self._socket, ssl.SSLSocket) and self._is_quiet(self._socket)
        )

    async def exchange(
        self,
        writes: Iterable[bytes],
        count: int,
        replies: list[Reply],
        limit: float,  # noqa: ARG002 - see Link
    ) -> None:
        """See Link."""
        receive, reader = self._socket.recv, self._reader
        send = self._socket.sendall
        for data in writes:
            send(data)
        self._awake.stay()
        while True:
            received = receive(_READ_BYTES)
            if not received:
                raise redis.ConnectionError(_CLOSED)
            reader.feed(received)
            while (reply := reader.gets()) is not _INCOMPLETE:
                replies.append(reply)
                if len(replies) == count:
                    return

    def _is_quiet(self, encrypted: ssl.SSLSocket) -> bool:
        """Whether what has arrived is only about the encryption, such as a session ticket."""
        timeout = encrypted.gettimeout()
        encrypted.setblocking(False)  # noqa: FBT003 - its only argument
        try:
            encrypted.recv(1)
        except ssl.SSLWantReadError:
            return True
        except OSError:
            return False
        finally:
            encrypted.settimeout(timeout)
        return False


class AwaitedLink(asyncio.Protocol):
    """See Link. It suspends the task, and wakes it once for all replies."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport = connection._writer.transport  # noqa: SLF001 - see BlockingLink
        self._stream = self._transport.get_protocol()
        self._transport.set_protocol(self)
        self._reader = _reader()
        self._replies: list[Reply] = []
        self._count = 0
        self._waiter: asyncio.Future[None] | None = None
        self._over = False
        self._deadline = self._timer_due = 0.0
        self._timer: Timer | None = None
        encrypted = self._transport.get_extra_info("ssl_object") is not None
        self._arrivals = None if encrypted else select.poll()
        if self._arrivals is not None:
            self._arrivals.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)

    def usable(self) -> bool:
        """See Link."""
        if self._over or self._transport.is_closing() or self._reader.has_data():
            return False
        # The event loop may not have looked since the server closed the connection.
        return self._arrivals is None or not self._arrivals.poll(0)

    async def exchange(self, writes: Iterable[bytes], count: int, replies: list[Reply], limit: float) -> None:
        """See Link."""
        self._count, self._replies = count, replies
        self._waiter = waiter = self._loop.create_future()
        self._deadline = self._loop.time() + limit
        if self._timer is None or self._deadline < self._timer_due:
            self._arm()
        try:
            for data in writes:
                self._transport.write(data)
            await waiter
        finally:
            self._waiter = None

    def data_received(self, data: bytes) -> None:
        """Parse replies."""
        waiter = self._waiter
        if waiter is None or waiter.done():
            self._over = True
            return
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _INCOMPLETE:
                self._replies.append(reply)
                if len(self._replies) == self._count:
                    waiter.set_result(None)
                    return
        except Exception as error:  # noqa: BLE001 - raised in the task that waits for the reply
            waiter.set_exception(error)

    def eof_received(self) -> None:
        """See asyncio.Protocol. Nothing else is sent: the transport closes itself."""
        self._over = True

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
        self._stream.connection_lost(error)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error or redis.ConnectionError(_CLOSED))

    def _arm(self) -> None:
        """Start the timer. It looks at the deadline when it fires: most exchanges need none of their own."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = self._deadline
        self._timer = Timer(max(self._deadline - self._loop.time(), 0.0), self._fire)

    def _fire(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if self._deadline > self._loop.time():
            self._arm()
        else:
            self._waiter.set_exception(TimeoutError())


def _reader() -> hiredis.Reader:
    return hiredis.Reader(
        protocolError=redis.InvalidResponse, replyError=redis.ResponseError, notEnoughData=_INCOMPLETE
    )
