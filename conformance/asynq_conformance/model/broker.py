"""The model as a broker."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

from asynq.errors import AsynqError, UnsupportedOperationError
from asynq.protocol import ops
from asynq.protocol.broker import Capabilities
from asynq.protocol.value_sizes import MAX_VALUE_BYTES, too_large
from asynq_conformance.model import (
    consume,
    control,
    followers,
    groups,
    inspect,
    limits,
    manage,
    presence,
    produce,
    schedule,
    settle,
    transfer,
    upkeep,
)
from asynq_conformance.model.state import System

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asynq.clock import Clock

T = TypeVar("T")

MODEL_HANDLERS: dict[type[ops.Op[Any]], Callable[[System, Any, int], Any]] = {
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
    ops.AdvanceSequences: upkeep.advance_sequences,
    ops.Arrive: followers.arrive,
    ops.TakeParents: followers.take_parents,
    ops.FinishParent: followers.finish_parent,
    ops.ListGroups: groups.list_groups,
    ops.TakeGroup: groups.take_group,
    ops.ExtendAggregation: groups.extend_aggregation,
    ops.FinishAggregation: groups.finish_aggregation,
    ops.ReturnAggregation: groups.return_aggregation,
    ops.ReclaimAggregations: groups.reclaim_aggregations,
    ops.RepairGroups: groups.repair_groups,
    ops.EnqueueTick: schedule.enqueue_tick,
    ops.GetLastTick: schedule.get_last_tick,
    ops.WriteSchedule: schedule.write_schedule,
    ops.PauseSchedule: schedule.pause_schedule,
    ops.DeleteSchedule: schedule.delete_schedule,
    ops.ListSchedules: schedule.list_schedules,
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
    ops.UpdateTask: manage.update_task,
    ops.CancelTask: manage.cancel_task,
    ops.DeleteQueue: manage.delete_queue,
    ops.GetHistory: inspect.get_history,
    ops.GetMemory: inspect.get_memory,
    ops.DescribeBroker: inspect.describe_broker,
    ops.Examine: inspect.examine,
    ops.ClaimTransfer: transfer.claim_transfer,
    ops.ExportTask: transfer.export_task,
    ops.ImportTask: transfer.import_task,
    ops.ReleaseTask: transfer.release_task,
    ops.ListParked: transfer.list_parked,
}
"""Arguments: the system, the operation, the present instant. Returns the answer, or raises before any change.
"""


class ModelBroker:
    """Executes operations on a System, one at a time, in this process only."""

    def __init__(self, clock: Clock, system: System | None = None) -> None:
        self.clock = clock
        self.system = system or System()
        self._lock = threading.Lock()

    @property
    def capabilities(self) -> Capabilities:
        """Capabilities of the model."""
        return Capabilities(
            backend="model",
            durability="none",
            multi_process=False,
            wakeup="poll",
            max_value_bytes=MAX_VALUE_BYTES,
        )

    def execute(self, op: ops.Op[T], /) -> T:
        """Execute one operation. Returns its answer or raises its error."""
        handler = MODEL_HANDLERS.get(type(op))
        if handler is None:
            raise UnsupportedOperationError(type(op).__name__, "model")
        if refused := too_large(op, MAX_VALUE_BYTES):
            raise refused
        with self._lock:
            return cast("T", handler(self.system, op, self.clock.now()))

    def execute_many(self, operations: Sequence[ops.Op[T]], /) -> list[T | AsynqError]:
        """Execute operations one after the other."""
        return [self._answer(op) for op in operations]

    def _answer(self, op: ops.Op[T]) -> T | AsynqError:
        try:
            return self.execute(op)
        except AsynqError as error:
            return error

    def close(self) -> None:
        """Do nothing: the model holds no resources."""

    async def aexecute(self, op: ops.Op[T], /) -> T:
        """Async variant of `execute`."""
        return self.execute(op)

    async def aexecute_many(self, operations: Sequence[ops.Op[T]], /) -> list[T | AsynqError]:
        """Async variant of `execute_many`."""
        return self.execute_many(operations)

    async def aclose(self) -> None:
        """Do nothing: the model holds no resources."""

    def listener(self) -> NoReturn:
        """A listener without events: the model is polled."""
        raise UnsupportedOperationError("listener", "model")

    def watcher(self) -> NoReturn:
        """A watcher without events: the model is polled."""
        raise UnsupportedOperationError("watcher", "model")
