"""Rules for the life of a task: produce, consume, settle."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from asynq.protocol import ops
from asynq.task_state import TaskState
from asynq_conformance.machine import domain
from asynq_conformance.machine.base import BaseRules
from asynq_conformance.machine.domain import HOUR, LEASE, MINUTE, QUEUES, SECOND, message

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.protocol.message import Delivery

ORDERS = tuple(order for size in (1, 2, 3) for order in permutations(QUEUES, size))
LIMITS: tuple[dict[str, int], ...] = ({}, {}, {"a": 1}, {"a": 2, "b": 1})

RUN_SETTLEMENTS: dict[str, Callable[[Delivery], ops.Op[None]]] = {
    "done": lambda run: ops.Done(delivery=run),
    "complete": lambda run: ops.Complete(delivery=run),
    "complete with a result": lambda run: ops.Complete(delivery=run, result=b"result"),
    "retry": lambda run: ops.Retry(delivery=run, delay=MINUTE, error="failed"),
    "retry at once": lambda run: ops.Retry(delivery=run, delay=0, error="failed"),
    "retry without failure": lambda run: ops.Retry(
        delivery=run, delay=2 * MINUTE, error="not now", failure=False
    ),
    "archive": lambda run: ops.Archive(delivery=run, error="final"),
    "archive in little room": lambda run: ops.Archive(delivery=run, error="final", max_size=1, max_age=HOUR),
    "requeue": lambda run: ops.Requeue(delivery=run),
}
TOKEN_OPERATIONS: dict[str, Callable[[Delivery], ops.Op[Any]]] = {
    **{name: RUN_SETTLEMENTS[name] for name in ("done", "complete", "retry", "archive", "requeue")},
    "extend": lambda run: ops.ExtendLease(lease=run.lease, duration=10 * LEASE),
    "write": lambda run: ops.WriteResult(lease=run.lease, result=b"late"),
}
"""Operations that require the ownership of a task."""


class TaskRules(BaseRules):
    """The life of a task."""

    # --- produce ----------------------------------------------------------------------------------------

    @rule(
        queue=domain.queues,
        task_id=domain.ids,
        payload=domain.payloads,
        unique=domain.unique,
        delay=st.sampled_from((None, None, 0, 1, SECOND, MINUTE)),
    )
    def enqueue_task(
        self, queue: str, task_id: str, payload: bytes, unique: ops.Unique | None, delay: int | None
    ) -> None:
        self.enqueue(message(queue, task_id, payload, unique), unique, process_in=delay)

    @rule(
        queue=domain.queues,
        group=domain.groups,
        task_id=domain.ids,
        payload=domain.payloads,
        unique=domain.unique,
        delay=st.sampled_from((None, None, None, SECOND)),
    )
    def enqueue_into_a_group(
        self,
        *,
        queue: str,
        group: str,
        task_id: str,
        payload: bytes,
        unique: ops.Unique | None,
        delay: int | None,
    ) -> None:
        self.enqueue(message(queue, task_id, payload, unique, group=group), unique, process_in=delay)

    @rule(
        queue=domain.queues,
        sequence=domain.sequences,
        task_id=domain.ids,
        payload=domain.payloads,
        unique=domain.unique.filter(lambda unique: unique is None or not unique.keep),
        on_conflict=st.sampled_from(("replace_finished", "reject")),
    )
    def enqueue_into_a_sequence(
        self,
        *,
        queue: str,
        sequence: str,
        task_id: str,
        payload: bytes,
        unique: ops.Unique | None,
        on_conflict: str,
    ) -> None:
        new = message(queue, task_id, payload, unique, sequence=sequence)
        self.enqueue(new, unique, on_conflict=on_conflict)

    @precondition(lambda self: self.any(*TaskState))
    @rule(
        which=domain.index,
        payload=domain.payloads,
        unique=domain.unique,
        on_conflict=st.sampled_from(("replace_finished", "reject")),
    )
    def enqueue_a_known_id(
        self, which: int, payload: bytes, unique: ops.Unique | None, on_conflict: str
    ) -> None:
        finished = self.tasks(TaskState.ARCHIVED, TaskState.COMPLETED) or self.tasks()
        queue, task_id = finished[which % len(finished)].key
        self.enqueue(message(queue, task_id, payload, unique), unique, on_conflict=on_conflict)

    @precondition(lambda self: self.sent)
    @rule(which=domain.index)
    def send_again(self, which: int) -> None:
        sent = self.sent[-1 - which % min(len(self.sent), 12)]
        if isinstance(sent.op, ops.Dequeue) and not self._may_be_taken_again(sent.op):
            return
        twin = self.program.step(sent.op, sent.actual_op, copy=True)
        self._remember(sent.op, twin)

    def _may_be_taken_again(self, op: ops.Dequeue) -> bool:
        """Whether the answer to a copy is defined: not with several orders, not after a settlement."""
        ended = [run for run in self.runs if run.expected.token == op.token and not self.owns(run)]
        return len({*op.orders}) == 1 and not ended

    # --- consume ----------------------------------------------------------------------------------------

    @precondition(lambda self: self.any(TaskState.PENDING))
    @rule(order=st.sampled_from(ORDERS), count=st.integers(1, 3), limits=st.sampled_from(LIMITS))
    def take(self, order: tuple[str, ...], count: int, limits: dict[str, int]) -> None:
        self.dequeue((order,) * count, LEASE, limits=limits)

    @precondition(lambda self: self.any(TaskState.PENDING))
    @rule(which=domain.index, lease=st.sampled_from((LEASE, SECOND, 2 * MINUTE)))
    def take_from_a_queue_that_has_tasks(self, which: int, lease: int) -> None:
        pending = self.tasks(TaskState.PENDING)
        self.dequeue(((pending[which % len(pending)].message.queue,),), lease)

    @precondition(lambda self: self.any(TaskState.PENDING))
    @rule(ways=st.integers(2, 4))
    def take_by_different_orders(self, ways: int) -> None:
        self.dequeue(((("a", "b"), ("b", "a")) * 2)[:ways], LEASE)

    @precondition(lambda self: self.runs)
    @rule(which=domain.index, duration=st.sampled_from((LEASE, 2 * LEASE, SECOND)))
    def extend(self, which: int, duration: int) -> None:
        self.do_with(self.run_of(which), lambda run: ops.ExtendLease(lease=run.lease, duration=duration))

    @precondition(lambda self: self.runs)
    @rule(which=domain.index, result=st.sampled_from((b"progress", b"")))
    def write(self, which: int, result: bytes) -> None:
        self.do_with(self.run_of(which), lambda run: ops.WriteResult(lease=run.lease, result=result))

    # --- settle -----------------------------------------------------------------------------------------

    @precondition(lambda self: self.runs)
    @rule(which=domain.index, how=st.sampled_from(tuple(RUN_SETTLEMENTS)))
    def settle(self, which: int, how: str) -> None:
        self.do_with(self.run_of(which), RUN_SETTLEMENTS[how])

    @precondition(lambda self: self.any(TaskState.ACTIVE))
    @rule(which=domain.index, how=st.sampled_from(tuple(RUN_SETTLEMENTS)))
    def end_a_run(self, which: int, how: str) -> None:
        owning = [run for run in self.runs if self.owns(run)]
        self.do_with(owning[which % len(owning)], RUN_SETTLEMENTS[how])

    @precondition(lambda self: self.any(TaskState.ACTIVE))
    @rule(which=domain.index, then=st.sampled_from(("archive", "retry")), anywhere=st.booleans())
    def cancel(self, which: int, then: Any, anywhere: bool) -> None:
        tasks = self.tasks(TaskState.ACTIVE) if which % 4 < 3 else self.tasks()
        task = tasks[which % len(tasks)]
        queue, task_id = task.key
        self.do(ops.CancelTask(task_id=task_id, queue=None if anywhere else queue, then=then), about=task)
