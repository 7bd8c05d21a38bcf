"""The complete machine: all rules, and the end of every program."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from asynq.protocol import ops
from asynq.task_state import TaskState
from asynq_conformance.machine.administration import AdministrationRules
from asynq_conformance.machine.domain import GROUPS, HOLD, LEASE, LIVING, MINUTE, QUEUES, message
from asynq_conformance.machine.followers import MEMBERS, FollowerRules
from asynq_conformance.machine.sequences import SequenceRules

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROUNDS = 12
"""Upper bound for the steps that end every task."""


class BrokerMachine(SequenceRules, AdministrationRules, FollowerRules):
    """Programs of operations, each executed on the model and on a broker."""

    def teardown(self) -> None:
        """End every task and release every lock."""
        if not hasattr(self, "program"):
            return
        try:
            if not self.program.failed:
                self.program.look_at_all()
                self.drain()
                self.try_locks()
                self.program.look_at_all()
        finally:
            self.session.reached.update(self.program.reached)
            self.session.steps.append(self.program.steps)
            if self.session.failed_at is None and isinstance(sys.exception(), Exception):
                self.session.failed_at = len(self.session.steps)

    def drain(self) -> None:
        """Check that no task waits any longer."""
        for queue in sorted(self.system.paused):
            self.do(ops.UnpauseQueue(queue=queue))
        for _ in range(_ROUNDS):
            if not self.any(*LIVING):
                break
            self._let_all_become_due()
            self._let_all_arrive()
            self._aggregate()
            for queue in sorted({task.message.queue for task in self.tasks() if task.waits}):
                self.do(ops.AdvanceSequences(queue=queue))
            self.dequeue((QUEUES,) * ops.MAX_BATCH, LEASE)
            self.program.batch(
                [ops.Done(delivery=run.actual) for run in self.runs if self.owns(run)] or [ops.Ping()]
            )
        if not self.session.broker or not self.session.broker.capabilities.unsupported:
            assert not self.any(*LIVING), "some tasks cannot be ended"

    def _let_all_become_due(self) -> None:
        waiting = [*self.delayed(), *self.tasks(TaskState.ACTIVE)]
        self.wait_until(max((task.due for task in waiting), default=self.now))
        for queue in sorted({task.message.queue for task in waiting}):
            self.do(ops.Forward(queue=queue))
            for lost in self.do(ops.ListLostLeases(queue=queue)).expected.leases:
                [found] = [one for one in self.lost if one.expected is lost]
                self.do_with(found, lambda one: ops.Recover(lost=one, to="pending", error="lost"))

    def _let_all_arrive(self) -> None:
        for task in self.joins():
            for member in range(MEMBERS):
                self.arrive_at(*task.key, member, MEMBERS)

    def _aggregate(self) -> None:
        grouped = {task.message.queue for task in self.tasks(TaskState.AGGREGATING)}
        for queue in sorted(grouped):
            self.wait(HOLD + MINUTE)
            self.do(ops.ReclaimAggregations(queue=queue))
            for group in GROUPS:
                if self.system.waiting(queue, group):
                    take = ops.TakeGroup(queue=queue, group=group, set_id=self.fresh(), grace=0)
                    self.do(take)
                    self.end_set(self.taken[-1], "finish", f"all-{self.fresh()}")

    def try_locks(self) -> None:
        """Check for every lock that the broker grants it exactly if the model does."""
        asked = {(one.message.queue, one.message.payload) for one in self._enqueues() if one.unique}
        for queue, payload in sorted(asked):
            unique = ops.Unique(ttl=MINUTE)
            self.enqueue(message(queue, f"try-{self.fresh()}", payload, unique), unique)

    def _enqueues(self) -> Iterator[ops.Enqueue]:
        for sent in self.sent:
            if isinstance(sent.op, ops.Enqueue):
                yield sent.op
            elif isinstance(sent.op, ops.EnqueueTick):
                yield sent.op.enqueue
