"""Enqueues a task once more, as it was or with another payload."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from asynq.client.client import AsyncClient
from asynq.client.task import Task
from asynq.web.api.endpoint import endpoint
from asynq.web.api.selection import OneTask
from asynq.web.api.task_changes import PayloadEncoding, payload_of

if TYPE_CHECKING:
    from asynq.web.call import WebCall


class CopiedTask(OneTask, frozen=True, kw_only=True):
    """A task that is to be enqueued once more, and what is to be different."""

    payload: str | None = None
    """The payload of the copy: text, or base64. By default that of the task."""
    payload_encoding: PayloadEncoding = "text"


class CopyAnswer(Struct, kw_only=True):
    """The copy."""

    queue: str
    task_id: str


@endpoint(
    "POST",
    "/queues/{queue}/tasks/{task_id}:copy",
    asked=CopiedTask,
    answer=CopyAnswer,
    says=lambda asked: (
        f"enqueue a copy of {asked}" + (" with another payload" if asked.payload is not None else "")
    ),
)
async def copy_task(call: WebCall, asked: CopiedTask) -> CopyAnswer:
    """Enqueue a copy of a task in any state, with an id of its own.

    It has the type, the headers and the options of the task, but no deadline that has passed, no uniqueness,
    no followers, and it begins with no retries.
    """
    task = await call.web.inspector.task(asked.queue, asked.task_id)
    payload = payload_of(asked.payload, asked.payload_encoding)
    options: dict[str, Any] = {
        "queue": task.queue,
        "max_retry": task.max_retry,
        "timeout": task.timeout,
        "retention": task.retention or None,
        "group": task.group or None,
        "sequence": task.sequence or None,
    }
    if task.timeout is None and task.deadline is not None:
        options["deadline"] = task.deadline
    copy = Task(task.type, task.payload if payload is None else payload, headers=dict(task.headers))
    given = {name: value for name, value in options.items() if value is not None}
    enqueued = await AsyncClient(call.web.broker).enqueue(copy, **given)
    call.noted.changed = 1
    call.noted.remark = f"it is task {enqueued.id!r} of queue {enqueued.queue!r}"
    call.noted.undo = lambda: call.web.inspector.delete_task(enqueued.queue, enqueued.id)
    return CopyAnswer(queue=enqueued.queue, task_id=enqueued.id)
