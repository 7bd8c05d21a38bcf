"""ListGroups, TakeGroup, and the operations on aggregation sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import redis

from asynq.brokerkit.transitions import log_set_aside
from asynq.errors import AggregationLostError, BrokerRefusedError
from asynq.protocol.groups import AggregationSet, GroupInfo
from asynq.protocol.ops import (
    MAX_BATCH,
    MAX_SET_SIZE,
    ExtendAggregation,
    FinishAggregation,
    Groups,
    ListGroups,
    ReclaimAggregations,
    Repaired,
    RepairGroups,
    ReturnAggregation,
    TakeGroup,
)
from asynq_redis.lua.scripts import (
    DOCTOR_GROUPS,
    DROP_MEMBERS,
    EXTEND_SET,
    FINISH_SET,
    LIST_GROUPS,
    LIST_QUEUES,
    READ_SET,
    RECLAIM_SET,
    REPAIR_GROUPS,
    RETURN_SET,
    TAKE_GROUP,
)
from asynq_redis.operations.calls import OpenCall
from asynq_redis.operations.empty_queues import unless_empty
from asynq_redis.operations.execution import CallContext, Steps, implements, per_operation
from asynq_redis.operations.one_round import append_enqueue, read_enqueued, target_keys
from asynq_redis.operations.undecodable import Undecodable, read_message
from asynq_redis.transport.requests import Request, ScriptCall
from asynq_redis.wire import task_message
from asynq_redis.wire.keys import ALL_QUEUES, QueueKeys, with_neighbour

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq.protocol.message import TaskMessage
    from asynq_redis.transport.requests import Reply

_SEARCHED_TOGETHER = 100
"""Maximum number of queues of one search for unlisted groups, so that the server is not blocked for long."""
_LOST = -3
_NONE_DUE, _RETURNED, _IMMOVABLE = 0, 1, 3


def _list(op: ListGroups, context: CallContext) -> Steps[Any]:
    keys = QueueKeys(op.queue)
    args = (context.now_argument(), keys.prefix, op.cursor or "0")
    [reply] = yield [ScriptCall(LIST_GROUPS, (keys.groups, keys.pending), args)]
    if isinstance(reply, redis.RedisError):
        return reply
    cursor, *found = reply
    groups = (
        GroupInfo(name=name.decode(errors="replace"), size=size, waiting=waiting, quiet=quiet)
        for name, size, waiting, quiet in found
    )
    return Groups(groups=tuple(groups), cursor=_cursor(cursor))


implements(ListGroups)(per_operation(_list))


def _cursor(reply: bytes) -> str:
    return "" if reply == b"0" else reply.decode()


# --- sets -----------------------------------------------------------------------------------------------


def _take(op: TakeGroup, context: CallContext) -> Steps[Any]:
    keys = QueueKeys(op.queue)
    own = (keys.aggregation_set(op.group, op.set_id), keys.aggregation_sets)
    names = (keys.group(op.group), own[0], keys.groups, own[1])
    rules = (op.grace, op.max_delay, op.max_size, MAX_SET_SIZE, op.hold)
    [size] = yield [ScriptCall(TAKE_GROUP, names, (context.now_argument(), op.group, *rules))]
    if isinstance(size, redis.RedisError) or not size:
        return size or None
    members = yield from _read(keys, own, size)
    if isinstance(members, redis.RedisError):
        return members
    messages: list[TaskMessage] = []
    drops: list[Request] = []
    for raw_id, data in members:
        message = read_message(op.queue, raw_id, data) if data else None
        if message is None or isinstance(message, Undecodable):
            drops.append(_drop(keys, own, raw_id, message, context))
        else:
            messages.append(message)
    if drops:
        yield drops
    if not messages:
        return None
    return AggregationSet(queue=op.queue, group=op.group, id=op.set_id, messages=tuple(messages))


implements(TakeGroup)(per_operation(_take))


def _read(keys: QueueKeys, own: tuple[str, str], size: int) -> Steps[Any]:
    """Read the ids and messages of a set, oldest first. The rest of a short page is requested again."""
    found: dict[int, list[Any]] = {}
    wanted = {start: min(MAX_BATCH, size - start) for start in range(0, size, MAX_BATCH)}
    while wanted:
        pages = yield [ScriptCall(READ_SET, own, (keys.prefix, *part)) for part in wanted.items()]
        asked, wanted = wanted, {}
        for (start, count), page in zip(asked.items(), pages, strict=True):
            if isinstance(page, redis.RedisError):
                return page
            found[start] = page
            if 0 < len(page) < count:
                wanted[start + len(page)] = count - len(page)
    return [member for start in sorted(found) for member in found[start]]


def _drop(
    keys: QueueKeys, own: tuple[str, str], raw_id: bytes, unread: Undecodable | None, context: CallContext
) -> ScriptCall:
    """The call that removes a member from its set. A member with an undecodable message is archived."""
    data, instead = b"", b""
    if unread is not None:
        log_set_aside(keys.queue, unread.task_id, str(unread.why))
        data = unread.data
        instead = task_message.encode(task_message.replacement(keys.queue, unread.task_id, data, unread.why))
    names = (*own, keys.archived, keys.task("").encode() + raw_id)
    return ScriptCall(DROP_MEMBERS, names, (context.now_argument(), raw_id, data, instead))


def _own_keys(taken: AggregationSet) -> tuple[QueueKeys, tuple[str, str]]:
    keys = QueueKeys(taken.queue)
    return keys, (keys.aggregation_set(taken.group, taken.id), keys.aggregation_sets)


def _held(taken: AggregationSet, reply: Reply) -> Steps[Any]:
    """Answer of an operation that fails if the set is no longer held."""
    if isinstance(reply, redis.RedisError):
        return reply
    return None if reply == 1 else (yield from _lost(taken))


def _lost(taken: AggregationSet) -> Steps[AggregationLostError]:
    """List the group again, which a Go peer does not do when it returns a set. Returns the error."""
    keys = QueueKeys(taken.queue)
    names = (keys.groups, keys.aggregation_sets, keys.group(taken.group))
    yield [ScriptCall(DOCTOR_GROUPS, names, ("1", taken.group))]
    return AggregationLostError(taken.queue, taken.group)


def _extend(op: ExtendAggregation, context: CallContext) -> Steps[Any]:
    _, own = _own_keys(op.taken)
    [reply] = yield [ScriptCall(EXTEND_SET, own, (context.now_argument(), op.hold))]
    return (yield from _held(op.taken, reply))


implements(ExtendAggregation)(per_operation(_extend))


def _finish(op: FinishAggregation, context: CallContext) -> Steps[Any]:
    keys, own = _own_keys(op.taken)
    call = OpenCall(keys, [*target_keys(keys), *own], [context.now_argument(), keys.prefix])
    append_enqueue(op.enqueue, call, context)
    # A lock of another queue, which only damaged data can name, would be in another slot.
    locks = dict.fromkeys(m.unique_key for m in op.taken.messages if m.unique_key.startswith(keys.prefix))
    listed, reply = yield [
        ScriptCall(LIST_QUEUES, with_neighbour(ALL_QUEUES), (op.taken.queue,)),
        ScriptCall(FINISH_SET, (*call.keys, *call.rest, *locks), call.args),
    ]
    if isinstance(reply, redis.RedisError):
        return reply
    if reply[0] == _LOST:
        return (yield from _lost(op.taken))
    return listed if isinstance(listed, redis.RedisError) else read_enqueued(op.enqueue, reply)


implements(FinishAggregation)(per_operation(_finish))


def _return(op: ReturnAggregation, context: CallContext) -> Steps[Any]:
    keys, own = _own_keys(op.taken)
    names = (*own, keys.group(op.taken.group), keys.groups)
    request = ScriptCall(RETURN_SET, names, (op.taken.group,))
    [reply] = yield [request]
    # The first copy of the request has returned the set.
    if reply == 0 and context.was_resent(request):
        return None
    return (yield from _held(op.taken, reply))


implements(ReturnAggregation)(per_operation(_return))


# --- upkeep ---------------------------------------------------------------------------------------------


def _reclaim(op: ReclaimAggregations, context: CallContext) -> Steps[Any]:
    keys = QueueKeys(op.queue)
    returned = skip = 0
    while returned < op.limit:
        args = (context.now_argument(), keys.prefix, skip, MAX_SET_SIZE)
        [reply] = yield [ScriptCall(RECLAIM_SET, (keys.aggregation_sets, keys.groups), args)]
        if isinstance(reply, redis.RedisError):
            return reply
        if reply == _NONE_DUE:
            break
        returned += reply == _RETURNED
        skip += reply == _IMMOVABLE
    return returned


implements(ReclaimAggregations)(
    unless_empty(per_operation(_reclaim), lambda keys: (keys.aggregation_sets,), 0)
)


@implements(RepairGroups)
def _repair(ops: Sequence[RepairGroups], context: CallContext) -> Steps[list[Any]]:
    """One search through the keys of a server serves many queues, which have usually come equally far."""
    most = 1 if context.clustered else _SEARCHED_TOGETHER
    places: dict[str, list[int]] = {}
    for place, op in enumerate(ops):
        places.setdefault(op.cursor or "0", []).append(place)
    parts = [
        (cursor, found[start : start + most])
        for cursor, found in places.items()
        for start in range(0, len(found), most)
    ]
    answers: list[Any] = [None] * len(ops)
    replies = yield [_search(cursor, [ops[place].queue for place in part]) for cursor, part in parts]
    for (_, part), reply in zip(parts, replies, strict=True):
        for number, place in enumerate(part):
            answers[place] = _repaired(reply, number)
    return answers


def _search(cursor: str, queues: Sequence[str]) -> ScriptCall:
    keys = [QueueKeys(queue) for queue in queues]
    names = tuple(name for of in keys for name in (of.groups, of.aggregation_sets))
    return ScriptCall(REPAIR_GROUPS, names, (cursor, *(of.prefix for of in keys)))


def _repaired(reply: Reply, number: int) -> Any:
    if isinstance(reply, redis.RedisError):
        return reply
    listed = reply[1][number]
    if isinstance(listed, bytes):
        return BrokerRefusedError(listed.decode(errors="replace"))
    return Repaired(listed=listed, cursor=_cursor(reply[0]))
