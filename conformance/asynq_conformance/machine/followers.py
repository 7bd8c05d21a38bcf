"""Rules for parents, tasks that others follow, and for joins, tasks that wait for several others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from msgspec.structs import replace

from asynq.protocol import ops
from asynq.protocol.followers import (
    FOLLOWERS_HEADER,
    PARENT_RETENTION,
    Follower,
    Followers,
    header_of,
    is_joining,
    members_header,
)
from asynq.protocol.sequences import MEMBERS_HEADER, WAITING
from asynq.task_state import TaskState
from asynq_conformance.machine import domain
from asynq_conformance.machine.base import BaseRules
from asynq_conformance.machine.domain import HOLD, HOUR, LEASE, SECOND, message
from asynq_conformance.machine.lockstep import Twin
from asynq_conformance.machine.tasks import RUN_SETTLEMENTS
from asynq_conformance.model.followers import is_kept_for_followers

if TYPE_CHECKING:
    from asynq.protocol.message import TaskMessage
    from asynq_conformance.model.records import ModelTask

_FOLLOWERS = header_of(Followers(then=(Follower(id="f", type="next", queue="b"),)))
MEMBERS = 2
"""Number of tasks for which a join of a program waits."""


def parent(new: TaskMessage) -> TaskMessage:
    """The message as that of a task that another one follows."""
    return replace(new, retention=PARENT_RETENTION, headers={**new.headers, FOLLOWERS_HEADER: _FOLLOWERS})


def joining(queue: str, task_id: str, members: int = MEMBERS) -> TaskMessage:
    """A message of a task that waits for this many."""
    header = members_header([("b", f"m{number}") for number in range(members)])
    return replace(message(queue, task_id, b"one", None), headers={MEMBERS_HEADER: header})


class FollowerRules(BaseRules):
    """Parents and joins."""

    def parents(self) -> list[ModelTask]:
        """Completed tasks whose followers are not enqueued."""
        return [task for task in self.tasks(TaskState.COMPLETED) if is_kept_for_followers(task, self.now)]

    def joins(self) -> list[ModelTask]:
        """Tasks that wait for several others."""
        return [task for task in self.tasks(TaskState.SCHEDULED) if waits_for_others(task)]

    @rule(
        queue=domain.queues,
        task_id=domain.ids,
        unique=domain.unique.filter(lambda unique: unique is None or not unique.keep),
        sequence=st.sampled_from(("", "", "s")),
        how=st.sampled_from(("complete", "complete with a result", "")),
    )
    def enqueue_a_parent(
        self, *, queue: str, task_id: str, unique: ops.Unique | None, sequence: str, how: str
    ) -> None:
        new = parent(message(queue, task_id, b"one", unique, sequence=sequence))
        self.enqueue(new, unique)
        if how:
            self.dequeue(((queue,),), LEASE)
            if self.runs and self.owns(self.runs[-1]):
                self.do_with(self.runs[-1], RUN_SETTLEMENTS[how])

    @precondition(lambda self: self.parents())
    @rule(which=domain.index, limit=st.sampled_from((ops.MAX_BATCH, 1)))
    def take_parents(self, which: int, limit: int) -> None:
        parents = self.parents()
        self.take_parents_of(parents[which % len(parents)].message.queue, limit)

    @precondition(lambda self: self.taken_parents)
    @rule(which=domain.index, retention=st.sampled_from((0, 0, HOUR)))
    def finish_a_parent(self, which: int, retention: int) -> None:
        self.finish_parent(self.taken_parents[-1 - which % len(self.taken_parents)], retention)

    @precondition(lambda self: self.parents())
    @rule(
        which=domain.index,
        wait=st.sampled_from((0, HOLD, HOLD + 2 * SECOND)),
        retention=st.sampled_from((0, HOUR)),
        stale=st.booleans(),
    )
    def hold_a_parent_too_long(self, which: int, wait: int, retention: int, stale: bool) -> None:
        """A server takes parents, another one does so later, and both let one go."""
        parents = self.parents()
        queue = parents[which % len(parents)].message.queue
        first = self.take_parents_of(queue)
        self.wait(wait)
        second = self.take_parents_of(queue)
        for taken in (first, second) if stale else (second, first):
            if taken:
                self.finish_parent(taken[which % len(taken)], retention)

    @rule(queue=domain.queues, task_id=domain.ids)
    def enqueue_a_join(self, queue: str, task_id: str) -> None:
        self.enqueue(joining(queue, task_id))

    @precondition(lambda self: self.joins())
    @rule(which=domain.index, member=st.integers(0, MEMBERS - 1), result=st.sampled_from(("-", "b25l")))
    def arrive(self, which: int, member: int, result: str) -> None:
        joins = self.joins()
        self.arrive_at(*joins[which % len(joins)].key, member, MEMBERS, result)

    @precondition(lambda self: any(is_joining(task.message) for task in self.tasks()))
    @rule(which=domain.index, member=st.integers(0, MEMBERS - 1))
    def arrive_late(self, which: int, member: int) -> None:
        joins = [task for task in self.tasks() if is_joining(task.message)]
        self.arrive_at(*joins[which % len(joins)].key, member, MEMBERS, "bGF0ZQ==")

    # --- steps ----------------------------------------------------------------------------------------

    def take_parents_of(self, queue: str, limit: int = ops.MAX_BATCH, about: str = "") -> list[Twin]:
        """One step: take parents. Returns each as the model and as the broker answered it."""
        take = ops.TakeParents(queue=queue, hold=HOLD, limit=limit)
        twin = self.do(take, about=self.system.find(queue, about))
        if not isinstance(twin.expected, tuple):
            return []  # the broker declares it unsupported
        taken = [Twin(*pair) for pair in zip(twin.expected, twin.actual, strict=True)]
        self.taken_parents += taken
        return taken

    def finish_parent(self, taken: Twin, retention: int = 0) -> None:
        """One step: let a parent go that was taken."""
        one, other = (
            ops.FinishParent(
                queue=stored.message.queue,
                task_id=stored.message.id,
                held_until=stored.due_at,
                retention=retention,
            )
            for stored in (taken.expected, taken.actual)
        )
        self.do(one, other, about=self.system.find(one.queue, one.task_id))

    def arrive_at(
        self, queue: str, task_id: str, member: int, members: int, result: str = "-", *, member_id: str = ""
    ) -> None:
        """One step: a member arrives, by default the one that the task waits for at this place."""
        arrive = ops.Arrive(
            queue=queue,
            task_id=task_id,
            member=member,
            member_queue="b",
            member_id=member_id or f"m{member}",
            members=members,
            result=result,
        )
        self.do(arrive, about=self.system.find(queue, task_id))


def waits_for_others(task: ModelTask) -> bool:
    """Whether the task waits for its members."""
    return task.state is TaskState.SCHEDULED and task.due == WAITING and is_joining(task.message)
