"""The operations of the broker protocol: what a client can ask of a broker, each request a value.

A broker has one method, `execute`, which takes an operation of this package; an `Op[T]` is a request whose
answer is a T. Each operation is atomic. Its docstring is its law: it states what is true afterwards, and
which errors mean that nothing was changed.

Times are integers. An *instant* is Unix milliseconds and a *duration* is milliseconds, unless a name says
otherwise. Instants at which a task becomes due, expires or was archived are stored as whole seconds, rounded
up, so that nothing happens early. Operations that need the present time take the broker's (see
`Broker.clock`).

Sizes: an operation with a payload or a result above the broker's `Capabilities.max_value_bytes` raises
PayloadTooLargeError or ResultTooLargeError, and nothing is changed.

Retries: a client may send an operation again after its reply was lost exactly when `idempotent` is true; the
second copy recognises what the first one did. Where it cannot, an answer of True for "this call did it" may
refer to the first copy, and a LeaseLostError has `maybe_applied` set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from asynq.protocol.ops.base import MAX_ARCHIVED, MAX_ARCHIVED_AGE, MAX_BATCH, Op
from asynq.protocol.ops.consume import DEQUEUE_SOFT_LIMIT_BYTES, Dequeue, Extended, ExtendLease, WriteResult
from asynq.protocol.ops.control import (
    GetQueueStats,
    GetTask,
    ListQueues,
    ListTasks,
    PauseQueue,
    Ping,
    UnpauseQueue,
)
from asynq.protocol.ops.doctor import Examine, Examined
from asynq.protocol.ops.followers import Arrive, FinishParent, TakeParents
from asynq.protocol.ops.groups import (
    MAX_SET_SIZE,
    ExtendAggregation,
    FinishAggregation,
    Groups,
    ListGroups,
    ReclaimAggregations,
    Repaired,
    RepairGroups,
    ReturnAggregation,
    TakeGroup,
)
from asynq.protocol.ops.inspect import DescribeBroker, GetHistory, GetMemory
from asynq.protocol.ops.limits import MAX_RATE, AcquireSlot, ReleaseSlot, TakeToken
from asynq.protocol.ops.manage import (
    ArchiveTask,
    CancelTask,
    DeleteQueue,
    DeleteTask,
    Deletion,
    MoveTasks,
    RunTask,
    UpdateTask,
)
from asynq.protocol.ops.presence import (
    MAX_ENQUEUE_EVENTS,
    ClearScheduler,
    ClearServer,
    ListEnqueueEvents,
    ListSchedulerEntries,
    ListServers,
    RecordEnqueueEvent,
    WriteScheduler,
    WriteServer,
)
from asynq.protocol.ops.produce import Enqueue, Enqueued, Unique
from asynq.protocol.ops.schedule import (
    DeleteSchedule,
    EnqueueTick,
    GetLastTick,
    ListSchedules,
    PauseSchedule,
    Ticked,
    WriteSchedule,
)
from asynq.protocol.ops.settle import Archive, Complete, Done, Requeue, Retry
from asynq.protocol.ops.transfer import (
    ClaimTransfer,
    ExportTask,
    ImportTask,
    ListParked,
    ReleaseTask,
)
from asynq.protocol.ops.upkeep import (
    Adopted,
    AdoptOrphans,
    Advanced,
    AdvanceSequences,
    Forward,
    Forwarded,
    ListLostLeases,
    LostLeases,
    PurgeCompleted,
    Recover,
    TrimArchive,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "CORE",
    "DEQUEUE_SOFT_LIMIT_BYTES",
    "MAX_ARCHIVED",
    "MAX_ARCHIVED_AGE",
    "MAX_BATCH",
    "MAX_ENQUEUE_EVENTS",
    "MAX_RATE",
    "MAX_SET_SIZE",
    "AcquireSlot",
    "AdoptOrphans",
    "Adopted",
    "AdvanceSequences",
    "Advanced",
    "Archive",
    "ArchiveTask",
    "Arrive",
    "CancelTask",
    "ClaimTransfer",
    "ClearScheduler",
    "ClearServer",
    "Complete",
    "DeleteQueue",
    "DeleteSchedule",
    "DeleteTask",
    "Deletion",
    "Dequeue",
    "DescribeBroker",
    "Done",
    "Enqueue",
    "EnqueueTick",
    "Enqueued",
    "Examine",
    "Examined",
    "ExportTask",
    "ExtendAggregation",
    "ExtendLease",
    "Extended",
    "FinishAggregation",
    "FinishParent",
    "Forward",
    "Forwarded",
    "GetHistory",
    "GetLastTick",
    "GetMemory",
    "GetQueueStats",
    "GetTask",
    "Groups",
    "ImportTask",
    "ListEnqueueEvents",
    "ListGroups",
    "ListLostLeases",
    "ListParked",
    "ListQueues",
    "ListSchedulerEntries",
    "ListSchedules",
    "ListServers",
    "ListTasks",
    "LostLeases",
    "MoveTasks",
    "Op",
    "PauseQueue",
    "PauseSchedule",
    "Ping",
    "PurgeCompleted",
    "ReclaimAggregations",
    "RecordEnqueueEvent",
    "Recover",
    "ReleaseSlot",
    "ReleaseTask",
    "RepairGroups",
    "Repaired",
    "Requeue",
    "Retry",
    "ReturnAggregation",
    "RunTask",
    "TakeGroup",
    "TakeParents",
    "TakeToken",
    "Ticked",
    "TrimArchive",
    "Unique",
    "UnpauseQueue",
    "UpdateTask",
    "WriteResult",
    "WriteSchedule",
    "WriteScheduler",
    "WriteServer",
    "all_operations",
]


CORE: Final[frozenset[type[Op[Any]]]] = frozenset(
    {
        *(Enqueue, Dequeue, ExtendLease, WriteResult, Done, Complete, Retry, Archive, Requeue),
        *(Forward, ListLostLeases, Recover, AdoptOrphans, PurgeCompleted, TrimArchive),
        *(Ping, PauseQueue, UnpauseQueue, ListQueues, GetQueueStats, GetTask, ListTasks),
    }
)
"""Operations that every broker must support; it may declare all others unsupported (see `Capabilities`)."""


def all_operations() -> Iterator[type[Op[object]]]:
    """Every operation of this package. A backend either handles it or declares it unsupported."""
    for value in globals().values():
        if isinstance(value, type) and issubclass(value, Op) and value is not Op:
            yield value
