"""GetHistory, GetMemory, DescribeBroker, Examine."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from asynq.protocol.broker_info import BrokerInfo, BrokerNode, QueuePlace
from asynq.protocol.doctor import Fault, Finding
from asynq.protocol.history import DayStats
from asynq.protocol.ops import Examined
from asynq.task_state import TaskState
from asynq_conformance.model.control import must_be_listed
from asynq_conformance.model.records import Counters, day
from asynq_conformance.model.upkeep import ADOPTED_TOKEN

if TYPE_CHECKING:
    from asynq.protocol.ops import DescribeBroker, Examine, GetHistory, GetMemory
    from asynq_conformance.model.state import System

_GRACE = 30_000


def get_history(system: System, op: GetHistory, now: int) -> tuple[DayStats, ...]:
    """Counters of each day, today first."""
    must_be_listed(system, op.queue)
    days = [day(now) - timedelta(days=number) for number in range(op.days)]
    counted = [(date, system.days.get((op.queue, date), Counters())) for date in days]
    return tuple(
        DayStats(queue=op.queue, date=date, processed=runs.processed, failed=runs.failed)
        for date, runs in counted
    )


def get_memory(system: System, op: GetMemory, now: int) -> int:
    """Approximate size in bytes."""
    del now
    must_be_listed(system, op.queue)
    return sum(100 + len(task.message.payload) for task in system.of_queue(op.queue))


def describe_broker(system: System, op: DescribeBroker, now: int) -> BrokerInfo:
    """The model is in memory, without a version."""
    del system, now
    return BrokerInfo(
        backend="model",
        product="model",
        version="",
        topology="embedded",
        nodes=(BrokerNode(address="", role="memory", persistence="none"),),
        places=tuple(QueuePlace(queue=name, node="") for name in op.queues),
    )


def examine(system: System, op: Examine, now: int) -> Examined:
    """Find the only damage that the model can contain: active tasks without a lease."""
    active = system.of_state(op.queue, TaskState.ACTIVE) if op.queue else []
    stranded = [task for task in active if not task.token]
    if op.repair:
        for task in stranded:
            system.put(task, TaskState.ACTIVE, now + _GRACE, token=ADOPTED_TOKEN)
    findings = (
        Finding(fault=Fault.MISSING_LEASE, queue=task.message.queue, name=task.message.id)
        for task in stranded
    )
    return Examined(findings=tuple(findings), cursor="")
