"""After a run: all that can still be run is run, and what is then left is written down."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any, Final

from asynq.errors import AsynqError, QueueNotFoundError
from asynq.protocol import ops
from asynq.task_state import TaskState
from asynq_conformance.histories.history import REMAINS
from asynq_conformance.histories.recorder import RecordingBroker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from asynq.protocol.broker import Broker
    from asynq.protocol.message import QueueStats, StoredTask
    from asynq_conformance.histories.recorder import HistoryRecorder

LEASE: Final = 30_000
_PAUSE: Final = 0.03
"""Seconds between two looks while nothing can be done but wait."""
_PAGE: Final = 500


class Drain:
    """Runs what is left in every queue, until nothing is, or patience ends.

    Tasks whose worker was lost are recovered when their lease lapses, those that wait are waited for. What
    this does to tasks is part of the record, what it only looks at is not.
    """

    def __init__(
        self,
        broker: Broker,
        recorder: HistoryRecorder,
        *,
        rest: Callable[[float], None] = time.sleep,
    ) -> None:
        self._broker = broker
        self._recorded = RecordingBroker(broker, recorder)
        self._recorder = recorder
        self._rest = rest
        self._tokens = itertools.count()
        self._trouble = ""
        self.handed = 0
        """How many tasks the drain itself has run."""

    def run(self, patience: float) -> bool:
        """Run what is left, and write down what remains; True when nothing remained to run.

        AsynqError when the broker cannot even be looked at.
        """
        quiesced_at = self._recorder.now()
        ends = quiesced_at + patience * 1e9
        left = self._begin(ends)
        while left and self._recorder.now() < ends:
            self._trouble = ""
            moved = self._step(left)
            left = [queue for queue, stats in self._look(left) if _to_run(stats)]
            if left and not moved:
                self._rest(_PAUSE)
        self._write_down(quiesced_at, drained=not left)
        return not left

    def _begin(self, ends: float) -> list[str]:
        """All queues, none of them paused any more."""
        while True:
            try:
                queues = list(self._broker.execute(ops.ListQueues()))
            except AsynqError:
                if self._recorder.now() >= ends:
                    raise
                self._rest(_PAUSE)
            else:
                self._ask([ops.UnpauseQueue(queue=queue) for queue in queues])
                return queues

    def _step(self, queues: Sequence[str]) -> bool:
        """Do for these queues what can be done now; True when that was anything."""
        self._ask([ops.Forward(queue=queue) for queue in queues])
        found = self._ask([ops.ListLostLeases(queue=queue) for queue in queues])
        lost = [lease for answer in found for lease in answer.leases]
        self._ask([ops.Recover(lost=lease, to="pending", error="lost") for lease in lost])
        taken = self._ask([self._dequeue(queue) for queue in queues])
        deliveries = [delivery for answer in taken for delivery in answer]
        self._ask([ops.Done(delivery=delivery) for delivery in deliveries])
        self.handed += len(deliveries)
        return bool(lost or deliveries)

    def _dequeue(self, queue: str) -> ops.Dequeue:
        token = f"{self._recorder.process}-{next(self._tokens)}"
        return ops.Dequeue(orders=((queue,),) * ops.MAX_BATCH, token=token, lease=LEASE)

    def _look(self, queues: Sequence[str]) -> Iterable[tuple[str, QueueStats | None]]:
        answers = self._ask([ops.GetQueueStats(queue=queue) for queue in queues], recorded=False, place=True)
        return zip(queues, answers, strict=True)

    def _ask(self, operations: Sequence[Any], *, recorded: bool = True, place: bool = False) -> list[Any]:
        """The answers; an error is remembered, and left out unless its place matters."""
        if not operations:
            return []
        broker = self._recorded if recorded else self._broker
        try:
            answers: list[Any] = list(broker.execute_many(operations))
        except AsynqError as error:
            answers = [error] * len(operations)
        for answer in answers:
            if isinstance(answer, AsynqError):
                self._trouble = str(answer)
        return [answer for answer in answers if place or not isinstance(answer, AsynqError)]

    # --- what remains -------------------------------------------------------------------------------

    def _write_down(self, quiesced_at: int, *, drained: bool) -> None:
        queues = self._broker.execute(ops.ListQueues())
        stats = {queue: self._broker.execute(ops.GetQueueStats(queue=queue)) for queue in queues}
        self._recorder.note(
            REMAINS,
            quiesced_at=quiesced_at,
            drained=drained,
            trouble=self._trouble,
            stats=stats,
            tasks={queue: tuple(self._tasks(found)) for queue, found in stats.items()},
        )

    def _tasks(self, stats: QueueStats) -> Iterable[StoredTask]:
        for state in TaskState:
            if state is TaskState.AGGREGATING or not getattr(stats, state.value):
                continue
            for offset in itertools.count(0, _PAGE):
                page = self._broker.execute(
                    ops.ListTasks(queue=stats.queue, state=state, offset=offset, limit=_PAGE)
                )
                yield from page
                if len(page) < _PAGE:
                    break


def _to_run(stats: QueueStats | AsynqError | None) -> bool:
    """True unless the queue surely holds nothing that will run."""
    if isinstance(stats, QueueNotFoundError):
        return False
    if stats is None or isinstance(stats, AsynqError):
        return True
    return bool(stats.pending or stats.active or stats.scheduled or stats.retry)
