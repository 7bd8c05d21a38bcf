"""A broker that fails over: a replica takes over without the last operations of its primary.

It promises what a replicated store does. What it acknowledges survives. What it does meanwhile, it does not
acknowledge, but reads of the primary show it.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, Final

from asynq.errors import AsynqError, NotReplicatedError
from asynq.protocol import ops
from asynq.task_state import TaskState
from asynq_conformance.histories.history import MILLISECOND, LossWindow
from asynq_conformance.histories.resends import SETTLEMENT_TYPES
from asynq_conformance.model import ModelBroker
from tests.unit.simulation import BEGINNING

if TYPE_CHECKING:
    from asynq.clock import Clock
    from asynq.protocol.message import Delivery

_READS: Final = (ops.GetQueueStats, ops.GetTask)
_CONFIRMED: Final = (ops.Enqueue, *SETTLEMENT_TYPES)
FORK: Final = BEGINNING + 400
TAKEOVER: Final = BEGINNING + 1600
FAILOVER: Final = LossWindow(
    begin=(FORK - BEGINNING) * MILLISECOND, end=(TAKEOVER - BEGINNING) * MILLISECOND, acknowledged=False
)


class FailingOverBroker(ModelBroker):
    """Its replica receives nothing from FORK on, and takes over at TAKEOVER."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._replica: ModelBroker | None = None

    def execute(self, op: ops.Op[Any], /) -> Any:
        now = self.clock.now()
        if now < FORK:
            return super().execute(op)
        if self._replica is None:
            self._replica = ModelBroker(self.clock, deepcopy(self.system))
        if now >= TAKEOVER:
            return self._replica.execute(op)
        try:
            answer = super().execute(op)
        except AsynqError:
            if isinstance(op, _READS):
                raise
        else:
            if self._is_shown(op, answer):
                return answer
        raise NotReplicatedError(wanted=1, confirmed=0)

    def _is_shown(self, op: ops.Op[Any], answer: Any) -> bool:
        """True if the answer is given although no replica confirms it: the replica loses nothing."""
        if isinstance(op, ops.Dequeue):
            return not any(map(self._has_pending, answer))
        assert self._replica is not None
        copy = ModelBroker(self.clock, deepcopy(self._replica.system))
        copy.execute_many([op])
        return not isinstance(op, _CONFIRMED) and copy.system == self._replica.system

    def _has_pending(self, delivery: Delivery) -> bool:
        """True if the task is pending for the replica too, so that its lease is lost."""
        assert self._replica is not None
        get = ops.GetTask(queue=delivery.message.queue, task_id=delivery.message.id)
        [answer] = self._replica.execute_many([get])
        return getattr(answer, "state", None) is TaskState.PENDING
