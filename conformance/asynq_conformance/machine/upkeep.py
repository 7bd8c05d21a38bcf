"""Rules for time and its consequences: due times, maintenance, lost workers, aggregation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from asynq.protocol import ops
from asynq.protocol.followers import HELD
from asynq.task_state import TaskState
from asynq_conformance.machine import domain
from asynq_conformance.machine.base import BaseRules
from asynq_conformance.machine.domain import GROUP_GRACE, HOLD, LONGEST_DELAY, MINUTE, OLDEST, SECOND, message
from asynq_conformance.machine.followers import waits_for_others
from asynq_conformance.model.followers import is_kept_for_followers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asynq.protocol.groups import AggregationSet
    from asynq_conformance.machine.lockstep import Twin
    from asynq_conformance.model.records import ModelTask

limits = st.sampled_from((ops.MAX_BATCH, 1, 2))


class UpkeepRules(BaseRules):
    """Effects of time, and the operations that handle them."""

    # --- time -------------------------------------------------------------------------------------------

    def deadlines(self) -> Iterator[int]:
        """Instants at which something changes because of time alone."""
        for task in self.system.tasks.values():
            yield from self._deadlines_of(task)
        for until in self.system.sets.values():
            yield from (until, until + SECOND)
        for lock in self.system.locks.values():
            yield from (lock.end, lock.step)
        for held in self.system.slots.values():
            yield from held.values()
        for taken in self.system.tokens.values():
            yield from (at + MINUTE for at in taken)

    def _deadlines_of(self, task: ModelTask) -> Iterator[int]:
        if task.state is TaskState.ARCHIVED:
            yield task.due + OLDEST
        elif is_kept_for_followers(task, self.now):
            yield task.due - HELD * 1000  # its hold ends
        elif task.state is TaskState.AGGREGATING:
            if not task.set_id:
                yield from (task.due + GROUP_GRACE, task.due + LONGEST_DELAY)
        elif not self.waits(task):
            yield task.due

    def waits(self, task: ModelTask) -> bool:
        """Whether the task waits for other tasks, and for no instant."""
        return task.waits or waits_for_others(task)

    @precondition(lambda self: any(instant > self.now for instant in self.deadlines()))
    @rule(which=domain.index, offset=domain.offsets)
    def wait_for_a_deadline(self, which: int, offset: int) -> None:
        coming = sorted({instant for instant in self.deadlines() if instant > self.now})
        self.wait_until(coming[which // 2 % len(coming)] + offset)

    @rule(milliseconds=st.sampled_from((1, 749, 1000, 2345)))
    def let_time_pass(self, milliseconds: int) -> None:
        self.wait(milliseconds)

    # --- upkeep -----------------------------------------------------------------------------------------

    def delayed(self) -> list[ModelTask]:
        """Tasks that are due at some time, unlike those that wait in a sequence."""
        return [
            task
            for task in self.tasks(TaskState.SCHEDULED, TaskState.RETRY)
            if not (task.waits or waits_for_others(task))
        ]

    @precondition(lambda self: self.delayed())
    @rule(which=domain.index, limit=limits, wait=st.sampled_from(("not", "for one", "for all")))
    def forward(self, which: int, limit: int, wait: str) -> None:
        delayed = self.delayed()
        task = delayed[which % len(delayed)]
        if wait == "for one":
            self.wait_until(task.due)
        elif wait == "for all":
            self.wait_until(max(task.due for task in delayed))
        self.do(ops.Forward(queue=task.message.queue, limit=limit), about=task)

    @precondition(lambda self: self.any(TaskState.ACTIVE))
    @rule(which=domain.index, limit=limits)
    def list_lost(self, which: int, limit: int) -> None:
        active = self.tasks(TaskState.ACTIVE)
        task = active[which % len(active)]
        self.do(ops.ListLostLeases(queue=task.message.queue, limit=limit), about=task)

    @precondition(lambda self: self.lost)
    @rule(which=domain.index, to=st.sampled_from(("pending", "retry", "archived")))
    def recover(self, which: int, to: Any) -> None:
        found = self.lost[-1 - which % len(self.lost)]
        self.do_with(found, lambda lost: ops.Recover(lost=lost, to=to, error="lost", delay=MINUTE))

    @precondition(lambda self: self.any(TaskState.COMPLETED))
    @rule(which=domain.index, limit=limits)
    def purge(self, which: int, limit: int) -> None:
        completed = self.tasks(TaskState.COMPLETED)
        task = completed[which % len(completed)]
        self.do(ops.PurgeCompleted(queue=task.message.queue, limit=limit), about=task)

    @precondition(lambda self: self.any(TaskState.ARCHIVED))
    @rule(which=domain.index, size=st.sampled_from((10_000, 1, 0)), limit=limits)
    def trim(self, which: int, size: int, limit: int) -> None:
        archived = self.tasks(TaskState.ARCHIVED)
        task = archived[which % len(archived)]
        trim = ops.TrimArchive(queue=task.message.queue, max_size=size, max_age=OLDEST, limit=limit)
        self.do(trim, about=task)

    @rule(queue=domain.queues, cursor=st.sampled_from(("", "r", "s")), limit=limits)
    def advance_sequences(self, queue: str, cursor: str, limit: int) -> None:
        self.do(ops.AdvanceSequences(queue=queue, cursor=cursor, limit=limit))

    # --- aggregation ------------------------------------------------------------------------------------

    @precondition(lambda self: self.any(TaskState.AGGREGATING))
    @rule(
        which=domain.index,
        max_size=st.sampled_from((0, 1, 2)),
        max_delay=st.sampled_from((0, LONGEST_DELAY)),
    )
    def take_a_group(self, which: int, max_size: int, max_delay: int) -> None:
        grouped = self.tasks(TaskState.AGGREGATING)
        task = grouped[which % len(grouped)]
        take = ops.TakeGroup(
            queue=task.message.queue,
            group=task.group,
            set_id=self.fresh(),
            grace=GROUP_GRACE,
            max_delay=max_delay,
            max_size=max_size,
            hold=HOLD,
        )
        self.do(take, about=task)

    @precondition(lambda self: self.taken)
    @rule(
        which=domain.index,
        how=st.sampled_from(("finish", "return", "extend")),
        task_id=domain.ids,
        unique=domain.unique,
    )
    def end_an_aggregation(self, which: int, how: str, task_id: str, unique: ops.Unique | None) -> None:
        held = [one for one in self.taken if self.is_held(one.expected)]
        taken = (
            held[which % len(held)] if held and which % 4 < 3 else self.taken[-1 - which % len(self.taken)]
        )
        self.end_set(taken, how, task_id, unique)

    def is_held(self, taken: AggregationSet) -> bool:
        """Whether the aggregation set is still held."""
        return (taken.queue, taken.group, taken.id) in self.system.sets

    def end_set(self, taken: Twin, how: str, task_id: str, unique: ops.Unique | None = None) -> None:
        """One step: end an aggregation."""
        aggregate = message(taken.expected.queue, task_id, b"two", unique)
        enqueue = ops.Enqueue(message=aggregate, enqueue_id=self.fresh(), unique=unique)
        ends: dict[str, Callable[[Any], ops.Op[Any]]] = {
            "finish": lambda one: ops.FinishAggregation(taken=one, enqueue=enqueue),
            "return": lambda one: ops.ReturnAggregation(taken=one),
            "extend": lambda one: ops.ExtendAggregation(taken=one, hold=HOLD),
        }
        self.do_with(taken, ends[how])

    @precondition(lambda self: self.system.sets)
    @rule(which=domain.index, limit=limits, wait=st.booleans(), offset=domain.offsets)
    def reclaim(self, which: int, limit: int, wait: bool, offset: int) -> None:
        sets = sorted(self.system.sets.items())
        (queue, _, _), until = sets[which % len(sets)]
        if wait:
            self.wait_until(until + offset)
        self.do(ops.ReclaimAggregations(queue=queue, limit=limit))
