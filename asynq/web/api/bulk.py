"""Changes of all tasks that a filter selects. They are jobs: the answer waits for a short time only."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec reads the annotations
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from asynq.protocol.ops import GetQueueStats
from asynq.task_state import TaskState
from asynq.web.api.durations import due_instant, due_text
from asynq.web.api.endpoint import endpoint
from asynq.web.api.job_shapes import JobItem, job_item
from asynq.web.api.queues import DeletedQueue, OneQueue
from asynq.web.api.selection import GroupTasks, SelectedTasks, TypePattern
from asynq.web.undo import TaskUndo, can_be_put_back

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asynq.protocol.ops.manage import MoveTarget
    from asynq.web.call import WebCall
    from asynq.web.jobs import Progress


class BulkAnswer(Struct, kw_only=True):
    """What a bulk action has changed so far."""

    changed: int
    done: bool
    """False while it goes on: its job says how far it is."""
    job: JobItem
    scheduled: int | None = None
    """As `changed`, of an action that runs tasks, when it is done."""
    archived: int | None = None
    deleted: int | None = None

    @property
    def http_status(self) -> int:
        """202 while it goes on."""
        return 200 if self.done else 202


class CancelledTasks(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All active tasks of a queue that meet the conditions that are given."""

    queue: str
    type: TypePattern | None = None
    payload: str | None = None
    then: Literal["archive", "retry"] = "archive"
    """What becomes of the tasks."""

    @property
    def selected(self) -> SelectedTasks:
        """The tasks."""
        return SelectedTasks(queue=self.queue, state=TaskState.ACTIVE, type=self.type, payload=self.payload)


class RescheduledTasks(SelectedTasks, frozen=True, kw_only=True):
    """All scheduled or retried tasks that a filter selects, and when they are to be due."""

    process_at: datetime | None = None
    process_in: str | None = None
    """A duration from now, such as "1h30m"."""


@endpoint(
    "POST",
    "/queues/{queue}/{state}_tasks:run_all",
    asked=SelectedTasks,
    answer=BulkAnswer,
    says=lambda asked: f"run {asked} now",
    bulk=True,
)
async def run_all_tasks(call: WebCall, asked: SelectedTasks) -> BulkAnswer:
    """Make all selected tasks pending: scheduled, retried, archived, completed or aggregating ones."""
    return await _move(call, asked, "pending")


@endpoint(
    "POST",
    "/queues/{queue}/{state}_tasks:archive_all",
    asked=SelectedTasks,
    answer=BulkAnswer,
    says=lambda asked: f"archive {asked}: they will not run unless they are run by hand",
    bulk=True,
)
async def archive_all_tasks(call: WebCall, asked: SelectedTasks) -> BulkAnswer:
    """Move all selected tasks to the archive. It keeps 10,000 tasks: older ones are deleted."""
    return await _move(call, asked, "archived")


@endpoint(
    "DELETE",
    "/queues/{queue}/{state}_tasks:delete_all",
    asked=SelectedTasks,
    answer=BulkAnswer,
    says=lambda asked: f"delete {asked} for good",
    bulk=True,
)
async def delete_all_tasks(call: WebCall, asked: SelectedTasks) -> BulkAnswer:
    """Delete all selected tasks, of any state but active."""
    return await _move(call, asked, "deleted")


@endpoint(
    "POST",
    "/queues/{queue}/active_tasks:cancel_all",
    asked=CancelledTasks,
    answer=BulkAnswer,
    says=lambda asked: f"cancel {asked.selected}, then {asked.then} them",
    bulk=True,
)
async def cancel_all_tasks(call: WebCall, asked: CancelledTasks) -> BulkAnswer:
    """End the runs of all selected active tasks."""
    where = asked.selected.where
    total = await _total(call, asked.selected)

    def action(progress: Progress) -> Awaitable[int]:
        return call.web.inspector.cancel_all(asked.queue, where=where, then=asked.then, progress=progress)

    return await started(call, action, total=total, filtered=where is not None)


@endpoint(
    "POST",
    "/queues/{queue}/{state}_tasks:reschedule_all",
    asked=RescheduledTasks,
    answer=BulkAnswer,
    says=lambda asked: f"reschedule {asked}: due {due_text(asked.process_at, asked.process_in)}",
    bulk=True,
)
async def reschedule_all_tasks(call: WebCall, asked: RescheduledTasks) -> BulkAnswer:
    """Change when all selected scheduled or retried tasks are due."""
    where = asked.where
    if asked.state not in (TaskState.SCHEDULED, TaskState.RETRY):
        raise ValueError(f"state must be 'scheduled' or 'retry'; it is {asked.state.value!r}")
    due = await due_instant(call.web.broker, asked.process_at, asked.process_in)
    undo = TaskUndo(call.web.broker)

    async def action(progress: Progress) -> int:
        try:
            return await call.web.inspector.reschedule_all(
                asked.queue,
                asked.state,
                process_at=due,
                where=where,
                progress=progress,
                on_task=partial(undo.rescheduled, due=due),
            )
        finally:
            call.noted.undone_by(undo)

    total = await _total(call, asked)
    return await started(call, action, total=total, filtered=where is not None)


@endpoint(
    "POST",
    "/queues/{queue}/groups/{group}/aggregating_tasks:run_all",
    asked=GroupTasks,
    answer=BulkAnswer,
    says=lambda asked: f"run {asked} now, each by itself",
    bulk=True,
)
async def run_all_group_tasks(call: WebCall, asked: GroupTasks) -> BulkAnswer:
    """Make all selected tasks of a group pending, each to run by itself."""
    return await _move(call, asked.selected, "pending")


@endpoint(
    "POST",
    "/queues/{queue}/groups/{group}/aggregating_tasks:archive_all",
    asked=GroupTasks,
    answer=BulkAnswer,
    says=lambda asked: f"archive {asked}: they will not run unless they are run by hand",
    bulk=True,
)
async def archive_all_group_tasks(call: WebCall, asked: GroupTasks) -> BulkAnswer:
    """Move all selected tasks of a group to the archive."""
    return await _move(call, asked.selected, "archived")


@endpoint(
    "DELETE",
    "/queues/{queue}/groups/{group}/aggregating_tasks:delete_all",
    asked=GroupTasks,
    answer=BulkAnswer,
    says=lambda asked: f"delete {asked} for good",
    bulk=True,
)
async def delete_all_group_tasks(call: WebCall, asked: GroupTasks) -> BulkAnswer:
    """Delete all selected tasks of a group."""
    return await _move(call, asked.selected, "deleted")


@endpoint(
    "POST",
    "/queues/{queue}:purge",
    asked=OneQueue,
    answer=BulkAnswer,
    says=lambda asked: f"delete all tasks of queue {asked.queue!r} that are not active, for good",
    bulk=True,
)
async def purge_queue(call: WebCall, asked: OneQueue) -> BulkAnswer:
    """Delete all tasks of a queue that are not active. The queue stays."""
    queue = await call.web.inspector.queue_info(asked.queue)

    def action(progress: Progress) -> Awaitable[int]:
        return call.web.inspector.purge(asked.queue, progress=progress)

    return await started(call, action, "deleted", total=queue.size - queue.active)


@endpoint(
    "DELETE",
    "/queues/{queue}",
    asked=DeletedQueue,
    answer=BulkAnswer,
    says=lambda asked: f"delete queue {asked.queue!r}" + (" with all of its tasks" if asked.force else ""),
    bulk=True,
)
async def delete_queue(call: WebCall, asked: DeletedQueue) -> BulkAnswer:
    """Delete a queue. One that holds tasks is deleted only with `force`, one with an active task never."""

    def action(_: Progress) -> Awaitable[int]:
        return call.web.inspector.delete_queue(asked.queue, asked.force)

    return await started(call, action, "deleted")


_ANSWERED: dict[MoveTarget, str] = {"pending": "scheduled", "archived": "archived", "deleted": "deleted"}
"""The member of the answer with the number of tasks, as asynqmon names it, by what becomes of them."""


async def _move(call: WebCall, asked: SelectedTasks, to: MoveTarget) -> BulkAnswer:
    inspector, undo = call.web.inspector, TaskUndo(call.web.broker)
    verbs: dict[MoveTarget, Callable[..., Awaitable[int]]] = {
        "pending": inspector.run_all,
        "archived": inspector.archive_all,
        "deleted": inspector.delete_all,
    }
    given: dict[str, Any] = {"where": asked.where}
    if can_be_put_back(asked.state, to):
        given["on_task"] = partial(undo.moved, to=TaskState(to))

    async def action(progress: Progress) -> int:
        try:
            return await verbs[to](asked.queue, asked.state, asked.group, progress=progress, **given)
        finally:
            call.noted.undone_by(undo)

    total = await _total(call, asked)
    return await started(call, action, _ANSWERED[to], total=total, filtered=asked.where is not None)


async def _total(call: WebCall, asked: SelectedTasks) -> int | None:
    """Tasks of the state; None for those of one group, which no broker counts at once."""
    if asked.group is not None:
        return None
    stats = await call.web.broker.aexecute(GetQueueStats(queue=asked.queue))
    total: int = getattr(stats, asked.state.value)
    return total


async def started(
    call: WebCall,
    action: Callable[[Progress], Awaitable[int]],
    member: str = "",
    *,
    total: int | None = None,
    filtered: bool = False,
) -> BulkAnswer:
    """Start the job and wait for its end for a while. An error within this time is raised here."""
    job = call.web.jobs.start(call.noted, action, total=total, filtered=filtered)
    await call.web.jobs.wait(job, call.web.settings.job_wait)
    if job.failure is not None:
        raise job.failure
    done = job.state != "running"
    members: dict[str, Any] = {member: job.changed} if member and done else {}
    return BulkAnswer(changed=job.changed, done=done, job=job_item(job), **members)
