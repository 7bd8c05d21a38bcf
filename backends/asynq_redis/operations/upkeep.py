"""Forward, ListLostLeases, Recover, AdoptOrphans, PurgeCompleted, TrimArchive, AdvanceSequences."""

from __future__ import annotations

from typing import Any

import redis

from asynq.brokerkit.transitions import end_of
from asynq.errors import BrokerUnavailable
from asynq.protocol.message import LostLease
from asynq.protocol.ops import (
    MAX_BATCH,
    Adopted,
    AdoptOrphans,
    Advanced,
    AdvanceSequences,
    Forward,
    Forwarded,
    ListLostLeases,
    LostLeases,
    PurgeCompleted,
    Recover,
    TrimArchive,
)
from asynq_redis.lua.scripts import ADOPT, ADVANCE_SEQUENCES, FORWARD, LIST_LOST, PURGE, RECOVER, TRIM
from asynq_redis.operations.calls import OneRound, OpenCall, lock_key
from asynq_redis.operations.empty_queues import unless_empty
from asynq_redis.operations.execution import HANDLERS, CallContext, Steps, implements, per_operation
from asynq_redis.operations.undecodable import Undecodable, read_message
from asynq_redis.transport.requests import Command, Request, ScriptCall
from asynq_redis.wire import task_message
from asynq_redis.wire.keys import ALL_QUEUES, QueueKeys
from asynq_redis.wire.times import score_instant

MAX_REPLY_BYTES = 8 * 1024 * 1024
"""Bytes of messages after which the remaining lost leases are left for the next call."""
GO_GRACE = 30_000
"""Milliseconds by which a Go peer's lease may be overdue. Go's recoverer has the same tolerance."""


_NO_SEQUENCES = Advanced(promoted=0, examined=0, cursor="")


def _forward(op: Forward, context: CallContext) -> Steps[Any]:
    keys = QueueKeys(op.queue)
    names = (keys.scheduled, keys.retry, keys.pending, keys.groups)
    moved, next_due, more = 0, b"", True
    while more and moved < op.limit:
        limit = min(MAX_BATCH, op.limit - moved)
        [reply] = yield [ScriptCall(FORWARD, names, (context.now_argument(), keys.prefix, limit))]
        if isinstance(reply, redis.RedisError):
            return reply
        count, more, next_due = reply
        moved += count
    return Forwarded(moved=moved, next_due=score_instant(next_due) if next_due else None)


implements(Forward)(
    unless_empty(
        per_operation(_forward),
        lambda keys: (keys.scheduled, keys.retry),
        Forwarded(moved=0, next_due=None),
    )
)


def _list_lost(op: ListLostLeases, context: CallContext) -> Steps[Any]:
    keys = QueueKeys(op.queue)
    leases: list[LostLease] = []
    undecodable: list[Undecodable] = []
    dropped = skip = size = 0
    next_expiry: int | None = None
    while skip >= 0 and len(leases) + len(undecodable) < op.limit and size < MAX_REPLY_BYTES:
        limit = min(MAX_BATCH, op.limit - len(leases) - len(undecodable))
        args = (context.now_argument(), keys.prefix, GO_GRACE, skip, limit)
        [reply] = yield [ScriptCall(LIST_LOST, (keys.lease, keys.active), args)]
        if isinstance(reply, redis.RedisError):
            return reply
        found, gone, skip, expiry = reply
        next_expiry = expiry if expiry >= 0 and (next_expiry is None or expiry < next_expiry) else next_expiry
        dropped += gone
        for raw_id, data, score, token, losses in found:
            size += len(data)
            message = read_message(op.queue, raw_id, data)
            if isinstance(message, Undecodable):
                undecodable.append(message)
            else:
                observed = f"{score.decode()} {token.decode()}"
                leases.append(LostLease(message=message, observed=observed, lease_losses=losses))
    requests: list[Request] = [task.set_aside(context) for task in undecodable]
    replies = (yield requests) if requests else []
    set_aside = tuple(task.task_id for task, reply in zip(undecodable, replies, strict=True) if reply == [1])
    if skip >= 0:
        next_expiry = 0  # some overdue leases were left for the next call
    return LostLeases(leases=tuple(leases), dropped=dropped, set_aside=set_aside, next_expiry=next_expiry)


implements(ListLostLeases)(
    unless_empty(per_operation(_list_lost), lambda keys: (keys.lease,), LostLeases(leases=()))
)


def _maybe_recovered(answer: Any) -> Any:
    """If a request that was sent again finds the lease gone, its first copy or another server took it."""
    if answer is False:
        return BrokerUnavailable("the reply was lost, and the lease is gone now", maybe_applied=True)
    return answer


def _append_recovery(op: Recover, call: OpenCall, context: CallContext) -> None:
    message = op.lost.message
    score, _, token = op.lost.observed.partition(" ")
    change = task_message.encode_change(message, end_of(op, context.milliseconds()).message)
    task = call.queue.task(message.id)
    call.keys += (task, lock_key(task, message))
    call.args += (message.id, score, token, op.to, op.delay if op.to == "retry" else 0, change)


HANDLERS[Recover] = OneRound(
    script=RECOVER,
    queue=lambda op: op.lost.message.queue,
    fixed_keys=lambda keys: (
        *(keys.active, keys.lease, keys.pending, keys.retry, keys.archived),
        *(keys.processed, keys.failed),
    ),
    fixed_args=lambda keys, context: (context.now_argument(), keys.prefix),
    bounds=lambda op: (op.max_size, op.max_age, op.lost.message.sequence),
    size=lambda op: task_message.change_size(op.lost.message, op.error),
    append=_append_recovery,
    read=lambda _, reply: reply == 1,
    read_resent=_maybe_recovered,
).steps


def _adopt(op: AdoptOrphans, context: CallContext) -> Steps[Any]:
    keys = QueueKeys(op.queue)
    adopted = dropped = looked_at = 0
    cursor = op.cursor
    while looked_at < op.limit:
        limit = min(MAX_BATCH, op.limit - looked_at)
        args = (context.now_argument(), keys.prefix, op.grace, cursor, limit)
        requests: list[Request] = [ScriptCall(ADOPT, (keys.active, keys.lease), args)]
        if cursor == 0:
            requests.append(Command(("EXISTS", *keys.holding_tasks)))
        reply, *held = yield requests
        if isinstance(reply, redis.RedisError):
            return reply
        if held and isinstance(held[0], int) and held[0] > 0:
            # A Go client lists a queue only once. If the queue is deleted, later tasks leave it unlisted.
            yield [Command(("SADD", ALL_QUEUES, op.queue), best_effort=True)]
        more_adopted, more_dropped, cursor = reply
        adopted, dropped, looked_at = adopted + more_adopted, dropped + more_dropped, looked_at + limit
        if cursor == 0:
            break
    return Adopted(adopted=adopted, dropped=dropped, cursor=cursor)


implements(AdoptOrphans)(per_operation(_adopt))


def _advance(op: AdvanceSequences, context: CallContext) -> Steps[Any]:
    keys = QueueKeys(op.queue)
    names = (keys.sequences, keys.pending, keys.scheduled)
    promoted, examined, cursor = 0, 0, op.cursor
    while examined < op.limit:
        limit = min(MAX_BATCH, op.limit - examined)
        args = (context.now_argument(), keys.prefix, cursor, limit)
        [reply] = yield [ScriptCall(ADVANCE_SEQUENCES, names, args)]
        if isinstance(reply, redis.RedisError):
            return reply
        promoted, examined, cursor = (
            promoted + reply[0],
            examined + reply[1],
            reply[2].decode(errors="replace"),
        )
        if not cursor:
            break
    return Advanced(promoted=promoted, examined=examined, cursor=cursor)


implements(AdvanceSequences)(
    unless_empty(per_operation(_advance), lambda keys: (keys.sequences,), _NO_SEQUENCES)
)


def _purge(op: PurgeCompleted, context: CallContext) -> Steps[Any]:
    keys = QueueKeys(op.queue)
    call = (PURGE, (keys.completed, keys.archived), (context.now_argument(), keys.prefix))
    return (yield from _delete(*call, limit=op.limit))


implements(PurgeCompleted)(unless_empty(per_operation(_purge), lambda keys: (keys.completed,), 0))


def _trim(op: TrimArchive, context: CallContext) -> Steps[Any]:
    keys = QueueKeys(op.queue)
    args = (context.now_argument(), keys.prefix, op.max_size, op.max_age)
    return (yield from _delete(TRIM, (keys.archived, keys.completed), args, limit=op.limit))


implements(TrimArchive)(unless_empty(per_operation(_trim), lambda keys: (keys.archived,), 0))


def _delete(script: Any, keys: tuple[str, ...], args: tuple[Any, ...], *, limit: int) -> Steps[Any]:
    deleted, wanted, count = 0, min(MAX_BATCH, limit), -1
    while wanted > 0 and count != 0:
        [count] = yield [ScriptCall(script, keys, (*args, wanted))]
        if isinstance(count, redis.RedisError):
            return count
        deleted += count
        wanted = min(MAX_BATCH, limit - deleted) if count == wanted else 0
    return deleted
