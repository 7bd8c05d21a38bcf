"""Examine: one page of a queue's keys, of the ids in one state, or of the keys outside of queues."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Any

import redis

from asynq.protocol.doctor import Fault, Finding
from asynq.protocol.ops import MAX_BATCH, Examine, Examined
from asynq.task_state import TaskState
from asynq_redis.lua.scripts import (
    DOCTOR_GROUPS,
    DOCTOR_IDS,
    DOCTOR_LOCKS,
    DOCTOR_TASKS,
    LIST_QUEUES,
    REPAIR_TASKS,
    SCAN_KEYS,
)
from asynq_redis.operations.control import collection_of
from asynq_redis.operations.execution import implements, per_operation
from asynq_redis.operations.one_round import state_named
from asynq_redis.transport.requests import Command, Request, ScriptCall
from asynq_redis.wire import task_message
from asynq_redis.wire.keys import ALL_QUEUES, QueueKeys, with_neighbour

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from asynq_redis.operations.execution import CallContext, Steps
    from asynq_redis.transport.requests import Reply

LEASE_GRACE = 30_000
"""Milliseconds until the lease expires that an active task without a lease is given."""
MAX_CLOCK_SKEW = 60
"""Maximum seconds by which clocks of processes may differ. A record that expired longer ago is stale."""
_LISTS = tuple(state for state in TaskState if state is not TaskState.AGGREGATING)
_PRESENCE = ("asynq:servers", "asynq:workers", "asynq:schedulers")
_PRESENT = "presence"
_HOLDS_TASKS = re.compile(
    r"asynq:\{(.+?)\}:(?:t:.+|g:.+|pending|active|scheduled|retry|archived|completed)", re.DOTALL
)


def _examine(op: Examine, context: CallContext) -> Steps[Any]:
    """A cursor is a stage and the position in it."""
    if op.queue is None:
        return (yield from _store(op, context))
    stage, _, position = op.cursor.partition(":")
    if stage in ("", "keys"):
        return (yield from _keys(op, context, position or "0"))
    return (yield from _ids(op, context, TaskState(stage), int(position)))


implements(Examine)(per_operation(_examine))


def _first_error(replies: Sequence[Reply]) -> Reply:
    return next((reply for reply in replies if isinstance(reply, redis.RedisError)), None)


def _texts(names: Sequence[bytes]) -> list[str]:
    """The names that are valid UTF-8. Other keys were not written by asynq."""
    decoded = ((name, name.decode(errors="replace")) for name in names)
    return [text for name, text in decoded if text.encode() == name]


def _batches(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[start : start + MAX_BATCH] for start in range(0, len(names), MAX_BATCH))


# --- keys -----------------------------------------------------------------------------------------------


def _keys(op: Examine, context: CallContext, position: str) -> Steps[Any]:
    keys = QueueKeys(op.queue or "")
    [page] = yield [ScriptCall(SCAN_KEYS, (keys.pending, keys.active), (keys.prefix, position))]
    if isinstance(page, redis.RedisError):
        return page
    following, names = page[0].decode(), _texts(page[1])
    findings: list[Finding] = []
    for part in (_tasks, _locks, _groups):
        found = yield from part(op, context, keys, names)
        if isinstance(found, redis.RedisError):
            return found
        findings += found
    cursor = f"keys:{following}" if following != "0" else f"{_LISTS[0].value}:0"
    return Examined(findings=tuple(findings), cursor=cursor)


def _named(names: Sequence[str], front: str) -> list[str]:
    return [name.removeprefix(front) for name in names if name.startswith(front)]


def _places(keys: QueueKeys) -> tuple[str, ...]:
    """The keys that lua/lib/places.lua takes."""
    return (
        *(keys.pending, keys.active, keys.lease, keys.scheduled, keys.retry, keys.archived, keys.completed),
        *(keys.groups, keys.aggregation_sets),
    )


def _tasks(op: Examine, context: CallContext, keys: QueueKeys, names: Sequence[str]) -> Steps[Any]:
    ids = _named(names, keys.task(""))
    if not ids:
        return []
    replies = yield [
        ScriptCall(DOCTOR_TASKS, _places(keys), (keys.prefix, *batch)) for batch in _batches(ids)
    ]
    if error := _first_error(replies):
        return error
    answers = [answer for reply in replies for answer in reply]
    damaged = [(id_, answer) for id_, answer in zip(ids, answers, strict=True) if answer]
    findings = [
        Finding(fault=Fault.ORPHANED_TASK if answer[0] else Fault.REMNANT, queue=keys.queue, name=id_)
        for id_, answer in damaged
    ]
    if op.repair and damaged:
        calls: list[Request] = []
        remaining = iter(damaged)
        while batch := list(islice(remaining, MAX_BATCH)):
            items = [arg for id_, answer in batch for arg in (id_, *answer[:2], *_destination(*answer))]
            args = (context.now_argument(), keys.prefix, LEASE_GRACE, *items)
            calls.append(ScriptCall(REPAIR_TASKS, _places(keys), args))
        if error := _first_error((yield calls)):
            return error
    return findings


def _destination(data: bytes, name: bytes, group: bytes) -> tuple[str, int]:
    """The state for an orphaned task ("" for none), and the end of a completed task's retention."""
    state = state_named(name)
    if not data or state is TaskState.ARCHIVED:
        return "", 0
    if state is TaskState.RETRY:
        return TaskState.PENDING.value, 0
    if state is None or state is TaskState.SCHEDULED or (state is TaskState.AGGREGATING and not group):
        return TaskState.ARCHIVED.value, 0
    if state is TaskState.COMPLETED:
        try:
            message = task_message.decode(data)
        except task_message.UndecodableMessageError:
            return TaskState.ARCHIVED.value, 0
        return state.value, max(message.completed_at + message.retention, 0)
    return state.value, 0


def _locks(op: Examine, context: CallContext, keys: QueueKeys, names: Sequence[str]) -> Steps[Any]:  # noqa: ARG001 - as others
    front = f"{keys.prefix}unique:"
    locks = [name for name in names if name.startswith(front)]
    if not locks:
        return []
    args = (keys.prefix, "1" if op.repair else "")
    replies = yield [
        ScriptCall(DOCTOR_LOCKS, (keys.pending, keys.active, *batch), args) for batch in _batches(locks)
    ]
    return _found(Fault.STRAY_LOCK, keys, locks, replies)


def _groups(op: Examine, context: CallContext, keys: QueueKeys, names: Sequence[str]) -> Steps[Any]:  # noqa: ARG001 - as others
    groups = _named(names, keys.group(""))
    if not groups:
        return []
    fixed = (keys.groups, keys.aggregation_sets)
    replies = yield [
        ScriptCall(DOCTOR_GROUPS, (*fixed, *map(keys.group, batch)), ("1" if op.repair else "", *batch))
        for batch in _batches(groups)
    ]
    return _found(Fault.UNLISTED_GROUP, keys, groups, replies)


def _found(fault: Fault, keys: QueueKeys, names: Sequence[str], replies: Sequence[Reply]) -> Any:
    if error := _first_error(replies):
        return error
    flags = [flag for reply in replies for flag in reply]
    return [
        Finding(fault=fault, queue=keys.queue, name=name)
        for name, flag in zip(names, flags, strict=True)
        if flag
    ]


# --- ids ------------------------------------------------------------------------------------------------


def _ids(op: Examine, context: CallContext, state: TaskState, offset: int) -> Steps[Any]:
    keys = QueueKeys(op.queue or "")
    source, kind = collection_of(keys, state, "")
    repair = "1" if op.repair else ""
    args = (context.now_argument(), keys.prefix, kind, state.value, offset, MAX_BATCH, repair, LEASE_GRACE)
    [reply] = yield [ScriptCall(DOCTOR_IDS, (source, keys.lease), args)]
    if isinstance(reply, redis.RedisError):
        return reply
    looked_at, gone, stranded, waiting = reply
    kinds = ((Fault.MISSING_TASK, gone), (Fault.MISSING_LEASE, stranded), (Fault.MISSING_PLACE, waiting))
    findings = [
        Finding(fault=fault, queue=keys.queue, name=id_.decode(errors="replace"))
        for fault, ids in kinds
        for id_ in ids
    ]
    if looked_at == MAX_BATCH:
        cursor = f"{state.value}:{offset + looked_at - (len(gone) if op.repair else 0)}"
    else:
        following = _LISTS.index(state) + 1
        cursor = f"{_LISTS[following].value}:0" if following < len(_LISTS) else ""
    return Examined(findings=tuple(findings), cursor=cursor)


# --- keys outside of queues -----------------------------------------------------------------------------


def _store(op: Examine, context: CallContext) -> Steps[Any]:
    """A cursor is a slot, which selects the server, and the cursor of that server."""
    if op.cursor in ("", _PRESENT):
        return (yield from _presence(op, context))
    slot, _, position = op.cursor.partition(":")
    [page] = yield [Command(("SCAN", position, "MATCH", "asynq:{*", "COUNT", 500), slot=int(slot))]
    if isinstance(page, redis.RedisError):
        return page
    findings = yield from _unlisted(op, page[1])
    if isinstance(findings, redis.RedisError):
        return findings
    if page[0] != b"0":
        return Examined(findings=findings, cursor=f"{slot}:{page[0].decode()}")
    slots = yield from _slot_of_each_server(context)
    if isinstance(slots, redis.RedisError):
        return slots
    following = min((one for one in slots if one > int(slot)), default=None)
    return Examined(findings=findings, cursor="" if following is None else f"{following}:0")


def _unlisted(op: Examine, names: Sequence[bytes]) -> Steps[Any]:
    """Return a finding for each queue of these keys that is not listed."""
    queues = list(
        dict.fromkeys(match[1] for name in _texts(names) if (match := _HOLDS_TASKS.fullmatch(name)))
    )
    if not queues:
        return ()
    [listed] = yield [Command(("SMISMEMBER", ALL_QUEUES, *queues))]
    if isinstance(listed, redis.RedisError):
        return listed
    unlisted = [queue for queue, known in zip(queues, listed, strict=True) if not known]
    if op.repair and unlisted:
        added = yield [ScriptCall(LIST_QUEUES, with_neighbour(ALL_QUEUES), tuple(unlisted))]
        if error := _first_error(added):
            return error
    return tuple(Finding(fault=Fault.UNLISTED_QUEUE, queue=queue) for queue in unlisted)


def _slot_of_each_server(context: CallContext) -> Steps[Any]:
    """The first slot of each primary."""
    if not context.clustered:
        return [0]
    [ranges] = yield [Command(("CLUSTER", "SLOTS"))]
    if isinstance(ranges, redis.RedisError):
        return ranges
    firsts: dict[tuple[bytes, int], int] = {}
    for first, _, (host, port, *_), *_ in ranges:
        firsts[host, port] = min(first, firsts.get((host, port), first))
    return list(firsts.values())


def _presence(op: Examine, context: CallContext) -> Steps[Any]:
    """The score of a record is its expiry in Unix seconds, by the clock of its writer."""
    ended = context.seconds() - MAX_CLOCK_SKEW
    replies = yield [
        Command(("ZRANGEBYSCORE", index, "-inf", ended, "LIMIT", 0, MAX_BATCH)) for index in _PRESENCE
    ]
    if error := _first_error(replies):
        return error
    stale = {index: found for index, found in zip(_PRESENCE, replies, strict=True) if found}
    if op.repair and stale:
        removed = yield [Command(("ZREM", index, *found)) for index, found in stale.items()]
        if error := _first_error(removed):
            return error
    findings = tuple(
        Finding(fault=Fault.STALE_PRESENCE, name=name.decode(errors="replace"))
        for found in stale.values()
        for name in found
    )
    # Repaired records are removed, so the next page starts at the front. Others would be found again.
    more = op.repair and any(len(found) == MAX_BATCH for found in stale.values())
    return Examined(findings=findings, cursor=_PRESENT if more else "0:0")
