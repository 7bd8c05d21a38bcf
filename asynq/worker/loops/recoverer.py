"""Takes tasks from workers that died, froze or were cut off, and gives them to others."""

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
"""The error a lost task carries, in Go asynq's words."""


class Recoverer:
    """Each step finds the leases that expired and decides about each task.

    No retry left: archived. Its first lost worker: pending again at once. Later ones: retried after the
    retry delay, so that a task which kills its workers does not kill them all in a row.
    """

    def __init__(
        self,
        broker: Broker,
        queues: Sequence[str],
        rules: RetryPolicy,
        *,
        recovered: Callable[[], None],
        lost: Callable[[Recover], None],
    ) -> None:
        """`recovered` is called when tasks can run again, `lost` with each loss: where its task went."""
        self._broker = broker
        self._turns = QueueRotation(queues)
        self._rules = rules
        self._recovered = recovered
        self._lost = lost
        self._sweep = QueueSweep(broker, "recovering lost tasks")

    async def step(self) -> float | None:
        """Recover every lost task of the queues."""
        waiting = self._turns.take()
        while waiting:
            found = await self._sweep.run({queue: ListLostLeases(queue=queue) for queue in waiting})
            full: list[str] = []
            for queue, lost in found.items():
                if lost.set_aside:
                    log.error("queue %r: cannot be decoded, now archived: %s", queue, lost.set_aside)
                taken = await self._recover([self.decide(lease) for lease in lost.leases])
                # Who took none of a full page competes with another server, which will see to the rest.
                if taken and len(lost.leases) >= MAX_BATCH:
                    full.append(queue)
            waiting = full
        return None

    def decide(self, lost: LostLease) -> Recover:
        """Where a lost task goes."""
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
            # A loss that nobody is told of is worse than one that two servers tell.
            unknown = isinstance(answer, AsynqError) and may_be_applied(answer)
            if isinstance(answer, AsynqError) and not unknown:
                log.warning("task %r of queue %r is not recovered yet: %s", message.id, message.queue, answer)
            elif answer:
                taken += 1
                level = logging.ERROR if recovery.to == "archived" else logging.WARNING
                said = "task %r (%s) of queue %r lost its worker: now %s"
                log.log(level, said, message.id, message.type, message.queue, recovery.to)
                self._lost(recovery)
        if taken:
            self._recovered()
        return taken


class Adopter:
    """Each step looks through all active tasks for those that have no lease, as only damage leaves them."""

    ADOPTED_LEASE = 30_000
    """Milliseconds until an adopted task counts as lost."""

    def __init__(self, broker: Broker, queues: Sequence[str]) -> None:
        self._turns = QueueRotation(queues)
        self._sweep = QueueSweep(broker, "adopting orphaned tasks")

    async def step(self) -> float | None:
        """Give every orphan of the queues a lease that recovery will find."""
        cursors = dict.fromkeys(self._turns.take(), 0)
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
