"""Which function carries out which operation, and how one operation is carried out or undone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from asynq.errors import AsynqError
from asynq.protocol import ops
from asynq_sqlite.operations import (
    consume,
    control,
    doctor,
    groups,
    inspect,
    limits,
    manage,
    presence,
    produce,
    schedule,
    settle,
    upkeep,
)
from asynq_sqlite.store import free_space
from asynq_sqlite.store.sqlite_errors import REFUSED_VALUES, refused_value
from asynq_sqlite.store.task_store import TaskStore

Handler = Callable[[TaskStore, Any, int], Any]

HANDLERS: dict[type[ops.Op[Any]], Handler] = {
    ops.Enqueue: produce.enqueue,
    ops.Dequeue: consume.dequeue,
    ops.ExtendLease: consume.extend_lease,
    ops.WriteResult: consume.write_result,
    ops.Done: settle.done,
    ops.Complete: settle.complete,
    ops.Retry: settle.retry,
    ops.Archive: settle.archive,
    ops.Requeue: settle.requeue,
    ops.Forward: upkeep.forward,
    ops.ListLostLeases: upkeep.list_lost_leases,
    ops.Recover: upkeep.recover,
    ops.AdoptOrphans: upkeep.adopt_orphans,
    ops.PurgeCompleted: upkeep.purge_completed,
    ops.TrimArchive: upkeep.trim_archive,
    ops.ListGroups: groups.list_groups,
    ops.TakeGroup: groups.take_group,
    ops.ExtendAggregation: groups.extend_aggregation,
    ops.FinishAggregation: groups.finish_aggregation,
    ops.ReturnAggregation: groups.return_aggregation,
    ops.ReclaimAggregations: groups.reclaim_aggregations,
    ops.RepairGroups: groups.repair_groups,
    ops.EnqueueTick: schedule.enqueue_tick,
    ops.GetLastTick: schedule.get_last_tick,
    ops.WriteServer: presence.write_server,
    ops.ClearServer: presence.clear_server,
    ops.ListServers: presence.list_servers,
    ops.WriteScheduler: presence.write_scheduler,
    ops.ClearScheduler: presence.clear_scheduler,
    ops.ListSchedulerEntries: presence.list_scheduler_entries,
    ops.RecordEnqueueEvent: presence.record_enqueue_event,
    ops.ListEnqueueEvents: presence.list_enqueue_events,
    ops.AcquireSlot: limits.acquire_slot,
    ops.ReleaseSlot: limits.release_slot,
    ops.TakeToken: limits.take_token,
    ops.Ping: control.ping,
    ops.PauseQueue: control.pause_queue,
    ops.UnpauseQueue: control.unpause_queue,
    ops.ListQueues: control.list_queues,
    ops.GetQueueStats: control.get_queue_stats,
    ops.GetTask: control.get_task,
    ops.ListTasks: control.list_tasks,
    ops.RunTask: manage.run_task,
    ops.ArchiveTask: manage.archive_task,
    ops.DeleteTask: manage.delete_task,
    ops.MoveTasks: manage.move_tasks,
    ops.UpdatePayload: manage.update_payload,
    ops.CancelTask: manage.cancel_task,
    ops.DeleteQueue: manage.delete_queue,
    ops.GetHistory: inspect.get_history,
    ops.GetMemory: inspect.get_memory,
    ops.Examine: doctor.examine,
}
"""A handler takes the store, the operation and the present instant; it answers, or raises an AsynqError."""


def carry_out(store: TaskStore, op: ops.Op[Any], now: int) -> Any:
    """Return the answer to an operation. An AsynqError that is raised has undone it.

    sqlite3.Error is raised if the transaction as a whole has failed.
    """
    execute = store.connection.execute
    execute("SAVEPOINT op")
    try:
        handler = HANDLERS[type(op)]
        if store.max_size is None:
            answer = handler(store, op, now)
        else:
            answer = free_space.within(store, op, partial(handler, store, op, now))
    except (AsynqError, *REFUSED_VALUES) as error:
        execute("ROLLBACK TO op")
        execute("RELEASE op")
        if isinstance(error, AsynqError):
            raise
        raise refused_value(op, error) from None
    execute("RELEASE op")
    return answer
