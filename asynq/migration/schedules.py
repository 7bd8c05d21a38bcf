"""`migrate_schedules` and `amigrate_schedules`: the schedules that are kept in a broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from asynq.checks import check_names
from asynq.migration.report import ScheduleMigration
from asynq.protocol.ops import DeleteSchedule, ListSchedules, PauseSchedule, WriteSchedule
from asynq.runtime.sync_async import AwaitedCalls, BlockingCalls, completed

if TYPE_CHECKING:
    from collections.abc import Collection

    from asynq.protocol.broker import Broker
    from asynq.protocol.schedules import StoredSchedule
    from asynq.runtime.sync_async import BrokerCalls


def plan_schedules(source: Broker, *, queues: Collection[str] | None = None) -> list[str]:
    """The names of the schedules that `migrate_schedules` would copy or move, if none of them is there."""
    if not source.capabilities.supports(ListSchedules):
        return []
    return [each.name for each in source.execute(ListSchedules()) if _is_wanted(each, queues)]


def migrate_schedules(
    source: Broker, destination: Broker, *, queues: Collection[str] | None = None, move: bool = False
) -> ScheduleMigration:
    """Copy schedules to another broker, or move them, with their pauses. A copy is paused.

    A schedule is refused if the destination has another one of its name, or keeps no schedules. Ticks that
    pass before the move of a schedule are those of the source, later ones those of the destination. Runners
    notice this within two seconds: a tick of that time may be enqueued on both sides.

    Args:
        source: A broker that supports schedules.
        destination: Another one.
        queues: Only schedules that enqueue into these queues. None for all.
        move: Whether they are deleted in the source.

    Raises:
        TypeError, ValueError: `queues` is invalid.
    """
    if not source.capabilities.supports(ListSchedules):
        return ScheduleMigration()
    keeps = destination.capabilities.supports(WriteSchedule, PauseSchedule, ListSchedules)
    both = BlockingCalls(source), BlockingCalls(destination) if keeps else None
    return completed(_migrate(*both, queues, move=move))


async def amigrate_schedules(
    source: Broker, destination: Broker, *, queues: Collection[str] | None = None, move: bool = False
) -> ScheduleMigration:
    """`migrate_schedules`, awaited."""
    if not source.capabilities.supports(ListSchedules):
        return ScheduleMigration()
    keeps = destination.capabilities.supports(WriteSchedule, PauseSchedule, ListSchedules)
    both = AwaitedCalls(source), AwaitedCalls(destination) if keeps else None
    return await _migrate(*both, queues, move=move)


async def _migrate(
    source: BrokerCalls, destination: BrokerCalls | None, queues: Collection[str] | None, *, move: bool
) -> ScheduleMigration:
    if queues is not None:
        check_names("queues", queues)
    report = ScheduleMigration()
    kept = await destination.execute(ListSchedules()) if destination else ()
    there = {schedule.name: schedule for schedule in kept}
    for schedule in await source.execute(ListSchedules()):
        if not _is_wanted(schedule, queues):
            continue
        name, other = schedule.name, there.get(schedule.name)
        if destination is None or (other is not None and _content(other) != _content(schedule)):
            report.refused.append(name)
            continue
        if other is None:
            await destination.execute(WriteSchedule(schedule=schedule))
            report.transferred.append(name)
            if schedule.paused or not move:
                await destination.execute(PauseSchedule(name=name, paused=True))
        else:
            report.present.append(name)
        if move:
            await source.execute(DeleteSchedule(name=name))
    return report


def _is_wanted(schedule: StoredSchedule, queues: Collection[str] | None) -> bool:
    return queues is None or schedule.message.queue in queues


def _content(schedule: StoredSchedule) -> StoredSchedule:
    return replace(schedule, paused=False, since=0)
