"""WriteServer, ClearServer, ListServers, WriteScheduler, ClearScheduler, ListSchedulerEntries, and events.

A record is valid until its key expires, by the Redis server's clock. The scores of the indexes are for Go,
which relies on them. New members prune entries that expired long ago. Readers change nothing.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import redis

from asynq.protocol.ops import (
    MAX_BATCH,
    MAX_ENQUEUE_EVENTS,
    ClearScheduler,
    ClearServer,
    ListEnqueueEvents,
    ListSchedulerEntries,
    ListServers,
    RecordEnqueueEvent,
    WriteScheduler,
    WriteServer,
)
from asynq.protocol.presence import latest_of_each
from asynq_redis.lua.scripts import PRESENT, WRITE_SCHEDULER, WRITE_SERVER
from asynq_redis.operations.execution import CallContext, Steps, implements, per_operation
from asynq_redis.transport import redis_errors
from asynq_redis.transport.requests import Command, Request, ScriptCall
from asynq_redis.wire import presence_records
from asynq_redis.wire.keys import (
    ALL_SCHEDULERS,
    ALL_SERVERS,
    ALL_WORKERS,
    SchedulerKeys,
    ServerKeys,
    history,
    with_neighbour,
)
from asynq_redis.wire.task_message import UndecodableMessageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from asynq.protocol.presence import SchedulerEntry, ServerInfo
    from asynq_redis.transport.requests import Arg, Reply

_PRUNED_AFTER = 3600
"""Seconds for which an index keeps an expired member: a peer with a slow clock may still renew it."""


def _write_server(op: WriteServer, context: CallContext) -> Steps[Any]:
    server, ttl = op.server, _seconds(op.ttl)
    keys = ServerKeys.of(server.host, server.pid, server.id)
    record = presence_records.encode_server(server)
    workers = [
        (f"{worker.queue}:{worker.task_id}", presence_records.encode_worker(server, worker))
        for worker in server.workers
    ]
    names: tuple[str, ...] = (keys.server, keys.workers, keys.draft)
    requests: list[Request] = []
    if context.clustered:
        requests += (
            _indexed(ALL_SERVERS, keys.server, ttl, context),
            _indexed(ALL_WORKERS, keys.workers, ttl, context),
        )
    else:
        names += ALL_SERVERS, ALL_WORKERS
    fixed = (record, ttl, *_lifetime(ttl, context))
    requests += [ScriptCall(WRITE_SERVER, names, (*fixed, *part)) for part in _parts(workers)]
    return _refusal((yield requests))


implements(WriteServer)(per_operation(_write_server))


def _clear_server(op: ClearServer, context: CallContext) -> Steps[Any]:  # noqa: ARG001 - every handler has these two
    keys = ServerKeys.of(op.host, op.pid, op.server_id)
    replies = yield [
        Command(("ZREM", ALL_SERVERS, keys.server)),
        Command(("ZREM", ALL_WORKERS, keys.workers)),
        Command(("DEL", keys.server, keys.workers)),
    ]
    return _refusal(replies)


implements(ClearServer)(per_operation(_clear_server))


def _list_servers(op: ListServers, context: CallContext) -> Steps[Any]:  # noqa: ARG001 - every handler has these two
    [members] = yield [Command(("ZRANGE", ALL_SERVERS, 0, -1))]
    if error := _refusal([members]):
        return error
    read: list[Request] = []
    for keys in filter(None, map(ServerKeys.named, members)):
        read += Command(("GET", keys.server)), Command(("HVALS", keys.workers))
    replies = (yield read) if read else []
    servers: list[ServerInfo] = []
    for record, workers in zip(replies[::2], replies[1::2], strict=True):
        if error := _refusal([record, workers]):
            if redis_errors.code(error) != "WRONGTYPE":
                return error
        elif record is not None:
            servers += _decoded(partial(presence_records.decode_server, workers=workers), [record])
    return tuple(sorted(servers, key=lambda server: (server.host, server.pid, server.id)))


implements(ListServers)(per_operation(_list_servers))


def _write_scheduler(op: WriteScheduler, context: CallContext) -> Steps[Any]:
    ttl, keys = _seconds(op.ttl), SchedulerKeys(op.scheduler_id)
    entries = [(presence_records.encode_entry(entry),) for entry in op.entries]
    replies = yield [
        _indexed(ALL_SCHEDULERS, keys.entries, ttl, context),
        *(ScriptCall(WRITE_SCHEDULER, (keys.entries, keys.draft), (ttl, *part)) for part in _parts(entries)),
    ]
    return _refusal(replies)


implements(WriteScheduler)(per_operation(_write_scheduler))


def _clear_scheduler(op: ClearScheduler, context: CallContext) -> Steps[Any]:  # noqa: ARG001 - every handler has these two
    entries = SchedulerKeys(op.scheduler_id).entries
    replies = yield [Command(("ZREM", ALL_SCHEDULERS, entries)), Command(("DEL", entries))]
    return _refusal(replies)


implements(ClearScheduler)(per_operation(_clear_scheduler))


def _list_entries(op: ListSchedulerEntries, context: CallContext) -> Steps[Any]:  # noqa: ARG001 - every handler has these two
    [members] = yield [Command(("ZRANGE", ALL_SCHEDULERS, 0, -1))]
    if error := _refusal([members]):
        return error
    replies = (yield [Command(("LRANGE", member, 0, -1)) for member in members]) if members else []
    entries: list[SchedulerEntry] = []
    for reply in replies:
        if error := _refusal([reply]):
            if redis_errors.code(error) != "WRONGTYPE":
                return error
        else:
            entries += _decoded(presence_records.decode_entry, reply)
    return latest_of_each(entries)


implements(ListSchedulerEntries)(per_operation(_list_entries))


def _record_event(op: RecordEnqueueEvent, context: CallContext) -> Steps[Any]:  # noqa: ARG001 - every handler has these two
    key, event = history(op.entry_id), op.event
    replies = yield [
        Command(("ZADD", key, int(event.enqueued_at.timestamp()), presence_records.encode_event(event))),
        Command(("ZREMRANGEBYRANK", key, 0, -MAX_ENQUEUE_EVENTS - 1)),
        Command(("EXPIRE", key, _seconds(op.keep))),
    ]
    return _refusal(replies)


implements(RecordEnqueueEvent)(per_operation(_record_event))


def _list_events(op: ListEnqueueEvents, context: CallContext) -> Steps[Any]:  # noqa: ARG001 - every handler has these two
    if op.limit <= 0:
        return ()
    last = op.offset + op.limit - 1
    [members] = yield [Command(("ZRANGE", history(op.entry_id), op.offset, last, "REV"))]
    return _refusal([members]) or tuple(_decoded(presence_records.decode_event, members))


implements(ListEnqueueEvents)(per_operation(_list_events))


def _refusal(replies: Sequence[Reply]) -> Reply:
    """The first error among the replies, or None."""
    return next((reply for reply in replies if isinstance(reply, redis.RedisError)), None)


def _seconds(duration: int) -> int:
    """Milliseconds as whole seconds, rounded up: Redis and Go accept no fraction."""
    return -(-duration // 1000)


def _indexed(index: str, member: str, ttl: int, context: CallContext) -> Request:
    return ScriptCall(PRESENT, with_neighbour(index), (*_lifetime(ttl, context), member))


def _lifetime(ttl: int, context: CallContext) -> tuple[int, int]:
    """The Unix seconds at which a record expires, and those by which pruned records expired."""
    now = context.seconds()
    return now + ttl, now - _PRUNED_AFTER


def _parts(items: Sequence[tuple[Arg, ...]]) -> Iterator[tuple[Arg, ...]]:
    """Arguments of each call: flags for the first and the last call, and up to MAX_BATCH items."""
    starts = range(0, max(len(items), 1), MAX_BATCH)
    for start in starts:
        part = [value for item in items[start : start + MAX_BATCH] for value in item]
        yield ("1" if start == 0 else "", "1" if start == starts[-1] else "", *part)


def _decoded(decode: Callable[[bytes], Any], data: Sequence[bytes]) -> Iterator[Any]:
    """Decode records. Undecodable ones are skipped."""
    for record in data:
        try:
            yield decode(record)
        except UndecodableMessageError:
            continue
