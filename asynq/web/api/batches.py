"""Changes of some tasks, given by their ids."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec reads the annotations
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct, field

from asynq.errors import AsynqError
from asynq.info import TaskInfo
from asynq.inspector.inspect import update_of
from asynq.protocol.message import StoredTask
from asynq.protocol.ops import ArchiveTask, CancelTask, DeleteTask, GetTask, RunTask
from asynq.runtime.short_texts import plural
from asynq.task_state import TaskState
from asynq.web.api.durations import due_instant, due_text
from asynq.web.api.endpoint import endpoint
from asynq.web.api.selection import SomeTasks, TaskIDs
from asynq.web.undo import TaskUndo

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.protocol.ops import Op
    from asynq.web.call import WebCall


class BatchErrors(Struct, kw_only=True):
    """What could not be changed."""

    errors: dict[str, str] = field(default_factory=dict)
    """Why, by id."""


class BatchRun(BatchErrors, kw_only=True):
    """What became pending."""

    pending_ids: list[str]
    error_ids: list[str]


class BatchArchived(BatchErrors, kw_only=True):
    """What was archived."""

    archived_ids: list[str]
    error_ids: list[str]


class BatchDeleted(BatchErrors, kw_only=True):
    """What was deleted."""

    deleted_ids: list[str]
    failed_ids: list[str]


class BatchCancelled(BatchErrors, kw_only=True):
    """Whose runs were told to end."""

    canceled_ids: list[str]
    error_ids: list[str]


class BatchRescheduled(BatchErrors, kw_only=True):
    """What is due at another time."""

    rescheduled_ids: list[str]
    error_ids: list[str]


class SomeRescheduledTasks(SomeTasks, frozen=True, kw_only=True):
    """Names some scheduled or retried tasks of a queue, and when they are to be due."""

    process_at: datetime | None = None
    process_in: str | None = None
    """A duration from now, such as "1h30m"."""


class SomeActiveTasks(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names some active tasks of a queue."""

    queue: str
    task_ids: TaskIDs
    then: Literal["archive", "retry"] = "archive"
    """What becomes of the tasks."""


@endpoint(
    "POST",
    "/queues/{queue}/{state}_tasks:batch_run",
    asked=SomeTasks,
    answer=BatchRun,
    says=lambda asked: f"run {asked} now",
    bulk=True,
)
async def batch_run(call: WebCall, asked: SomeTasks) -> BatchRun:
    """Make some tasks pending now."""
    done, errors = await _carry_out(call, asked, RunTask, partial(TaskUndo.moved, to=TaskState.PENDING))
    return BatchRun(pending_ids=done, error_ids=list(errors), errors=errors)


@endpoint(
    "POST",
    "/queues/{queue}/{state}_tasks:batch_archive",
    asked=SomeTasks,
    answer=BatchArchived,
    says=lambda asked: (
        f"archive {asked}: "
        + ("it" if len(asked.task_ids) == 1 else "they")
        + " will not run unless run by hand"
    ),
    bulk=True,
)
async def batch_archive(call: WebCall, asked: SomeTasks) -> BatchArchived:
    """Move some tasks to the archive."""
    done, errors = await _carry_out(call, asked, ArchiveTask, partial(TaskUndo.moved, to=TaskState.ARCHIVED))
    return BatchArchived(archived_ids=done, error_ids=list(errors), errors=errors)


@endpoint(
    "POST",
    "/queues/{queue}/{state}_tasks:batch_delete",
    asked=SomeTasks,
    answer=BatchDeleted,
    says=lambda asked: f"delete {asked} for good",
    bulk=True,
)
async def batch_delete(call: WebCall, asked: SomeTasks) -> BatchDeleted:
    """Delete some tasks."""
    done, errors = await _carry_out(call, asked, DeleteTask)
    return BatchDeleted(deleted_ids=done, failed_ids=list(errors), errors=errors)


@endpoint(
    "POST",
    "/queues/{queue}/{state}_tasks:batch_reschedule",
    asked=SomeRescheduledTasks,
    answer=BatchRescheduled,
    says=lambda asked: f"reschedule {asked}: due {due_text(asked.process_at, asked.process_in)}",
    bulk=True,
)
async def batch_reschedule(call: WebCall, asked: SomeRescheduledTasks) -> BatchRescheduled:
    """Change when some scheduled or retried tasks are due."""
    due = await due_instant(call.web.broker, asked.process_at, asked.process_in)
    reschedule = partial(update_of, process_at=due, process_in=None)
    done, errors = await _carry_out(call, asked, reschedule, partial(TaskUndo.rescheduled, due=due))
    return BatchRescheduled(rescheduled_ids=done, error_ids=list(errors), errors=errors)


@endpoint(
    "POST",
    "/queues/{queue}/active_tasks:batch_cancel",
    asked=SomeActiveTasks,
    answer=BatchCancelled,
    says=lambda asked: (
        f"cancel {plural(len(asked.task_ids), 'active task')} of queue {asked.queue!r}, then {asked.then} "
        + ("it" if len(asked.task_ids) == 1 else "them")
    ),
    bulk=True,
)
async def batch_cancel(call: WebCall, asked: SomeActiveTasks) -> BatchCancelled:
    """End the runs of some active tasks."""
    done, errors = await _carry_out(call, asked, partial(CancelTask, then=asked.then))
    return BatchCancelled(canceled_ids=done, error_ids=list(errors), errors=errors)


async def _carry_out(
    call: WebCall,
    asked: SomeTasks | SomeActiveTasks,
    operation: Callable[..., Op[Any]],
    remember: Callable[[TaskUndo, TaskInfo], None] | None = None,
) -> tuple[list[str], dict[str, str]]:
    """The ids of the tasks that were changed, and why others were not.

    Args:
        call: The call.
        asked: The tasks.
        operation: What is done to each.
        remember: Tells an undo of a task that was changed, as it was before; None if there is none.
    """
    broker, undo = call.web.broker, TaskUndo(call.web.broker)
    looks = [GetTask(queue=asked.queue, task_id=each) for each in asked.task_ids]
    before = await broker.aexecute_many(looks) if remember else [None] * len(looks)
    answers = await broker.aexecute_many(
        [operation(queue=asked.queue, task_id=each) for each in asked.task_ids]
    )
    done: list[str] = []
    errors: dict[str, str] = {}
    for task_id, task, answer in zip(asked.task_ids, before, answers, strict=True):
        if isinstance(answer, AsynqError):
            errors[task_id] = str(answer)
        elif answer is False:
            errors[task_id] = "no such task is active"
        else:
            done.append(task_id)
            if remember and isinstance(task, StoredTask):
                remember(undo, TaskInfo.of(task))
    call.noted.changed = len(done)
    if errors:
        call.noted.remark = f"{len(errors)} not changed: {next(iter(errors.values()))}"
    call.noted.undone_by(undo)
    return done, errors
