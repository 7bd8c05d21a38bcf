"""Recoverer: reschedules the tasks of lost workers. Adopter: finds active tasks without a lease."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from asynq.errors import AsynqError, BrokerUnavailable, LeaseLostError
from asynq.protocol.answers import may_be_applied
from asynq.protocol.ops import MAX_BATCH, AdoptOrphans, ListLostLeases, Recover
from asynq.runtime.isolation import execute_isolated
from asynq.runtime.logs import get_logger
from asynq.runtime.sync_async import AwaitedCalls
from asynq.worker.loops.queue_agenda import QueueAgenda
from asynq.worker.loops.queue_sweep import QueueRotation, QueueSweep

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from asynq.handlers.retry import RetryPolicy
    from asynq.protocol.broker import Broker
    from asynq.protocol.broker_time import BrokerTime
    from asynq.protocol.message import LostLease

log = get_logger("asynq.loops")

LEASE_EXPIRED = "asynq: task lease expired"
"""The error message of a lost task, as in Go's asynq."""
RETRY_DELAY = 1000
"""Milliseconds until a queue is asked again that did not answer, or whose lost tasks could not be taken."""
MIN_PAUSE = 0.1
"""Minimum pause in seconds, so that a clock ahead of the broker's does not cause a busy loop."""
MAX_SPREAD = 0.25
"""Maximum seconds by which a step is delayed at random, so that not all servers ask when a lease expires."""


class Recoverer:
    """Each step finds expired leases and reschedules their tasks. Returns when the next lease may expire.

    A task without retries left is archived. After its first lost worker, a task is made pending at once.
    After later ones, it is retried after the retry delay, so that a task that crashes its workers does not
    crash all of them in quick succession.

    Args:
        broker: the broker.
        queues: the queues of the server.
        rules: the retry rules.
        interval: returns the seconds within which each queue is asked in any case. It must be short unless
            `mark` is called whenever a lease may have been created.
        time: the broker's time.
        rng: source of the jitter.
        on_recovered: called with a queue whose tasks can run again.
        on_lost: called with each recovered task and where it was moved.
    """

    def __init__(
        self,
        broker: Broker,
        queues: Sequence[str],
        rules: RetryPolicy,
        *,
        interval: Callable[[], float],
        time: BrokerTime,
        rng: Random,
        on_recovered: Callable[[str], None],
        on_lost: Callable[[Recover], None],
    ) -> None:
        self._broker = broker
        self._agenda = QueueAgenda(queues, interval, time)
        self._rules = rules
        self._time = time
        self._rng = rng
        self._on_recovered = on_recovered
        self._on_lost = on_lost
        self._sweep = QueueSweep(broker, "recovering lost tasks")

    def mark(self, queue: str | None) -> None:
        """Ask this queue in the next step: leases may have been created. None: all queues."""
        self._agenda.mark(queue)

    async def step(self) -> float | None:
        """Recover all lost tasks. Returns the seconds until the next lease may expire, or the next poll."""
        waiting = self._agenda.take()
        while waiting:
            try:
                waiting = await self._ask(waiting)
            except BrokerUnavailable:
                self._agenda.mark_all(waiting)
                raise
        pause = await self._agenda.pause(self._broker, delay=self._rng.uniform(0, MAX_SPREAD))
        return max(pause, MIN_PAUSE)

    async def _ask(self, queues: Sequence[str]) -> list[str]:
        """Recover the lost tasks of these queues. Returns the queues that may have more of them."""
        found = await self._sweep.run({queue: ListLostLeases(queue=queue) for queue in queues})
        full: list[str] = []
        for queue in queues:
            lost = found.get(queue)
            if lost is None:
                self._agenda.plan(queue, self._time.now() + RETRY_DELAY)
                continue
            self._agenda.plan(queue, lost.next_expiry)
            if lost.set_aside:
                log.error("queue %r: undecodable tasks were archived: %s", queue, lost.set_aside)
            taken = await self._recover([self.decide(lease) for lease in lost.leases])
            # If none of a full page was taken, another server is recovering them and takes the rest.
            if taken and len(lost.leases) >= MAX_BATCH:
                full.append(queue)
            elif taken < len(lost.leases):
                self._agenda.plan(queue, self._time.now() + RETRY_DELAY)
        return full

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
            self._on_recovered(recoveries[0].lost.message.queue)
        return taken


class Adopter:
    """Each step searches all active tasks for tasks without a lease, which only damage can cause.

    Args:
        broker: the broker.
        queues: the queues of the server.
        on_adopted: called with a queue in which leases were created.
    """

    ADOPTED_LEASE = 30_000
    """Milliseconds until an adopted task counts as lost."""

    def __init__(self, broker: Broker, queues: Sequence[str], on_adopted: Callable[[str], None]) -> None:
        self._on_adopted = on_adopted
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
                    self._on_adopted(queue)
            cursors = {queue: answer.cursor for queue, answer in answers.items() if answer.cursor}
        return None
