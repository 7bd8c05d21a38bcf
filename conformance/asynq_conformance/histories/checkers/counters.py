"""C8: the counters count what happened."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, ClassVar

from attrs import define, field

from asynq.protocol import ops
from asynq_conformance.histories.checkers.losses import recovered_from_lost_run
from asynq_conformance.histories.checkers.verdict import Verdict, Violation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynq_conformance.histories.history import Call, History

RunKey = tuple[str, str]
"""Id of a task and token of a run, or what was observed of its lease."""


class Miscounted(Violation):
    """C8."""

    says: ClassVar[str] = "counts other than what happened"
    of_many: ClassVar[bool] = True


@define
class Bounds:
    """Runs that were surely counted, and runs that may have been; each once, however often it was asked."""

    sure: set[RunKey] = field(factory=set)
    possible: set[RunKey] = field(factory=set)

    def add(self, run: RunKey, *, sure: bool) -> None:
        """One more call that counts this run, or may have."""
        self.possible.add(run)
        if sure:
            self.sure.add(run)

    def hold(self, count: int) -> bool:
        """True if the counter may say this."""
        return len(self.sure) <= count <= len(self.possible)

    def __str__(self) -> str:
        return f"{len(self.sure)} to {len(self.possible)}"


def counters_count_what_happened(history: History) -> Verdict:
    """C8: `processed` and `failed` lie between what surely happened and what may have."""
    remains = history.remains
    if remains is None:
        return Verdict(unknown="what remained was not written down")
    processed: dict[str, Bounds] = defaultdict(Bounds)
    failed: dict[str, Bounds] = defaultdict(Bounds)
    for queue, run, call, failure in _ends(history):
        sure = call.ok and (not isinstance(call.op, ops.Recover) or _surely_recovered(history, call))
        processed[queue].add(run, sure=sure)
        if failure:
            failed[queue].add(run, sure=sure)
    deleted = {call.op.queue for call in history.asking(ops.DeleteQueue) if call.possible}
    violations = []
    for queue in remains.stats.keys() - deleted:
        stats = remains.stats[queue]
        for name, count, bounds in (
            ("processed", stats.processed_total, processed[queue]),
            ("failed", stats.failed_total, failed[queue]),
        ):
            if not bounds.hold(count):
                violations.append(Miscounted(queue=queue, detail=f"{name} is {count}, not {bounds}"))
    return Verdict(tuple(violations), 2 * len(remains.stats.keys() - deleted))


def _surely_recovered(history: History, recovery: Call) -> bool:
    # A recovery that found the lease changed may be the copy of one that changed it.
    return recovery.answer and not recovered_from_lost_run(history, recovery)


def _ends(history: History) -> Iterator[tuple[str, RunKey, Call, bool]]:
    """Calls that count a run as ended, or may have: the queue, the run, the call, whether it failed."""
    for (queue, task_id), calls in history.settlements.items():
        for call in calls:
            counted = not isinstance(call.op, ops.Requeue) and getattr(call.op, "failure", True)
            if call.possible and counted:
                failure = isinstance(call.op, ops.Retry | ops.Archive)
                yield queue, (task_id, call.op.delivery.token), call, failure
    for (queue, task_id), calls in history.recoveries.items():
        for call in calls:
            yield queue, (task_id, call.op.lost.observed), call, True
