"""ClaimTransfer, ExportTask, ImportTask, ReleaseTask, ListParked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import redis

from asynq.errors import (
    DuplicateTaskError,
    LeaseLostError,
    TaskIDConflictError,
    TaskNotFoundError,
    TaskStateError,
)
from asynq.ids import random_id
from asynq.protocol.followers import HELD
from asynq.protocol.ops import ClaimTransfer, ExportTask, ImportTask, ListParked, ReleaseTask
from asynq.protocol.transfer import PARKED, PARKED_MARK, LockImage, TaskImage
from asynq.protocol.value_sizes import message_size
from asynq.task_state import TaskState
from asynq_redis.lua.scripts import CLAIM_TRANSFER, EXPORT, IMPORT, RELEASE
from asynq_redis.operations.calls import OneRound, OpenCall
from asynq_redis.operations.execution import HANDLERS, implements, per_operation
from asynq_redis.operations.manage import stations
from asynq_redis.operations.one_round import state_named
from asynq_redis.operations.undecodable import Undecodable, read_message
from asynq_redis.transport.requests import Command, ScriptCall
from asynq_redis.wire import task_message
from asynq_redis.wire.keys import STORE, QueueKeys, with_neighbour
from asynq_redis.wire.times import nanoseconds_instant, score_instant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq_redis.operations.execution import CallContext, Steps
    from asynq_redis.transport.requests import Reply

_CREATED, _PRESENT, _CONFLICT, _DUPLICATE = 1, 0, -1, -2
_LOST = -9
_NONE = b"-"


def _claim(op: ClaimTransfer, context: CallContext) -> Steps[Any]:
    args = (context.now_argument(), op.holder, op.hold, "1" if op.renew else "")
    key = QueueKeys(op.queue).transfer
    made = Command(("SET", STORE, random_id(), "NX"))
    replies = yield [made, Command(("GET", STORE)), ScriptCall(CLAIM_TRANSFER, with_neighbour(key), args)]
    for reply in replies:
        if isinstance(reply, redis.RedisError):
            return reply
    return replies[1].decode(errors="replace") if replies[2] == 1 else ""


implements(ClaimTransfer)(per_operation(_claim))


def _stations(keys: QueueKeys) -> tuple[str, ...]:
    return (*stations(keys), keys.transfer)


def _append_id(op: ExportTask | ReleaseTask, call: OpenCall, context: CallContext) -> None:  # noqa: ARG001 - see OneRound.append
    call.keys.append(call.queue.task(op.task_id))
    call.args.append(op.task_id)


# --- export ---------------------------------------------------------------------------------------------


def _read_image(op: ExportTask, reply: Reply) -> Any:
    if reply == _LOST:
        return LeaseLostError(op.queue, op.task_id)
    if not reply:
        return TaskNotFoundError(op.queue, op.task_id)
    state = state_named(reply[0])
    if len(reply) == 1 or state is None:
        found = TaskNotFoundError(op.queue, op.task_id)
        return found if state is None else TaskStateError(op.queue, op.task_id, state, "export")
    data, score, since, group, left, until, keep, losses, cancel, place, result = reply[1:]
    message = read_message(op.queue, op.task_id.encode(), data)
    if isinstance(message, Undecodable):
        return message
    lock = LockImage(expires_in=int(left), until=until.decode(), keep=int(keep)) if left else None
    return TaskImage(
        message=message,
        state=state,
        due_at=0 if score == _NONE else score_instant(score),
        pending_since=nanoseconds_instant(since),
        result=result,
        group=group.decode(errors="replace"),
        lock=lock,
        lease_losses=int(losses),
        cancel=cancel.decode(errors="replace"),
        place=int(place),
    )


_EXPORT = OneRound(
    script=EXPORT,
    queue=lambda op: op.queue,
    fixed_keys=_stations,
    fixed_args=lambda keys, context: (context.now_argument(), keys.prefix),
    bounds=lambda op: ("1" if op.park else "", HELD, op.transfer, op.claim),
    append=_append_id,
    read=_read_image,
)


def _export(ops: Sequence[ExportTask], context: CallContext) -> Steps[list[Any]]:
    """A task that cannot be decoded is restored: no script can tell."""
    answers = yield from _EXPORT.steps(ops, context)
    unread = [op for op, answer in zip(ops, answers, strict=True) if isinstance(answer, Undecodable)]
    parked = [op for op in unread if op.park]
    if parked:
        back = [_back(op) for op in parked]
        yield from _RELEASE.steps(back, context)
    return [
        TaskNotFoundError(op.queue, op.task_id) if isinstance(answer, Undecodable) else answer
        for op, answer in zip(ops, answers, strict=True)
    ]


def _back(op: ExportTask) -> ReleaseTask:
    return ReleaseTask(
        queue=op.queue, task_id=op.task_id, to="restored", transfer=op.transfer, claim=op.claim
    )


HANDLERS[ExportTask] = _export


# --- import ---------------------------------------------------------------------------------------------


def _seconds(instant: int) -> int:
    return -(-instant // 1000)


def _append_image(op: ImportTask, call: OpenCall, context: CallContext) -> None:  # noqa: ARG001 - see OneRound.append
    image = op.image
    message, lock = image.message, image.lock
    task = call.queue.task(message.id)
    call.keys += (task, task if lock is None else message.unique_key)
    score = "-" if image.state is TaskState.PENDING else str(_seconds(image.due_at))
    since = f"{image.pending_since}000000" if image.pending_since else "-"
    call.args += (
        *(message.id, task_message.encode(message), image.identity),
        f"{PARKED_MARK}{image.state.value} {score} {since} {op.transfer}",
        *(("", "", "0") if lock is None else (max(lock.expires_in, 1), lock.until, lock.keep)),
        *(message.sequence, image.group, image.lease_losses, image.cancel),
        "".join(f" {member}" for member in image.arrived),
        b"" if image.result is None else b"1" + image.result,
    )


def _read_import(op: ImportTask, reply: Reply) -> Any:
    message = op.image.message
    if reply == _LOST:
        return LeaseLostError(message.queue, message.id)
    code, *detail = reply
    if code in (_CREATED, _PRESENT):
        return code == _CREATED
    if code == _CONFLICT:
        return TaskIDConflictError(message.queue, message.id, state_named(detail[0]))
    if code == _DUPLICATE:
        holder = detail[0].decode(errors="replace").removeprefix("expiry:")
        return DuplicateTaskError(message.queue, message.type, holder)
    return redis.ResponseError(detail[0].decode(errors="replace"))


HANDLERS[ImportTask] = OneRound(
    script=IMPORT,
    queue=lambda op: op.image.message.queue,
    fixed_keys=lambda keys: (keys.scheduled, keys.transfer),
    fixed_args=lambda keys, context: (keys.prefix,),  # noqa: ARG005 - see OneRound.fixed_args
    bounds=lambda op: (op.claim,),
    size=lambda op: message_size(op.image.message) + len(op.image.result or b""),
    append=_append_image,
    read=_read_import,
    creates_tasks=True,
).steps


# --- release --------------------------------------------------------------------------------------------


_RELEASE = OneRound(
    script=RELEASE,
    queue=lambda op: op.queue,
    fixed_keys=_stations,
    fixed_args=lambda keys, context: (context.now_argument(), keys.prefix),
    bounds=lambda op: (op.to, op.transfer, op.claim),
    append=_append_id,
    read=lambda op, reply: LeaseLostError(op.queue, op.task_id) if reply == _LOST else reply == 1,
)
HANDLERS[ReleaseTask] = _RELEASE.steps


# --- list -----------------------------------------------------------------------------------------------


def _list_parked(op: ListParked, context: CallContext) -> Steps[Any]:  # noqa: ARG001 - every handler has these two
    score = PARKED // 1000
    key = QueueKeys(op.queue).scheduled
    [ids] = yield [Command(("ZRANGEBYSCORE", key, score, score, "LIMIT", op.offset, op.limit))]
    return ids if isinstance(ids, redis.RedisError) else tuple(name.decode(errors="replace") for name in ids)


implements(ListParked)(per_operation(_list_parked))
