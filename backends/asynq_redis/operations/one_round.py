"""The operations that one round answers: Enqueue, ExtendLease, WriteResult and the settlements.

Each is a row of a table, see OneRound.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

import redis
from attrs import evolve
from msgspec.structs import replace

from asynq.brokerkit.transitions import end_of
from asynq.errors import (
    DuplicateTaskError,
    LeaseLostError,
    TaskIDConflictError,
)
from asynq.protocol.followers import is_joining
from asynq.protocol.ops import (
    Archive,
    Complete,
    Done,
    Enqueue,
    Enqueued,
    Extended,
    ExtendLease,
    Requeue,
    Retry,
    WriteResult,
)
from asynq.protocol.value_sizes import message_size
from asynq.task_state import TaskState
from asynq_redis.lua import scripts
from asynq_redis.operations.calls import OneRound, OpenCall
from asynq_redis.operations.execution import HANDLERS
from asynq_redis.wire import task_message

if TYPE_CHECKING:
    from asynq.protocol.message import Lease
    from asynq.protocol.ops import Op
    from asynq_redis.operations.execution import CallContext
    from asynq_redis.transport.requests import Arg, Reply

_MADE, _CONFLICT, _DUPLICATE = 1, 0, -1
_PENDING = TaskState.PENDING
_STATES = {state.value.encode(): state for state in TaskState}


# --- enqueue --------------------------------------------------------------------------------------------


target_keys = attrgetter("pending", "scheduled", "groups", "archived", "completed")
"""The keys of a queue that lua/lib/enqueue.lua takes."""
_keys_of_tasks = attrgetter("pending", "scheduled")
_keys_of_options = attrgetter("groups", "archived", "completed")
"""Those of them that only a task with options needs."""


def enqueue_size(op: Enqueue) -> int:
    """Approximate bytes of what `append_enqueue` appends.

    Raises:
        ValueError: A text cannot be encoded as UTF-8.
    """
    message = op.message
    value = message_size(message) if message.headers else len(message.payload)
    return value + len(
        f"{message.type}{message.id}{message.queue}{message.group}{message.unique_key}".encode()
    )


def append_enqueue(op: Enqueue, call: OpenCall, context: CallContext) -> None:  # noqa: ARG001 - see OneRound.append
    """Append what lua/lib/enqueue.lua takes for one task."""
    message = op.message
    call.keys.append(call.queue.tasks + message.id)
    call.args += (message.id, task_message.encode(message), op.enqueue_id, _options(op, call))


def _append_task(op: Enqueue, call: OpenCall, context: CallContext) -> None:  # noqa: ARG001 - see OneRound.append
    message = op.message
    call.args += (message.id, task_message.encode(message))
    options = _options(op, call)
    if options or op.enqueue_id != message.id:
        place = len(call.args) // 2 - 1  # three arguments precede the tasks
        call.tail += (place, op.enqueue_id, options)


def _options(op: Enqueue, call: OpenCall) -> str:
    """Encode the options for lua/lib/enqueue.lua. Appends the keys that they need."""
    message, unique = op.message, op.unique
    if unique is not None and not message.unique_key:
        raise ValueError("unique: the message has no unique_key")
    if (
        unique is None
        and not message.group
        and not (message.headers and (message.sequence or is_joining(message)))
        and op.process_at is None
        and op.process_in is None
        and op.on_conflict == "reject"
    ):
        return ""
    sequence = message.sequence
    if not call.rest and call.queue.groups not in call.keys:
        call.rest += _keys_of_options(call.queue)
    if unique is not None:
        call.rest.append(message.unique_key)
    if message.group:
        call.rest.append(call.queue.group(message.group))
    if sequence:
        call.rest.append(call.queue.sequence(sequence))
    words = (
        "" if op.process_at is None else str(op.process_at),
        "" if op.process_in is None else str(op.process_in),
        str(unique.ttl) if unique else "",
        unique.until if unique else "",
        "1" if unique and unique.keep else "",
        "1" if op.on_conflict == "replace_finished" else "",
        "1" if unique and unique.on_duplicate == "replace" else "",
        "1" if sequence else "2" if is_joining(message) else "",
        sequence or message.group,
    )
    return " ".join(words)


def read_enqueued(op: Enqueue, reply: Reply) -> Any:
    """The answer from the script's reply for one task."""
    if type(reply) is int:
        return Enqueued(state=_PENDING, due_at=reply)
    message = op.message
    code, detail, *rest = reply
    if code == _MADE:
        return Enqueued(state=_STATES[detail], due_at=rest[0])
    if code == _CONFLICT:
        return TaskIDConflictError(message.queue, message.id, state_named(detail))
    if code == _DUPLICATE:
        return DuplicateTaskError(message.queue, message.type, detail.decode().removeprefix("expiry:"))
    return redis.ResponseError(detail.decode(errors="replace"))


def state_named(name: bytes) -> TaskState | None:
    """The state in a task hash. None if it is unknown."""
    return _STATES.get(name)


# --- leases ---------------------------------------------------------------------------------------------


def _append_lease(lease: Lease, what: bytes | int, call: OpenCall) -> None:
    call.keys.append(call.queue.tasks + lease.task_id)
    call.args += (lease.task_id, lease.token, what)


def _read_extended(op: ExtendLease, reply: Reply) -> Any:
    if reply == 0:
        return lease_lost(op.lease)
    return Extended(expires_at=reply[0], cancel=reply[1].decode(errors="replace"))


def lease_lost(lease: Lease) -> LeaseLostError:
    """The error for a lease that is no longer held."""
    return LeaseLostError(lease.queue, lease.task_id)


# --- settlement -----------------------------------------------------------------------------------------


def _append_settlement(op: Any, call: OpenCall, context: CallContext, *args: Arg) -> None:  # noqa: ARG001 - see OneRound.append
    message, token = op.delivery.message, op.delivery.token
    task = call.queue.tasks + message.id
    call.keys += (task, message.unique_key or task)
    call.args += (message.id, token, *args)
    if token != call.token:
        call.token = token
        taken = call.queue.taken(token)
        if taken not in call.rest:
            call.rest.append(taken)


def _sequence(op: Any) -> tuple[str]:
    """A call settles runs of one sequence, or runs without one."""
    return (op.delivery.message.sequence,)


def _append_complete(op: Complete, call: OpenCall, context: CallContext) -> None:
    stored, result = op.delivery.message, op.result
    change = task_message.encode_change(stored, replace(stored, completed_at=context.seconds()))
    results = ("", "") if result is None else ("1", result)
    _append_settlement(op, call, context, change, stored.retention, *results)


def _append_retry(op: Retry, call: OpenCall, context: CallContext) -> None:
    stored = op.delivery.message
    change = task_message.encode_change(stored, end_of(op, context.milliseconds()).message)
    _append_settlement(op, call, context, change, op.delay, "1" if op.failure else "")


def _append_archive(op: Archive, call: OpenCall, context: CallContext) -> None:
    stored = op.delivery.message
    change = task_message.encode_change(stored, end_of(op, context.milliseconds()).message)
    _append_settlement(op, call, context, change)


def _failure_size(op: Retry | Archive) -> int:
    return task_message.change_size(op.delivery.message, op.error)


def _settled(op: Any, reply: Reply) -> Any:
    return None if reply else lease_lost(op.delivery.lease)


def _maybe_settled(answer: Any) -> Any:
    """If a request that was sent again finds the lease lost, the first copy has most likely settled it."""
    return evolve(answer, maybe_applied=True) if isinstance(answer, LeaseLostError) else answer


def _settlement(script: scripts.LuaScript, fixed_keys: Any, append: Any, **options: Any) -> OneRound:
    return OneRound(
        script=script,
        queue=attrgetter("delivery.message.queue"),
        fixed_keys=fixed_keys,
        append=append,
        read=_settled,
        read_resent=_maybe_settled,
        **options,
    )


# --- the table ------------------------------------------------------------------------------------------

ROWS: dict[type[Op[Any]], OneRound] = {
    Enqueue: OneRound(
        script=scripts.ENQUEUE,
        queue=attrgetter("message.queue"),
        fixed_keys=_keys_of_tasks,
        by_id=True,
        size=enqueue_size,
        append=_append_task,
        read=read_enqueued,
        creates_tasks=True,
    ),
    ExtendLease: OneRound(
        script=scripts.EXTEND,
        queue=attrgetter("lease.queue"),
        fixed_keys=lambda keys: (keys.lease,),
        append=lambda op, call, _: _append_lease(op.lease, op.duration, call),
        read=_read_extended,
    ),
    WriteResult: OneRound(
        script=scripts.WRITE_RESULT,
        queue=attrgetter("lease.queue"),
        fixed_keys=lambda keys: (keys.lease,),
        fixed_args=lambda *_: (),
        size=lambda op: len(op.result),
        append=lambda op, call, _: _append_lease(op.lease, op.result, call),
        read=lambda op, reply: None if reply else lease_lost(op.lease),
    ),
    Done: _settlement(
        scripts.DONE,
        attrgetter("active", "lease", "processed", "failed"),
        _append_settlement,
        bounds=_sequence,
    ),
    Complete: _settlement(
        scripts.COMPLETE,
        attrgetter("active", "lease", "completed", "processed", "failed"),
        _append_complete,
        bounds=_sequence,
        size=lambda op: task_message.change_size(op.delivery.message) + len(op.result or b""),
    ),
    Retry: _settlement(
        scripts.RETRY,
        attrgetter("active", "lease", "retry", "processed", "failed"),
        _append_retry,
        size=_failure_size,
    ),
    Archive: _settlement(
        scripts.ARCHIVE,
        attrgetter("active", "lease", "archived", "processed", "failed"),
        _append_archive,
        fixed_args=lambda keys, context: (context.now_argument(), keys.prefix),
        bounds=lambda op: (op.max_size, op.max_age, *_sequence(op)),
        size=_failure_size,
    ),
    Requeue: _settlement(
        scripts.REQUEUE,
        attrgetter("active", "lease", "pending"),
        _append_settlement,
    ),
}

HANDLERS.update({operation: row.steps for operation, row in ROWS.items()})
