"""Large requests: requests that a server may be configured to refuse by closing the connection.

A value above proto-max-bulk-len is answered by a protocol error, which is often lost. A request above
client-query-buffer-limit gets no reply. Both look like an outage. Neither limit can be below 1 MB. Therefore
a request above LARGE_BYTES is sent alone. When its connection is closed, the server is asked for its limits
over another connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import redis

from asynq_redis.transport.requests import Command, size_of
from asynq_redis.wire.sizes import LARGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from asynq_redis.transport.requests import Reply, Request

MAX_WRITE_REQUESTS: Final = 100
"""Maximum requests in one write, so that the replies arrive well within the socket timeout."""
MAX_WRITE_BYTES: Final = 8 * 1024 * 1024
"""Maximum bytes of a write of several requests, for the same reason."""
MAX_CLOSED_ATTEMPTS: Final = 3
"""Number of times a responsive server must close the connection before the request counts as refused."""

LIMIT_QUERIES: Final = (
    Command(("CONFIG", "GET", "proto-max-bulk-len")),
    Command(("CONFIG", "GET", "client-query-buffer-limit")),
)
"""Commands that ask a server for its limits. Even an error shows that the server responds."""


def is_large(request: Request) -> bool:
    """Whether the request is sent alone."""
    return request.size > LARGE_BYTES


def writes(requests: Sequence[Request], share: Sequence[int]) -> Iterator[list[int]]:
    """Split the positions of requests into writes, in order. A large request has its own write."""
    write: list[int] = []
    size = 0
    for at in share:
        more = requests[at].size
        if write and (
            len(write) == MAX_WRITE_REQUESTS or size + more > MAX_WRITE_BYTES or more > LARGE_BYTES
        ):
            yield write
            write, size = [], 0
        write.append(at)
        size += more
        if more > LARGE_BYTES:
            yield write
            write, size = [], 0
    if write:
        yield write


def exceeded(request: Request, limits: Sequence[Reply]) -> int:
    """The server's limit in bytes that a request exceeds, or 0 if it exceeds none."""
    bulk, buffer = (_limit(reply) for reply in limits)
    args = request.args if isinstance(request, Command) else request.parts()[1]
    if bulk and max(size_of((arg,)) for arg in args) > bulk:
        return bulk
    return buffer if buffer and request.size > buffer else 0


def _limit(reply: Reply) -> int:
    if isinstance(reply, redis.RedisError) or not isinstance(reply, list) or len(reply) < 2:
        return 0
    return int(reply[1]) if bytes(reply[1]).isdigit() else 0
