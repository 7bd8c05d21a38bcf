"""Brokers with defects in the events that listeners receive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from asynq.protocol.ops import ReleaseTask, UpdateTask
from asynq_mutants.defects import BrokenBroker, caught_by

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq.protocol.ops import Op

NOBODY_LISTENS: Final = "nobody listens during a program"


@caught_by(
    "test_a_listener_is_woken_when_a_task_is_made_to_run",
    change="rescheduled",
    beyond_programs=NOBODY_LISTENS,
)
@caught_by(
    "test_a_listener_is_woken_when_a_task_is_made_to_run",
    change="released",
    beyond_programs=NOBODY_LISTENS,
)
class WakesForNoUpdateAndNoRelease(BrokenBroker):
    def _announce(self, ops: Sequence[Op[Any]], answers: Sequence[Any]) -> None:
        told = [
            (op, answer)
            for op, answer in zip(ops, answers, strict=True)
            if not isinstance(op, UpdateTask | ReleaseTask)
        ]
        super()._announce([op for op, _ in told], [answer for _, answer in told])
