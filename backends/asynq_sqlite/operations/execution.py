"""Which function carries out which operation, and how the operations of a transaction are carried out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from attrs import frozen

from asynq.protocol import ops
from asynq_sqlite.operations import (
    consume,
    control,
    doctor,
    followers,
    groups,
    inspect,
    limits,
    manage,
    presence,
    produce,
    schedule,
    sequences,
    settle,
    transfer,
    upkeep,
)
from asynq_sqlite.operations.attempt import HalfDoneError, attempt, refusal
from asynq_sqlite.store.sqlite_errors import REFUSED_VALUES

if TYPE_CHECKING:
    from asynq_sqlite.store.task_store import TaskStore

Handler = Callable[["TaskStore", Sequence[Any], int], list[Any]]
"""Carries out operations at the present instant. Returns the answers, an AsynqError in place of one."""


@frozen
class Each:
    """A handler that carries out one operation after the other."""

    function: Callable[[TaskStore, Any, int], Any]
    """Takes the store, the operation and the present instant; it answers, or raises an AsynqError."""

    def __call__(self, store: TaskStore, ops: Sequence[ops.Op[Any]], now: int) -> list[Any]:
        """See Handler."""
        return [attempt(store, op, self.function, store, op, now) for op in ops]


HANDLERS: dict[type[ops.Op[Any]], Handler] = {
    ops.Enqueue: Each(produce.enqueue),
    ops.Dequeue: Each(consume.dequeue),
    ops.ExtendLease: Each(consume.extend_lease),
    ops.WriteResult: Each(consume.write_result),
    ops.Done: settle.settle,
    ops.Complete: settle.settle,
    ops.Retry: settle.settle,
    ops.Archive: settle.settle,
    ops.Requeue: settle.settle,
    ops.Forward: Each(upkeep.forward),
    ops.ListLostLeases: Each(upkeep.list_lost_leases),
    ops.Recover: Each(upkeep.recover),
    ops.AdoptOrphans: Each(upkeep.adopt_orphans),
    ops.PurgeCompleted: Each(upkeep.purge_completed),
    ops.TrimArchive: Each(upkeep.trim_archive),
    ops.AdvanceSequences: Each(sequences.advance_sequences),
    ops.TakeParents: Each(followers.take_parents),
    ops.FinishParent: Each(followers.finish_parent),
    ops.Arrive: Each(followers.arrive),
    ops.ListGroups: Each(groups.list_groups),
    ops.TakeGroup: Each(groups.take_group),
    ops.ExtendAggregation: Each(groups.extend_aggregation),
    ops.FinishAggregation: Each(groups.finish_aggregation),
    ops.ReturnAggregation: Each(groups.return_aggregation),
    ops.ReclaimAggregations: Each(groups.reclaim_aggregations),
    ops.RepairGroups: Each(groups.repair_groups),
    ops.EnqueueTick: Each(schedule.enqueue_tick),
    ops.GetLastTick: Each(schedule.get_last_tick),
    ops.WriteSchedule: Each(schedule.write_schedule),
    ops.PauseSchedule: Each(schedule.pause_schedule),
    ops.DeleteSchedule: Each(schedule.delete_schedule),
    ops.ListSchedules: Each(schedule.list_schedules),
    ops.WriteServer: Each(presence.write_server),
    ops.ClearServer: Each(presence.clear_server),
    ops.ListServers: Each(presence.list_servers),
    ops.WriteScheduler: Each(presence.write_scheduler),
    ops.ClearScheduler: Each(presence.clear_scheduler),
    ops.ListSchedulerEntries: Each(presence.list_scheduler_entries),
    ops.RecordEnqueueEvent: Each(presence.record_enqueue_event),
    ops.ListEnqueueEvents: Each(presence.list_enqueue_events),
    ops.AcquireSlot: Each(limits.acquire_slot),
    ops.ReleaseSlot: Each(limits.release_slot),
    ops.TakeToken: Each(limits.take_token),
    ops.Ping: Each(control.ping),
    ops.PauseQueue: Each(control.pause_queue),
    ops.UnpauseQueue: Each(control.unpause_queue),
    ops.ListQueues: Each(control.list_queues),
    ops.GetQueueStats: Each(control.get_queue_stats),
    ops.GetTask: Each(control.get_task),
    ops.ListTasks: Each(control.list_tasks),
    ops.RunTask: Each(manage.run_task),
    ops.ArchiveTask: Each(manage.archive_task),
    ops.DeleteTask: Each(manage.delete_task),
    ops.MoveTasks: Each(manage.move_tasks),
    ops.UpdateTask: Each(manage.update_task),
    ops.CancelTask: Each(manage.cancel_task),
    ops.DeleteQueue: Each(manage.delete_queue),
    ops.GetHistory: Each(inspect.get_history),
    ops.GetMemory: Each(inspect.get_memory),
    ops.DescribeBroker: Each(inspect.describe_broker),
    ops.Examine: Each(doctor.examine),
    ops.ClaimTransfer: Each(transfer.claim_transfer),
    ops.ExportTask: Each(transfer.export_task),
    ops.ImportTask: Each(transfer.import_task),
    ops.ReleaseTask: Each(transfer.release_task),
    ops.ListParked: Each(transfer.list_parked),
}


def carry_out(store: TaskStore, ops: Sequence[ops.Op[Any]], now: int) -> list[Any]:
    """Return the answers to operations. Consecutive ones that have one handler are carried out together.

    Raises:
        HalfDoneError: The transaction must be rolled back; `carry_out_singly` then does what can be done.
        sqlite3.Error: The transaction as a whole has failed.

    """
    answers: list[Any] = []
    while len(answers) < len(ops):
        start = end = len(answers)
        handler = HANDLERS[type(ops[start])]
        while end < len(ops) and HANDLERS[type(ops[end])] is handler:
            end += 1
        try:
            answers += handler(store, ops[start:end], now)
        except REFUSED_VALUES as error:
            raise HalfDoneError(refusal(ops[start], error)) from None
    return answers


def carry_out_singly(store: TaskStore, ops: Sequence[ops.Op[Any]], now: int) -> list[Any]:
    """Return the answers to operations, each of which is undone if it is refused."""
    return [_carry_out_or_undo(store, op, now) for op in ops]


def _carry_out_or_undo(store: TaskStore, op: ops.Op[Any], now: int) -> Any:
    execute = store.connection.execute
    execute("SAVEPOINT op")
    try:
        [answer] = carry_out(store, (op,), now)
    except HalfDoneError as half_done:
        execute("ROLLBACK TO op")
        store.forget()
        answer = half_done.answer
    execute("RELEASE op")
    return answer
