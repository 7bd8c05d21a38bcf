"""Fixed programs of operators' operations: on every state, on sequences, on locks and due times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from asynq.protocol import ops
from asynq.protocol.schedules import StoredSchedule
from asynq.protocol.sequences import WAITING
from asynq.task_state import TaskState
from asynq_conformance.machine.domain import HOUR, LEASE, MINUTE, PROGRAM_PAYLOADS, message
from asynq_conformance.machine.machine import BrokerMachine
from asynq_conformance.machine.tasks import RUN_SETTLEMENTS

if TYPE_CHECKING:
    from collections.abc import Callable

VERBS: dict[str, Callable[[str], ops.Op[object]]] = {
    "run": lambda task_id: ops.RunTask(queue="a", task_id=task_id),
    "archive": lambda task_id: ops.ArchiveTask(queue="a", task_id=task_id),
    "delete": lambda task_id: ops.DeleteTask(queue="a", task_id=task_id),
    "update": lambda task_id: ops.UpdateTask(queue="a", task_id=task_id, payload=b"three"),
    "reschedule": lambda task_id: ops.UpdateTask(queue="a", task_id=task_id, process_in=MINUTE),
    "cancel": lambda task_id: ops.CancelTask(queue="a", task_id=task_id),
}


class ManagementPrograms(BrokerMachine):
    """Programs of operations by hand, with given steps."""

    def have(self, queue: str, task_id: str, unique: ops.Unique | None, state: TaskState) -> None:
        """Create a task of this state; if pending, it is the next of its queue."""
        taken = self.dequeue(((queue,),) * ops.MAX_BATCH, LEASE)
        for run in self.runs[-len(taken.expected) :] if taken.expected else ():
            self.do_with(run, RUN_SETTLEMENTS["done"])
        self.bring(queue=queue, task_id=task_id, unique=unique, state=state)

    def meet(self) -> None:
        """Every operation on a task in every state."""
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
        """Moves of all tasks from every state to every target; deletion of queues, also by force."""
        for state in TaskState:
            for to in ("pending", "archived", "deleted"):
                self.have(queue="a", task_id=f"{state}-{to}", unique=None, state=state)
                if state not in (TaskState.ACTIVE, to):
                    self.move_tasks(which=len(self.tasks()) - 1, to=to, limit=1)
        active = self.tasks(TaskState.ACTIVE)[0]
        self.do(ops.DeleteQueue(queue="a", force=True), about=active)
        self.have(queue="c", task_id="t0", unique=None, state=TaskState.SCHEDULED)
        self.do(ops.DeleteQueue(queue="c", force=True))

    def move_in_sequence(self) -> None:
        """Every operation by hand on the head of a sequence, and on tasks that wait."""
        for number, verb in enumerate(VERBS.values()):
            for task_id in ("head", "next", "last"):
                self.enqueue(message("a", f"{task_id}-{number}", b"one", None, sequence=f"v{number}"))
            for task_id in ("next", "head", "next"):
                name = f"{task_id}-{number}"
                self.do(verb(name), about=self.system.find("a", name))
        for to in ("archived", "pending", "deleted"):
            for state in (TaskState.PENDING, TaskState.SCHEDULED, TaskState.ARCHIVED):
                if state != to:
                    self.do(ops.MoveTasks(queue="a", state=state, to=to, limit=3))

    def run_all_in_sequences(self) -> None:
        """Bulk runs leave tasks that wait alone, also if others are due at their instant, and join others."""
        for place in range(3):
            self.enqueue(message("a", f"of s-{place}", b"one", None, sequence="s"))
        times = {"sooner": self.now + HOUR, "at that time": WAITING, "later": WAITING + HOUR}
        for task_id, at in times.items():
            self.enqueue(message("a", task_id, b"one", None), process_at=at)
        self._give("sooner", process_at=WAITING)
        run = ops.MoveTasks(queue="a", state=TaskState.SCHEDULED, to="pending", limit=2)
        for _ in range(3):
            self.do(run)
        for state, settlement in ((TaskState.ARCHIVED, "archive"), (TaskState.COMPLETED, "complete")):
            self.dequeue((("a",),), LEASE)
            self.do_with(self.runs[-1], RUN_SETTLEMENTS[settlement])
            self.do(replace(run, state=state))

    def run_again_in_sequence(self) -> None:
        """A finished task that is run again joins the tail of its sequence."""
        for how in ("archive", "complete"):
            for place in range(3):
                self.enqueue(message("a", f"{how}-{place}", b"one", None, sequence=how))
            self.dequeue((("a",),), LEASE)
            self.do_with(self.runs[-1], RUN_SETTLEMENTS[how])
            again = self.system.find("a", f"{how}-0")
            self.do(ops.RunTask(queue="a", task_id=f"{how}-0"), about=again)

    def update(self) -> None:
        """New payloads and due times of tasks with locks. A lock moves with what it stands for."""
        unique = ops.Unique(ttl=10 * MINUTE)
        self.enqueue(message("a", "renamed", b"one", unique), unique)
        self._give("renamed", payload=b"two")
        self._try_locks("renamed", unique)
        self._postpone(unique)
        self._refuse(unique)

    def _postpone(self, unique: ops.Unique) -> None:
        """The lock of a scheduled task moves with its due time, also under a new name. Others do not."""
        for queue, payload in (("b", None), ("c", b"two")):
            self.enqueue(message(queue, "later", b"one", unique), unique, process_in=HOUR)
            self._give("later", queue, payload=payload, process_in=3 * HOUR)
        self.have(queue="a", task_id="retried", unique=unique, state=TaskState.RETRY)
        self._give("retried", process_in=2 * HOUR)
        self.wait(HOUR + 30 * MINUTE)
        for queue in "abc":
            self._try_locks("postponed", unique, queue)
        self.wait(HOUR + 30 * MINUTE + 9 * MINUTE)
        self._try_locks("due", unique, "b")

    def _refuse(self, unique: ops.Unique) -> None:
        """A payload whose lock another task holds: nothing changes, not even the due time."""
        self.wait(HOUR)
        for payload in PROGRAM_PAYLOADS:
            task_id = f"rival {payload!r}"
            self.enqueue(message("c", task_id, payload, unique), unique, process_in=MINUTE)
        self._give(f"rival {PROGRAM_PAYLOADS[0]!r}", "c", payload=PROGRAM_PAYLOADS[1], process_in=HOUR)

    def _give(self, task_id: str, queue: str = "a", **changes: Any) -> None:
        """One step: update a task."""
        update = ops.UpdateTask(queue=queue, task_id=task_id, **changes)
        self.do(update, about=self.system.find(queue, task_id))

    def _try_locks(self, moment: str, unique: ops.Unique, queue: str = "a") -> None:
        """Ask for the lock of each payload."""
        for payload in PROGRAM_PAYLOADS:
            self.enqueue(message(queue, f"{moment}, {payload!r}", payload, unique), unique)

    def change_schedules(self) -> None:
        """Schedules that are written, paused and written again, deleted, and known to nobody.

        The steps are at different instants, to show at which one a schedule begins.
        """
        first = StoredSchedule(
            name="x", spec="@hourly", location="UTC", message=message("a", "", b"one", None)
        )
        for op in (
            ops.PauseSchedule(name="x", paused=True),
            ops.WriteSchedule(schedule=first),
            ops.WriteSchedule(schedule=first),
            ops.PauseSchedule(name="x", paused=True),
            ops.WriteSchedule(schedule=replace(first, spec="@daily")),
            ops.PauseSchedule(name="x", paused=False),
            ops.PauseSchedule(name="x", paused=False),
            ops.WriteSchedule(schedule=first),
            ops.PauseSchedule(name="x", paused=True),
            ops.DeleteSchedule(name="x"),
            ops.WriteSchedule(schedule=first),
            ops.DeleteSchedule(name="y"),
        ):
            self.do(op)
            self.program.step(ops.ListSchedules())
            self.wait(MINUTE)
