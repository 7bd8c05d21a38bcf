"""Changes of one task."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime  # noqa: TC003 - msgspec reads the annotations
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from asynq.task_state import TaskState
from asynq.web.api.durations import due_instant
from asynq.web.api.endpoint import endpoint
from asynq.web.api.selection import OneTask, TaskInState
from asynq.web.undo import TaskUndo

if TYPE_CHECKING:
    from asynq.web.call import WebCall


PayloadEncoding = Literal["text", "base64"]


class CancelledTask(OneTask, frozen=True, kw_only=True):
    """Names an active task whose run is to end."""

    then: Literal["archive", "retry"] = "archive"
    """What becomes of the task."""


class CancelAnswer(Struct, kw_only=True):
    """Whether a run was told to end."""

    cancelled: bool
    """False if no such task is active."""


class ChangedTask(OneTask, frozen=True, kw_only=True):
    """A task, and what is to be different. What is not given stays as it is."""

    payload: str | None = None
    """The new payload: text, or base64."""
    payload_encoding: PayloadEncoding = "text"
    process_at: datetime | None = None
    """When a scheduled or retried task is due."""
    process_in: str | None = None
    """The same as a duration from now, such as "1h30m"."""
    run: bool = False
    """Whether it is to be pending at once, with the new payload."""


@endpoint(
    "POST",
    "/queues/{queue}/{state}_tasks/{task_id}:run",
    asked=TaskInState,
    answer=NoneType,
    says=lambda asked: f"run {asked} now",
)
async def run_task(call: WebCall, asked: TaskInState) -> None:
    """Make a task pending now, whatever it waits for. Archived and completed tasks run once more."""
    before = await call.web.inspector.task(asked.queue, asked.task_id)
    await call.web.inspector.run_task(asked.queue, asked.task_id)
    call.noted.changed = 1
    undo = TaskUndo(call.web.broker)
    undo.moved(before, TaskState.PENDING)
    call.noted.undone_by(undo)


@endpoint(
    "POST",
    "/queues/{queue}/{state}_tasks/{task_id}:archive",
    asked=TaskInState,
    answer=NoneType,
    says=lambda asked: f"archive {asked}: it will not run unless it is run by hand",
)
async def archive_task(call: WebCall, asked: TaskInState) -> None:
    """Move a task to the archive."""
    before = await call.web.inspector.task(asked.queue, asked.task_id)
    await call.web.inspector.archive_task(asked.queue, asked.task_id)
    call.noted.changed = 1
    undo = TaskUndo(call.web.broker)
    undo.moved(before, TaskState.ARCHIVED)
    call.noted.undone_by(undo)


@endpoint(
    "DELETE",
    "/queues/{queue}/{state}_tasks/{task_id}",
    asked=TaskInState,
    answer=NoneType,
    says=lambda asked: f"delete {asked} for good",
)
async def delete_task(call: WebCall, asked: TaskInState) -> None:
    """Delete a task that is not active, with its result."""
    await call.web.inspector.delete_task(asked.queue, asked.task_id)
    call.noted.changed = 1


@endpoint(
    "POST",
    "/queues/{queue}/active_tasks/{task_id}:cancel",
    asked=CancelledTask,
    answer=CancelAnswer,
    says=lambda asked: f"cancel the run of {asked}, then {asked.then} it",
)
async def cancel_task(call: WebCall, asked: CancelledTask) -> CancelAnswer:
    """End the run of an active task, wherever it runs. A handler that does not end when told goes on."""
    told = await call.web.inspector.cancel(asked.task_id, asked.queue, asked.then)
    call.noted.changed = int(told)
    if not told:
        call.noted.remark = "its run had ended before"
    return CancelAnswer(cancelled=told)


def _says_change(asked: ChangedTask) -> str:
    parts = []
    if asked.payload is not None:
        parts.append("another payload")
    if asked.process_at is not None:
        parts.append(f"due at {asked.process_at.isoformat()}")
    if asked.process_in is not None:
        parts.append(f"due in {asked.process_in}")
    if asked.run and not parts:
        return f"run {asked} now"
    return f"change {asked}: {' and '.join(parts) or 'nothing'}" + (", and run it now" if asked.run else "")


@endpoint(
    "POST",
    "/queues/{queue}/tasks/{task_id}:change",
    asked=ChangedTask,
    answer=NoneType,
    says=_says_change,
)
async def change_task(call: WebCall, asked: ChangedTask) -> None:
    """Change the payload of a task that waits or is archived, or when it is due, and run it if asked."""
    inspector, queue, task_id = call.web.inspector, asked.queue, asked.task_id
    payload = payload_of(asked.payload, asked.payload_encoding)
    due: datetime | None = None
    if asked.process_at is not None or asked.process_in is not None:
        due = await due_instant(call.web.broker, asked.process_at, asked.process_in)
    if payload is None and due is None and not asked.run:
        raise ValueError("nothing is to be changed: give a payload, process_at or process_in")
    before = await inspector.task(queue, task_id)
    if due is not None:
        given: dict[str, Any] = {} if payload is None else {"payload": payload}
        await inspector.reschedule(queue, task_id, process_at=due, **given)
    elif payload is not None:
        await inspector.update_payload(queue, task_id, payload)
    call.noted.changed = 1
    if asked.run:
        await inspector.run_task(queue, task_id)
        return
    undo = TaskUndo(call.web.broker)
    undo.edited(before, payload=payload, due=due)
    call.noted.undone_by(undo)


def payload_of(text: str | None, encoding: PayloadEncoding) -> bytes | None:
    """The bytes of a payload; None if none is given. ValueError if it is not in its encoding."""
    if text is None:
        return None
    if encoding == "text":
        return text.encode()
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("payload is not base64") from None
