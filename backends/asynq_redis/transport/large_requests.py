"""Requests so large that a server may be configured to refuse them, which it does by closing the connection.

A value above proto-max-bulk-len is answered by a protocol error, which gets lost as often as not; one above
client-query-buffer-limit by nothing at all. Either looks like an outage. No such limit can be below 1 MB: so
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
"""Most requests one packed write carries, so that its replies come well within the socket timeout."""
MAX_WRITE_BYTES: Final = 8 * 1024 * 1024
"""Bytes above which a write carries no further request, for the same reason."""
MAX_CLOSED_ATTEMPTS: Final = 3
"""How often a server that answers other requests may close the connection until that is its answer."""

LIMIT_QUERIES: Final = (
    Command(("CONFIG", "GET", "proto-max-bulk-len")),
    Command(("CONFIG", "GET", "client-query-buffer-limit")),
)
"""What asks a server for its limits. One that does not tell has at least answered."""


def bytes_of(request: Request) -> int:
    """Size of a request."""
    return size_of(request.args)


def is_large(request: Request) -> bool:
    """True if it is sent alone."""
    return bytes_of(request) > LARGE_BYTES


def writes(requests: Sequence[Request], share: Sequence[int]) -> Iterator[list[int]]:
    """Cut the positions of requests into packed writes, in order; a large request is alone in its own."""
    write: list[int] = []
    size = 0
    for at in share:
        more = bytes_of(requests[at])
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
    """The limit the server told that a request is above, in bytes; 0 when none explains a refusal."""
    bulk, buffer = (_limit(reply) for reply in limits)
    if bulk and max(size_of((arg,)) for arg in request.args) > bulk:
        return bulk
    return buffer if buffer and bytes_of(request) > buffer else 0


def _limit(reply: Reply) -> int:
    if isinstance(reply, redis.RedisError) or not isinstance(reply, list) or len(reply) < 2:
        return 0
    return int(reply[1]) if bytes(reply[1]).isdigit() else 0
