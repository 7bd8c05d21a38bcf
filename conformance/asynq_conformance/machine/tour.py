"""Programs that are not random: in any run every operation meets every state it distinguishes.

What chance would bring about sooner or later is here for certain; chance goes on from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq import ops
from asynq.message import TaskState
from asynq_conformance.machine.domain import (
    FOREVER,
    GRACE,
    HOLD,
    LEASE,
    LONGEST_DELAY,
    MINUTE,
    OLDEST,
    SECOND,
    message,
)
from asynq_conformance.machine.machine import BrokerMachine
from asynq_conformance.machine.tasks import SETTLEMENTS, TOKEN_OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asynq.ops import Op
    from asynq_conformance.machine.base import Bench

VERBS: dict[str, Callable[[str], Op[object]]] = {
    "run": lambda task_id: ops.RunTask(queue="a", task_id=task_id),
    "archive": lambda task_id: ops.ArchiveTask(queue="a", task_id=task_id),
    "delete": lambda task_id: ops.DeleteTask(queue="a", task_id=task_id),
    "update": lambda task_id: ops.UpdatePayload(queue="a", task_id=task_id, payload=b"three"),
    "cancel": lambda task_id: ops.CancelTask(queue="a", task_id=task_id),
}


class Tour(BrokerMachine):
    """A machine that is led."""

    def have(self, queue: str, task_id: str, unique: ops.Unique | None, state: TaskState) -> None:
        """A task of this state, next in its queue if it is pending."""
        taken = self.dequeue(((queue,),) * ops.MAX_BATCH, LEASE)
        for run in self.runs[-len(taken.expected) :] if taken.expected else ():
            self.do_with(run, SETTLEMENTS["done"])
        self.bring(queue=queue, task_id=task_id, unique=unique, state=state)

    def meet(self) -> None:
        """Every state meets every verb."""
        for state in TaskState:
            for number, verb in enumerate(VERBS.values()):
                task_id = f"{state}-{number}"
                self.have(queue="a", task_id=task_id, unique=None, state=state)
                self.do(verb(task_id), about=self.system.find("a", task_id))
            self.have(queue="b", task_id=state, unique=None, state=state)
            for on_conflict in ("reject", "replace_finished"):
                self.enqueue(message("b", state, b"one", None), on_conflict=on_conflict)
        for verb in VERBS.values():
            self.do(verb("missing"))

    def move_about(self) -> None:
        """Every state is moved everywhere, and queues are deleted or not."""
        for state in TaskState:
            for to in ("pending", "archived", "deleted"):
                self.have(queue="a", task_id=f"{state}-{to}", unique=None, state=state)
                if state not in (TaskState.ACTIVE, to):
                    self.move_tasks(which=len(self.tasks()) - 1, to=to, limit=1)
        active = self.tasks(TaskState.ACTIVE)[0]
        self.do(ops.DeleteQueue(queue="a", force=True), about=active)
        self.have(queue="c", task_id="t0", unique=None, state=TaskState.SCHEDULED)
        self.do(ops.DeleteQueue(queue="c", force=True))

    def settle_all(self) -> None:
        """Every settlement, sent again, and come too late in every way."""
        for name, settlement in SETTLEMENTS.items():
            self.have(queue="a", task_id=f"twice {name}", unique=None, state=TaskState.ACTIVE)
            self.settle_twice(which=-1, how=name, wait=0, again="the same")
            self.do_with(self.runs[-1], settlement)
        for act in TOKEN_OPERATIONS:
            self.have(queue="b", task_id=f"zombie {act}", unique=None, state=TaskState.ACTIVE)
            self.zombie(which=-1, act=act, another="done", then="done")
            self.have(queue="c", task_id=f"own {act}", unique=None, state=TaskState.ACTIVE)
            self.do_with(self.runs[-1], TOKEN_OPERATIONS[act])

    def let_time_work(self) -> None:
        """Before, and after the time has come."""
        for state, lookup in (
            (TaskState.SCHEDULED, ops.Forward(queue="a")),
            (TaskState.RETRY, ops.Forward(queue="a")),
            (TaskState.COMPLETED, ops.PurgeCompleted(queue="a")),
            (TaskState.ARCHIVED, ops.TrimArchive(queue="a", max_age=OLDEST)),
            (TaskState.ACTIVE, ops.ListLostLeases(queue="a")),
        ):
            self.have(queue="a", task_id=state, unique=None, state=state)
            task = self.system.find("a", state)
            if task is None:
                continue
            age = OLDEST if state is TaskState.ARCHIVED else 0
            for instant in (task.due + age - 1, task.due + age):
                self.wait_until(instant)
                self.do(lookup, about=task)
        if self.lost:
            self.recover_what_was_recovered(which=0, to="pending")

    def aggregate(self) -> None:
        """Groups not ripe and ripe, and every end of a set, in time and too late."""
        for number, how in enumerate(("finish", "return", "extend")):
            self.gather(queue="a", group="g", size=3, max_size=0, wait=GRACE - 1, how="leave")
            self.wait(LONGEST_DELAY)
            self.take_a_group(which=0, max_size=2, max_delay=LONGEST_DELAY)
            self.do(ops.ReclaimAggregations(queue="a"))
            self.end_set(self.taken[-1], how, f"aggregate-{number}")
            self.wait(HOLD + MINUTE)
            self.do(ops.ReclaimAggregations(queue="a"))
            self.end_set(self.taken[-1], how, f"late-{number}")
            self.wait(GRACE)
            self.take_a_group(which=0, max_size=0, max_delay=0)
            self.end_set(self.taken[-1], "finish", f"rest-{number}")

    def lock(self) -> None:
        """Every kind of lock refuses, lapses, and is released or not."""
        for number, unique in enumerate(
            ops.Unique(ttl=MINUTE, until=until, keep=keep)
            for until in ("done", "expiry", "start")
            for keep in (False, True)
        ):
            queue = "abc"[number // 2]
            for how in ("done", "retry", "archive", "requeue"):
                self.wait(3 * MINUTE)
                self.have(queue=queue, task_id=f"{number}-{how}", unique=unique, state=TaskState.PENDING)
                for moment in ("waiting", "running", "ended", "lapsed"):
                    if moment == "running":
                        self.dequeue(((queue,),), LEASE)
                    elif moment == "ended" and self.runs and self.owns(self.runs[-1]):
                        self.do_with(self.runs[-1], SETTLEMENTS[how])
                    elif moment == "lapsed":
                        self.wait(MINUTE)
                    self.enqueue(message(queue, f"{number}-{how}-{moment}", b"one", unique), unique)

    def stand_beside(self) -> None:
        """What is kept beside tasks."""
        for number, ahead in enumerate((0, 0, 1)):
            enqueue = ops.Enqueue(message=message("a", f"t{number}", b"one", None), enqueue_id=self.fresh())
            tick = (self.now // MINUTE + ahead) * MINUTE
            self.do(ops.EnqueueTick(entry_id="e0", tick=tick, keep=FOREVER, enqueue=enqueue))
        for holder in "xy":
            self.do(ops.AcquireSlot(scope="s", holder=holder, limit=1, hold=SECOND))
            self.do(ops.TakeToken(scope="r", limit=1, per=SECOND))
        for holder in "xy":
            self.do(ops.ReleaseSlot(scope="s", holder=holder))
        for _ in range(2):
            self.pause_or_unpause(queue="a", again=False)
        for what in ("history", "examine", "mend", "groups", "orphans", "last tick", "seen", "seen no more"):
            self.look_after(queue="a", what=what)
        self.enqueue(message("a", "t9", b"one", None))
        self.program.step(self.sent[-1].op, copy=True)
        self.dequeue((("c",),), LEASE)


LEGS = (
    Tour.meet,
    Tour.move_about,
    Tour.settle_all,
    Tour.let_time_work,
    Tour.aggregate,
    Tour.lock,
    Tour.stand_beside,
)


def programs(bench: Bench) -> Iterator[None]:
    """Run them one after the other, each to its end, through one face and the other by turns."""
    for number, leg in enumerate(LEGS):
        machine = Tour(bench)
        machine.begin(awaited=number % 2 == 1, may_fill=False)
        if not (leg is Tour.aggregate and "groups" in bench.unsupported()):
            leg(machine)
        machine.teardown()
        yield
