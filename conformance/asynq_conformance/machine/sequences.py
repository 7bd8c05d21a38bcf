"""Rules of several steps that reach states which single steps rarely reach."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from asynq.protocol import ops
from asynq.task_state import TaskState
from asynq_conformance.machine import domain
from asynq_conformance.machine.domain import GROUP_GRACE, HOLD, LEASE, MINUTE, SECOND, message
from asynq_conformance.machine.lockstep import Twin
from asynq_conformance.machine.tasks import RUN_SETTLEMENTS, TOKEN_OPERATIONS, TaskRules
from asynq_conformance.machine.upkeep import UpkeepRules

MORE_THAN_A_BATCH = ops.MAX_BATCH + 1


class SequenceRules(TaskRules, UpkeepRules):
    """Sequences of steps."""

    def live_run(self, which: int) -> Twin:
        """A run that owns its task."""
        owning = [run for run in self.runs if self.owns(run)]
        return owning[which % len(owning)]

    def crash(self, run: Twin, to: Any) -> None:
        """Lose the worker of a run and recover its task."""
        task = self.task_of(run)
        assert task is not None
        self.wait_until(task.due)
        listed = self.do(ops.ListLostLeases(queue=task.message.queue), about=task)
        pairs = zip(listed.expected.leases, listed.actual.leases, strict=True)
        [lost] = [Twin(*pair) for pair in pairs if pair[0].message.id == task.message.id]
        self.do_with(lost, lambda one: ops.Recover(lost=one, to=to, error="lost", delay=MINUTE))

    @precondition(lambda self: self.lost)
    @rule(which=domain.index, to=st.sampled_from(("pending", "retry", "archived")))
    def recover_what_was_recovered(self, which: int, to: Any) -> None:
        """Two servers find the same lost lease."""
        found = self.lost[-1 - which % len(self.lost)]
        for _ in range(2):
            self.do_with(found, lambda one: ops.Recover(lost=one, to=to, error="lost", delay=MINUTE))

    @rule(
        queue=domain.queues,
        task_id=domain.ids,
        unique=domain.unique,
        state=st.sampled_from(tuple(TaskState)),
    )
    def bring(self, queue: str, task_id: str, unique: ops.Unique | None, state: TaskState) -> None:
        """A task in every possible state."""
        group = "g" if state is TaskState.AGGREGATING else ""
        delay = MINUTE if state is TaskState.SCHEDULED else None
        self.enqueue(message(queue, task_id, b"one", unique, group=group), unique, process_in=delay)
        settlement = {
            TaskState.RETRY: RUN_SETTLEMENTS["retry"],
            TaskState.ARCHIVED: RUN_SETTLEMENTS["archive"],
            TaskState.COMPLETED: RUN_SETTLEMENTS["complete"],
        }.get(state)
        if settlement is None and state is not TaskState.ACTIVE:
            return
        self.dequeue(((queue,),), LEASE)
        if settlement and self.runs and self.owns(self.runs[-1]):
            self.do_with(self.runs[-1], settlement)

    @rule(
        queue=domain.queues,
        group=domain.groups,
        size=st.integers(2, 4),
        max_size=st.sampled_from((0, 2, 3)),
        wait=st.sampled_from((GROUP_GRACE, GROUP_GRACE - 1, 0)),
        how=st.sampled_from(("finish", "return", "leave")),
    )
    def gather(self, queue: str, *, group: str, size: int, max_size: int, wait: int, how: str) -> None:
        """Take several tasks of a group; finish, return or extend the set, or do nothing."""
        for task_id in domain.IDS[:size]:
            self.enqueue(message(queue, task_id, b"one", None, group=group))
            self.wait(SECOND)
        waiting = self.system.waiting(queue, group)
        if waiting:
            self.wait_until(waiting[-1].due + wait)
        known = len(self.taken)
        take = ops.TakeGroup(
            queue=queue, group=group, set_id=self.fresh(), grace=GROUP_GRACE, max_size=max_size, hold=HOLD
        )
        self.do(take, about=waiting[0] if waiting else None)
        if len(self.taken) > known and how != "leave":
            self.end_set(self.taken[-1], how, domain.IDS[-1])

    @precondition(lambda self: self.any(TaskState.ACTIVE))
    @rule(which=domain.index, to=st.sampled_from(("pending", "retry", "archived")))
    def crash_and_recover(self, which: int, to: str) -> None:
        self.crash(self.live_run(which), to)

    @precondition(lambda self: self.any(TaskState.ACTIVE))
    @rule(
        which=domain.index,
        act=st.sampled_from(tuple(TOKEN_OPERATIONS)),
        another=st.sampled_from(("done", "complete", "retry", "archive", "requeue")),
        then=st.sampled_from(tuple(TOKEN_OPERATIONS)),
    )
    def zombie(self, which: int, act: str, another: str, then: str) -> None:
        """A stale worker returns while another one runs its task, and again after that run has ended."""
        run = self.live_run(which)
        queue = run.expected.message.queue
        if queue in self.system.paused:
            self.do(ops.UnpauseQueue(queue=queue))
        self.crash(run, "pending")
        self.dequeue(((queue,),), LEASE)
        current = self.runs[-1]
        self.do_with(run, TOKEN_OPERATIONS[act])
        self.do_with(run, TOKEN_OPERATIONS[another])
        self.do_with(current, TOKEN_OPERATIONS[then])
        self.do_with(run, TOKEN_OPERATIONS[act])

    @precondition(lambda self: self.any(TaskState.ACTIVE))
    @rule(
        which=domain.index,
        how=st.sampled_from(tuple(RUN_SETTLEMENTS)),
        wait=st.sampled_from((0, MINUTE)),
        again=st.sampled_from(("the same", "the same", *RUN_SETTLEMENTS)),
    )
    def settle_twice(self, which: int, how: str, wait: int, again: str) -> None:
        """Repeat a settlement, or send another one after it."""
        run = self.live_run(which)
        self.do_with(run, RUN_SETTLEMENTS[how])
        self.wait(wait)
        if again == "the same":
            self.program.step(self.sent[-1].op, self.sent[-1].actual_op, about=self.task_of(run), copy=True)
        else:
            self.do_with(run, RUN_SETTLEMENTS[again])

    @precondition(lambda self: self.any(TaskState.RETRY))
    @rule(which=domain.index, act=st.sampled_from(tuple(RUN_SETTLEMENTS)))
    def settle_what_came_back(self, which: int, act: str) -> None:
        """Settle a run again after its task is due again."""
        retried = self.tasks(TaskState.RETRY)
        task = retried[which % len(retried)]
        self.wait_until(task.due)
        self.do(ops.Forward(queue=task.message.queue), about=task)
        runs = [run for run in self.runs if self.task_of(run) is task]
        if runs:
            self.do_with(runs[-1], RUN_SETTLEMENTS[act])

    @precondition(lambda self: self.system.sets)
    @rule(which=domain.index, how=st.sampled_from(("finish", "return", "extend")), task_id=domain.ids)
    def aggregator_dies(self, which: int, how: str, task_id: str) -> None:
        """An aggregator returns after its set was reclaimed."""
        held = [one for one in self.taken if self.is_held(one.expected)]
        if not held:
            return
        taken = held[which % len(held)]
        key = (taken.expected.queue, taken.expected.group, taken.expected.id)
        self.wait_until(self.system.sets[key] + SECOND)
        self.do(ops.ReclaimAggregations(queue=taken.expected.queue))
        self.end_set(taken, how, task_id)

    @rule(
        queue=domain.queues,
        payload=domain.payloads,
        unique=domain.unique.filter(bool),
        how=st.sampled_from(tuple(RUN_SETTLEMENTS)),
    )
    def lock_ends_while_its_task_runs(self, queue: str, payload: bytes, unique: ops.Unique, how: str) -> None:
        """A task ends while another task holds its lock."""
        for name in ("first", "second", "third"):
            if self.system.find(queue, name) is not None:
                return
        self.enqueue(message(queue, "first", payload, unique), unique)
        for _ in range(10):
            task = self.system.find(queue, "first")
            if task is None or task.state is not TaskState.PENDING or queue in self.system.paused:
                break
            self.dequeue(((queue,),) * 3, LEASE)
        self.wait(unique.ttl)
        self.enqueue(message(queue, "second", payload, unique), unique)
        runs = [run for run in self.runs if run.expected.message.id == "first" and self.owns(run)]
        if runs:
            self.do_with(runs[-1], RUN_SETTLEMENTS[how])
        self.enqueue(message(queue, "third", payload, unique), unique)

    @precondition(lambda self: self.may_fill)
    @rule(
        queue=domain.queues,
        state=st.sampled_from([state for state in TaskState if state is not TaskState.PENDING]),
        size=st.sampled_from((MORE_THAN_A_BATCH, 2 * ops.MAX_BATCH + 1)),
    )
    def fill_past_batch(self, queue: str, state: TaskState, size: int) -> None:
        """More tasks of one state than one step of a backend moves."""
        self.may_fill = False
        if queue in self.system.paused:
            self.do(ops.UnpauseQueue(queue=queue))
        delay = MINUTE if state is TaskState.SCHEDULED else None
        group = "g" if state is TaskState.AGGREGATING else ""
        self.program.batch(
            [
                ops.Enqueue(
                    message=message(queue, f"many-{number:03}", b"one", None, group=group),
                    enqueue_id=self.fresh(),
                    process_in=delay,
                )
                for number in range(size)
            ]
        )
        if state not in (TaskState.SCHEDULED, TaskState.AGGREGATING):
            self._run_many(queue, state)
        self._move_many(queue, state)
        self._clear(queue)

    def _run_many(self, queue: str, state: TaskState) -> None:
        runs: list[Twin] = []
        while any(task.message.queue == queue for task in self.tasks(TaskState.PENDING)):
            taken = self.dequeue(((queue,),) * ops.MAX_BATCH, LEASE)
            runs += self.runs[-len(taken.expected) :]
        settlement = {
            TaskState.RETRY: RUN_SETTLEMENTS["retry"],
            TaskState.COMPLETED: RUN_SETTLEMENTS["complete"],
            TaskState.ARCHIVED: RUN_SETTLEMENTS["archive"],
        }.get(state)
        if settlement:
            self.program.batch([settlement(run.actual) for run in runs])
        # Only these: the queue may hold other tasks, whose runs go on.
        self.runs = [run for run in self.runs if not run.expected.message.id.startswith("many")]

    def _move_many(self, queue: str, state: TaskState) -> None:
        self.wait(10 * MINUTE)
        for _ in range(4):
            if state in (TaskState.SCHEDULED, TaskState.RETRY):
                self.do(ops.Forward(queue=queue))
            elif state is TaskState.ACTIVE:
                listed = self.do(ops.ListLostLeases(queue=queue))
                pairs = zip(listed.expected.leases, listed.actual.leases, strict=True)
                for pair in [*pairs][:3]:
                    self.do_with(Twin(*pair), lambda lost: ops.Recover(lost=lost, to="pending", error="lost"))
            elif state is TaskState.COMPLETED:
                self.do(ops.PurgeCompleted(queue=queue))
            elif state is TaskState.ARCHIVED:
                self.do(ops.TrimArchive(queue=queue, max_size=1))
            else:
                take = ops.TakeGroup(
                    queue=queue,
                    group="g",
                    set_id=self.fresh(),
                    grace=GROUP_GRACE,
                    max_size=MORE_THAN_A_BATCH,
                    hold=HOLD,
                )
                self.do(take)
                break

    def _clear(self, queue: str) -> None:
        """Remove the tasks, so that the following steps are fast again."""
        if self.any(TaskState.AGGREGATING) and self.taken and self.is_held(self.taken[-1].expected):
            self.end_set(self.taken[-1], "finish", "many")
        for state in TaskState:
            if state is TaskState.ACTIVE:
                continue
            group = "g" if state is TaskState.AGGREGATING else ""
            self.do(
                ops.MoveTasks(
                    queue=queue, state=state, to="deleted", group=group, limit=10 * MORE_THAN_A_BATCH
                )
            )
        many = [task for task in self.tasks(TaskState.ACTIVE) if task.message.id.startswith("many")]
        if many:
            self.program.batch([ops.Done(delivery=self._delivery(task)) for task in many])

    def _delivery(self, task: Any) -> Any:
        from asynq.protocol.message import Delivery

        return Delivery(message=task.message, token=task.token, expires_at=task.due)
