"""`migrate` and `amigrate`: the queues of one broker, copied or moved to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.checks import check_names
from asynq.errors import QueueNotFoundError
from asynq.migration.engine import MOVABLE, QueueTransfer, plan_migration
from asynq.migration.report import QueueMigration
from asynq.protocol.broker import require
from asynq.protocol.connect import resolve
from asynq.protocol.ops import ClaimTransfer, ExportTask, ImportTask, ListParked, ListQueues, ReleaseTask
from asynq.runtime.sync_async import AwaitedCalls, BlockingCalls, completed
from asynq.task_state import TaskState

if TYPE_CHECKING:
    from collections.abc import Collection

    from asynq.migration.engine import Progress
    from asynq.protocol.broker import Broker
    from asynq.runtime.sync_async import BrokerCalls


def migrate(
    source: Broker | str,
    destination: Broker | str,
    *,
    queues: Collection[str] | None = None,
    states: Collection[TaskState | str] | None = None,
    move: bool = False,
    progress: Progress | None = None,
) -> list[QueueMigration]:
    """Copy the tasks of queues to another broker, or move them, with everything that belongs to them.

    It can be interrupted at any time: calling it again goes on where it ended. Nothing is lost, and no task
    is within reach of workers on both sides. Workers of both brokers may run.

    A copy pauses the queues in the destination: both brokers have the tasks now, and only one may run them.
    A move pauses them in the source. They stay paused. Active tasks are left to their workers; call it
    again when they have ended. A task that the destination refuses stays in the source: see `refused`.

    Args:
        source: Broker or URL.
        destination: Broker or URL. One that is given as a URL is closed at the end.
        queues: Names of the queues. None for all.
        states: States of the tasks. None for all but active.
        move: Whether the tasks are deleted in the source.
        progress: Called with the name of a queue and the number of its tasks so far.

    Returns:
        What was done, for each queue.

    Raises:
        UnsupportedOperationError: One of the brokers cannot take part.
        MigrationRunningError: Another migration of a queue is running, or took over from this one while it
            stood still.
        BrokerUnavailable: A broker cannot be reached. Call it again.
        QueueNotFoundError: Neither broker has one of the queues; nothing was changed.
        TypeError, ValueError: `queues` or `states` is invalid.
    """
    wanted = _states(states)
    with _Both(source, destination) as (one, other):
        calls = BlockingCalls(one), BlockingCalls(other)
        return completed(_migrate(*calls, queues, wanted, move=move, progress=progress))


async def amigrate(
    source: Broker | str,
    destination: Broker | str,
    *,
    queues: Collection[str] | None = None,
    states: Collection[TaskState | str] | None = None,
    move: bool = False,
    progress: Progress | None = None,
) -> list[QueueMigration]:
    """`migrate`, awaited."""
    wanted = _states(states)
    both = _Both(source, destination)
    try:
        one, other = both.brokers()
        calls = AwaitedCalls(one), AwaitedCalls(other)
        return await _migrate(*calls, queues, wanted, move=move, progress=progress)
    finally:
        await both.aclose()


async def _migrate(
    source: BrokerCalls,
    destination: BrokerCalls,
    queues: Collection[str] | None,
    states: Collection[TaskState],
    *,
    move: bool,
    progress: Progress | None,
) -> list[QueueMigration]:
    if queues is None:
        names: Collection[str] = await source.execute(ListQueues())
    else:
        names = queues
        check_names("queues", names)
        for name in names:
            await _check_known(source, destination, name)
    reports = []
    for name in names:
        transfer = QueueTransfer(source, destination, name, states=states, move=move, progress=progress)
        try:
            if queues is None:
                await plan_migration(source, name)
            reports.append(await transfer.run())
        except QueueNotFoundError:
            # It was deleted after it was listed, or its name cannot be decoded.
            if queues is not None:
                raise
            reports.append(QueueMigration(queue=name, found=False))
    return reports


async def _check_known(source: BrokerCalls, destination: BrokerCalls, queue: str) -> None:
    """QueueNotFoundError for a queue that neither broker has: a migration would pause it nevertheless."""
    try:
        await plan_migration(source, queue)
    except QueueNotFoundError:
        # An interrupted move in the opposite direction may have parked tasks there, and nothing here yet.
        await plan_migration(destination, queue)


def _states(states: Collection[TaskState | str] | None) -> Collection[TaskState]:
    wanted = MOVABLE if states is None else [TaskState(state) for state in states]
    if TaskState.ACTIVE in wanted:
        raise ValueError("active tasks cannot be transferred: they are left to their workers")
    return wanted


class _Both:
    """Two brokers. Those that were given as URLs are closed at the end."""

    def __init__(self, source: Broker | str, destination: Broker | str) -> None:
        self._given = (source, destination)
        self._own: list[Broker] = []

    def brokers(self) -> tuple[Broker, Broker]:
        """Connect, and check that both can take part."""
        found = []
        for given in self._given:
            broker, own = resolve(given)
            if own:
                self._own.append(broker)
            require(broker, ClaimTransfer, ExportTask, ImportTask, ReleaseTask, ListParked)
            found.append(broker)
        return found[0], found[1]

    def __enter__(self) -> tuple[Broker, Broker]:
        return self.brokers()

    def __exit__(self, *_: object) -> None:
        for broker in self._own:
            broker.close()

    async def aclose(self) -> None:
        """Close them in the running event loop."""
        for broker in self._own:
            await broker.aclose()
            broker.close()
