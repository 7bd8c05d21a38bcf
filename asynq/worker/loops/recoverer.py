"""Recoverer: reschedules the tasks of lost workers. Adopter: finds active tasks without a lease."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from asynq.errors import AsynqError, LeaseLostError
from asynq.protocol.answers import may_be_applied
from asynq.protocol.ops import MAX_BATCH, AdoptOrphans, ListLostLeases, Recover
from asynq.runtime.isolation import execute_isolated
from asynq.runtime.logs import get_logger
from asynq.runtime.sync_async import AwaitedCalls
from asynq.worker.loops.queue_sweep import QueueRotation, QueueSweep

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asynq.handlers.retry import RetryPolicy
    from asynq.protocol.broker import Broker
    from asynq.protocol.message import LostLease

log = get_logger("asynq.loops")

LEASE_EXPIRED = "asynq: task lease expired"
"""The error message of a lost task, as in Go's asynq."""


class Recoverer:
    """Each step finds expired leases and reschedules their tasks.

    A task without retries left is archived. After its first lost worker, a task is made pending at once.
    After later ones, it is retried after the retry delay, so that a task that crashes its workers does not
    crash all of them in quick succession.

    Args:
        broker: the broker.
        queues: the queues of the server.
        rules: the retry rules.
        on_recovered: called when tasks can run again.
        on_lost: called with each recovered task and where it was moved.
    """

    def __init__(
        self,
        broker: Broker,
        queues: Sequence[str],
        rules: RetryPolicy,
        *,
        on_recovered: Callable[[], None],
        on_lost: Callable[[Recover], None],
    ) -> None:
        self._broker = broker
        self._rotation = QueueRotation(queues)
        self._rules = rules
        self._on_recovered = on_recovered
        self._on_lost = on_lost
        self._sweep = QueueSweep(broker, "recovering lost tasks")

    async def step(self) -> float | None:
        """Recover all lost tasks."""
        waiting = self._rotation.take()
        while waiting:
            found = await self._sweep.run({queue: ListLostLeases(queue=queue) for queue in waiting})
            full: list[str] = []
            for queue, lost in found.items():
                if lost.set_aside:
                    log.error("queue %r: undecodable tasks were archived: %s", queue, lost.set_aside)
                taken = await self._recover([self.decide(lease) for lease in lost.leases])
                # If none of a full page was taken, another server is recovering them and takes the rest.
                if taken and len(lost.leases) >= MAX_BATCH:
                    full.append(queue)
            waiting = full
        return None

    def decide(self, lost: LostLease) -> Recover:
        """Decide where a lost task is moved."""
        message = lost.message
        if message.retried >= message.max_retry:
            return Recover(lost=lost, to="archived", error=LEASE_EXPIRED)
        if lost.lease_losses == 0:
            return Recover(lost=lost, to="pending", error=LEASE_EXPIRED)
        delay = self._rules.delay_of(message, LeaseLostError(message.queue, message.id))
        return Recover(lost=lost, to="retry", error=LEASE_EXPIRED, delay=delay)

    async def _recover(self, recoveries: list[Recover]) -> int:
        if not recoveries:
            return 0
        taken = 0
        answers = await execute_isolated(AwaitedCalls(self._broker), recoveries)
        for recovery, answer in zip(recoveries, answers, strict=True):
            message = recovery.lost.message
            # Two servers that report the same loss are better than a loss that is not reported.
            unknown = isinstance(answer, AsynqError) and may_be_applied(answer)
            if isinstance(answer, AsynqError) and not unknown:
                log.warning("task %r of queue %r is not recovered yet: %s", message.id, message.queue, answer)
            elif answer:
                taken += 1
                level = logging.ERROR if recovery.to == "archived" else logging.WARNING
                text = "task %r (%s) of queue %r lost its worker: now %s"
                log.log(level, text, message.id, message.type, message.queue, recovery.to)
                self._on_lost(recovery)
        if taken:
            self._on_recovered()
        return taken


class Adopter:
    """Each step searches all active tasks for tasks without a lease, which only damage can cause."""

    ADOPTED_LEASE = 30_000
    """Milliseconds until an adopted task counts as lost."""

    def __init__(self, broker: Broker, queues: Sequence[str]) -> None:
        self._rotation = QueueRotation(queues)
        self._sweep = QueueSweep(broker, "adopting orphaned tasks")

    async def step(self) -> float | None:
        """Give each orphan a lease, so that it is recovered when the lease expires."""
        cursors = dict.fromkeys(self._rotation.take(), 0)
        while cursors:
            answers = await self._sweep.run(
                {
                    queue: AdoptOrphans(queue=queue, grace=self.ADOPTED_LEASE, cursor=cursor)
                    for queue, cursor in cursors.items()
                }
            )
            for queue, answer in answers.items():
                if answer.adopted or answer.dropped:
                    log.warning(
                        "queue %r: %d orphans adopted, %d dropped", queue, answer.adopted, answer.dropped
                    )
            cursors = {queue: answer.cursor for queue, answer in answers.items() if answer.cursor}
        return None
