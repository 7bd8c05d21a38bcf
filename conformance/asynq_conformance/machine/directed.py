"""Fixed programs: in every run, every operation meets every state that it distinguishes.

They guarantee what random programs reach only sooner or later.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import TYPE_CHECKING

from asynq.protocol import ops
from asynq.protocol.presence import EnqueueEvent, ServerInfo
from asynq.task_state import TaskState
from asynq_conformance.machine.directed_followers import FollowerPrograms
from asynq_conformance.machine.domain import (
    FAR_FUTURE,
    GROUP_GRACE,
    HOLD,
    LEASE,
    LONGEST_DELAY,
    MINUTE,
    OLDEST,
    QUEUES,
    SECOND,
    message,
)
from asynq_conformance.machine.tasks import RUN_SETTLEMENTS, TOKEN_OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynq_conformance.machine.base import MachineSession

LONG_AGO = datetime(2030, 1, 2, tzinfo=UTC)
FAR = 2**32 * SECOND
"""An instant beyond the range of 32-bit seconds."""


class DirectedMachine(FollowerPrograms):
    """Runs programs with given steps."""

    def settle_all(self) -> None:
        """Every settlement, repeated and late in every way."""
        for name, settlement in RUN_SETTLEMENTS.items():
            self.have(queue="a", task_id=f"twice {name}", unique=None, state=TaskState.ACTIVE)
            self.settle_twice(which=-1, how=name, wait=0, again="the same")
            self.do_with(self.runs[-1], settlement)
        for act in TOKEN_OPERATIONS:
            self.have(queue="b", task_id=f"zombie {act}", unique=None, state=TaskState.ACTIVE)
            self.zombie(which=-1, act=act, another="done", then="done")
            self.have(queue="c", task_id=f"own {act}", unique=None, state=TaskState.ACTIVE)
            self.do_with(self.runs[-1], TOKEN_OPERATIONS[act])

    def run_in_sequence(self) -> None:
        """Every end of the head of a sequence."""
        for place in range(3):
            self.enqueue(message("b", f"{place}", b"one", None, sequence="s"))
        self.do(ops.DeleteQueue(queue="b", force=True, limit=1))
        self.do(ops.AdvanceSequences(queue="b"))
        self.do(ops.UnpauseQueue(queue="b"))
        self._delete_sequences()
        for number, (name, settlement) in enumerate(RUN_SETTLEMENTS.items()):
            queue = QUEUES[number % len(QUEUES)]
            ids = [f"{name}-{place}" for place in range(3)]
            for task_id in ids:
                self.enqueue(message(queue, task_id, b"one", None, sequence=name))
            self.dequeue(((queue,),) * 3, LEASE)
            self.do_with(self.runs[-1], settlement)
            self.do(ops.Forward(queue=queue))
            self.do(ops.AdvanceSequences(queue=queue))
        for to in ("pending", "retry", "archived"):
            for place in range(2):
                self.enqueue(message("c", f"{to}-{place}", b"one", None, sequence=to))
            self.dequeue((("c",),) * 3, LEASE)
            self.crash(self.runs[-1], to)

    def _delete_sequences(self) -> None:
        """A queue with several sequences is deleted in steps. The last one may find no task, or no queue."""
        for name in ("r", "s", ""):
            self.enqueue(message("c", f"of {name or 'none'}", b"one", None, sequence=name))
        for _ in range(4):
            self.do(ops.DeleteQueue(queue="c", force=True, limit=1))
            self.do(ops.AdvanceSequences(queue="c"))

    def let_time_work(self) -> None:
        """Maintenance before and after the due time."""
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
        for state, delay in ((TaskState.RETRY, MINUTE), (TaskState.SCHEDULED, 2 * MINUTE)):
            self.have(queue="b", task_id=state, unique=None, state=state)
            self.wait(delay - MINUTE)
        self.enqueue(message("b", "later", b"one", None), process_in=2 * MINUTE)
        self.wait(3 * MINUTE)
        for _ in range(3):
            self.do(ops.Forward(queue="b", limit=1))
        for number in range(3):
            self.enqueue(message("c", f"lost-{number}", b"one", None))
        self.dequeue((("c",),) * 3, LEASE)
        self.wait(LEASE + 1)
        for limit in (1, 2, 3):
            self.do(ops.ListLostLeases(queue="c", limit=limit))
        if self.lost:
            self.recover_what_was_recovered(which=0, to="pending")
        self.enqueue(message("b", "taken", b"one", None))
        self.dequeue((("b",),), 2 * MINUTE)
        self.wait(SECOND)
        self.send_again(which=0)
        far = ops.Enqueue(message=message("b", "far", b"one", None), enqueue_id=self.fresh(), process_at=FAR)
        self.do(far)

    def aggregate(self) -> None:
        """Groups that are ripe or not, and every end of a set, in time and late."""
        self.gather(queue="c", group="g", size=2, max_size=0, wait=GROUP_GRACE, how="finish")
        self._ripen()
        self._unlock()
        self._leave_alone()
        self._reclaim_at_the_hour()
        for number, how in enumerate(("finish", "return", "extend")):
            self.gather(queue="a", group="g", size=3, max_size=0, wait=GROUP_GRACE - 1, how="leave")
            self.wait(LONGEST_DELAY)
            self.take_a_group(which=0, max_size=2, max_delay=LONGEST_DELAY)
            self.do(ops.ReclaimAggregations(queue="a"))
            self.end_set(self.taken[-1], how, f"aggregate-{number}")
            self.wait(HOLD + MINUTE)
            self.do(ops.ReclaimAggregations(queue="a"))
            self.end_set(self.taken[-1], how, f"late-{number}")
            self.wait(GROUP_GRACE)
            self.take_a_group(which=0, max_size=0, max_delay=0)
            self.end_set(self.taken[-1], "finish", f"rest-{number}")

    def _ripen(self) -> None:
        """A group without a quiet period, until its oldest task has waited for the maximum delay."""
        began = self.now
        for number, delay in enumerate((0, 15, 30, 44)):
            self.wait_until(began + delay * SECOND)
            self.enqueue(message("b", f"steady-{number}", b"one", None, group="g"))
        oldest = self.system.waiting("b", "g")[0].due
        for offset in (-1, 0):
            self.wait_until(oldest + LONGEST_DELAY + offset)
            self.take_a_group(which=0, max_size=0, max_delay=LONGEST_DELAY)

    def _unlock(self) -> None:
        """An aggregate releases the locks of its tasks."""
        unique = ops.Unique(ttl=10 * MINUTE)
        self.enqueue(message("b", "locked", b"two", unique, group="h"), unique)
        self.wait(GROUP_GRACE + SECOND)
        self.do(ops.TakeGroup(queue="b", group="h", set_id=self.fresh(), grace=GROUP_GRACE))
        self.end_set(self.taken[-1], "finish", "of the locked")
        self.enqueue(message("b", "again", b"two", unique), unique)

    def _leave_alone(self) -> None:
        """A task that was run manually does not join a group again, even after a retry."""
        self.have(queue="c", task_id="alone", unique=None, state=TaskState.AGGREGATING)
        self.do(ops.RunTask(queue="c", task_id="alone"), about=self.system.find("c", "alone"))
        self.dequeue((("c",),), LEASE)
        self.do_with(self.runs[-1], RUN_SETTLEMENTS["retry at once"])
        self.wait(SECOND)
        self.do(ops.Forward(queue="c"))

    def _reclaim_at_the_hour(self) -> None:
        """Sets whose hold is about to expire, expires, and expired long ago; the latest first."""
        for queue, size in (("c", 1), ("c", 2)):
            self.gather(queue=queue, group="h", size=2, max_size=size, wait=GROUP_GRACE, how="leave")
        self.wait(SECOND)
        for taken in self.taken[-2:]:
            self.end_set(taken, "extend", "")
        until = max(self.system.sets.values())
        self.wait_until(until - SECOND)
        for instant in (until - SECOND, until - 1, until, until + 2 * SECOND):
            self.wait_until(instant)
            for limit in (1, ops.MAX_BATCH):
                self.do(ops.ReclaimAggregations(queue="c", limit=limit))

    def lock(self) -> None:
        """Locks of every kind: duplicates, expiry and release."""
        for number, unique in enumerate(
            ops.Unique(ttl=MINUTE, until=until, keep=keep)
            for until in ("done", "expiry", "start")
            for keep in (False, True)
        ):
            queue = "abc"[number // 2]
            for how in ("done", "complete", "retry", "archive", "requeue"):
                self.wait(3 * MINUTE)
                self.have(queue=queue, task_id=f"{number}-{how}", unique=unique, state=TaskState.PENDING)
                for moment in ("waiting", "running", "ended", "lapsed", "over"):
                    if moment == "running":
                        self.dequeue(((queue,),), LEASE)
                    elif moment == "ended" and self.runs and self.owns(self.runs[-1]):
                        self.wait(20 * SECOND)
                        self.do_with(self.runs[-1], RUN_SETTLEMENTS[how])
                    elif moment == "lapsed":
                        self.wait(50 * SECOND)
                    elif moment == "over":
                        self.wait(MINUTE)
                    self.enqueue(message(queue, f"{number}-{how}-{moment}", b"one", unique), unique)

    def choose(self) -> None:
        """Dequeue uses the caller's order of queues; a due task with a group joins its group."""
        for order in permutations(QUEUES):
            for queue in QUEUES:
                self.enqueue(message(queue, "".join(order), b"one", None))
            for _ in order:
                self.dequeue((order,), LEASE)
                self.do_with(self.runs[-1], RUN_SETTLEMENTS["done"])
        self.enqueue(message("a", "of a group", b"one", None, group="g"), process_in=SECOND)
        self.wait(2 * SECOND)
        self.do(ops.Forward(queue="a"))

    def come_back(self) -> None:
        """Recovery to every target, repeated dequeues, and extensions that would shorten a lease."""
        for to in ("pending", "retry", "archived"):
            self.have(queue="a", task_id=f"lost, {to}", unique=None, state=TaskState.ACTIVE)
            self.crash(self.runs[-1], to)
        for number in range(3):
            self.enqueue(message("b", f"next-{number}", b"one", None))
        self.dequeue((("b",),), LEASE)
        self.program.step(self.sent[-1].op, copy=True)
        for extend in (
            lambda run: ops.ExtendLease(lease=run.lease, duration=2 * LEASE),
            lambda run: ops.ExtendLease(lease=run.lease, duration=SECOND),
        ):
            self.do_with(self.runs[-1], extend)
        ticked = ops.Enqueue(message=message("c", "ticked", b"one", None), enqueue_id=self.fresh())
        self.do(ops.EnqueueTick(entry_id="e", tick=self.now, keep=FAR_FUTURE, enqueue=ticked))
        self.program.step(self.sent[-1].op, copy=True)

    def stand_beside(self) -> None:
        """Data kept besides tasks: limits, ticks, presence."""
        for number, ahead in enumerate((0, 0, 1)):
            enqueue = ops.Enqueue(message=message("a", f"t{number}", b"one", None), enqueue_id=self.fresh())
            tick = (self.now // MINUTE + ahead) * MINUTE
            self.do(ops.EnqueueTick(entry_id="e0", tick=tick, keep=FAR_FUTURE, enqueue=enqueue))
        for holder in "xy":
            self.do(ops.AcquireSlot(scope="s", holder=holder, limit=1, hold=SECOND))
            self.do(ops.TakeToken(scope="r", limit=1, per=SECOND))
        for wait in (SECOND - 1, 1):
            self.wait(wait)
            self.do(ops.AcquireSlot(scope="s", holder="z", limit=1, hold=SECOND))
            self.do(ops.TakeToken(scope="r", limit=1, per=SECOND))
        for holder in "xyz":
            self.do(ops.ReleaseSlot(scope="s", holder=holder))
        for _ in range(2):
            self.pause_or_unpause(queue="a", again=False)
        for what in ("history", "examine", "mend", "groups", "orphans", "last tick", "seen", "seen no more"):
            self.look_after(queue="a", what=what)
        self._forget()
        self._keep_apart()
        self.enqueue(message("a", "t9", b"one", None))
        self.program.step(self.sent[-1].op, copy=True)
        self.dequeue((("c",),), LEASE)

    def _forget(self) -> None:
        """Data kept for a limited time or up to a maximum number."""
        enqueue = ops.Enqueue(message=message("c", "ticked", b"one", None), enqueue_id=self.fresh())
        self.do(ops.EnqueueTick(entry_id="e9", tick=self.now, keep=MINUTE, enqueue=enqueue))
        server = ServerInfo(id="s9", host="host", pid=9, started_at=LONG_AGO, concurrency=1)
        self.do(ops.WriteServer(server=server, ttl=MINUTE))
        for _ in range(2):
            self.program.step(ops.GetLastTick(queue="c", entry_id="e9"))
            self.program.step(ops.ListServers())
            self.wait(2 * MINUTE)
        many = [
            EnqueueEvent(task_id=f"t{number:04}", enqueued_at=LONG_AGO + timedelta(seconds=number))
            for number in range(ops.MAX_ENQUEUE_EVENTS + 2)
        ]
        self.program.batch(
            [ops.RecordEnqueueEvent(entry_id="e9", event=one, keep=FAR_FUTURE) for one in many]
        )
        for offset in (0, ops.MAX_ENQUEUE_EVENTS - 2):
            self.program.step(ops.ListEnqueueEvents(entry_id="e9", offset=offset, limit=10))

    def _keep_apart(self) -> None:
        """One id in two queues, and more tasks than a queue may run at once."""
        for queue in "ab":
            self.have(queue=queue, task_id="same", unique=None, state=TaskState.ACTIVE)
        self.do(ops.CancelTask(queue="a", task_id="same"))
        for run in self.runs[-2:]:
            self.do_with(run, TOKEN_OPERATIONS["extend"])
        for task_id in ("more", "still more"):
            self.enqueue(message("a", task_id, b"one", None))
        for most in (1, 2):
            self.dequeue((("a",),) * 3, LEASE, limits={"a": most})


DIRECTED = (
    DirectedMachine.meet,
    DirectedMachine.move_about,
    DirectedMachine.settle_all,
    DirectedMachine.run_in_sequence,
    DirectedMachine.move_in_sequence,
    DirectedMachine.run_all_in_sequences,
    DirectedMachine.run_again_in_sequence,
    DirectedMachine.update,
    DirectedMachine.change_schedules,
    DirectedMachine.let_time_work,
    DirectedMachine.aggregate,
    DirectedMachine.lock,
    DirectedMachine.stand_beside,
    DirectedMachine.choose,
    DirectedMachine.come_back,
    DirectedMachine.follow,
    DirectedMachine.fail_to_succeed,
    DirectedMachine.join,
)

NEEDED = {
    DirectedMachine.aggregate: "groups",
    DirectedMachine.run_in_sequence: ops.AdvanceSequences.__name__,
    DirectedMachine.move_in_sequence: ops.AdvanceSequences.__name__,
    DirectedMachine.run_all_in_sequences: ops.AdvanceSequences.__name__,
    DirectedMachine.run_again_in_sequence: ops.AdvanceSequences.__name__,
    DirectedMachine.follow: ops.TakeParents.__name__,
    DirectedMachine.fail_to_succeed: ops.TakeParents.__name__,
    DirectedMachine.join: ops.Arrive.__name__,
}
"""What a broker must support for a program. All others run without what it declares unsupported."""


def directed_programs(session: MachineSession) -> Iterator[None]:
    """Run all programs one after the other, alternating between both faces."""
    for number, program in enumerate(DIRECTED):
        machine = DirectedMachine(session)
        machine.begin(awaited=number % 2 == 1, may_fill=False)
        if NEEDED.get(program) not in session.unsupported():
            program(machine)
        machine.teardown()
        yield
