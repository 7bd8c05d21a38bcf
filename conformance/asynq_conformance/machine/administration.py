"""Rules for operators' operations, and for what is kept besides tasks: limits, ticks, presence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from asynq.protocol import ops
from asynq.protocol.presence import EnqueueEvent, SchedulerEntry, ServerInfo
from asynq.protocol.schedules import StoredSchedule
from asynq.task_state import TaskState
from asynq_conformance.machine import domain
from asynq_conformance.machine.base import BaseRules
from asynq_conformance.machine.domain import FAR_FUTURE, HOUR, MINUTE, QUEUES, SECOND, message

if TYPE_CHECKING:
    from asynq.protocol.ops.manage import MoveTarget

_DAY = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


class AdministrationRules(BaseRules):
    """Operations that do not belong to the life of a task."""

    # --- tasks ------------------------------------------------------------------------------------------

    @precondition(lambda self: self.system.tasks)
    @rule(
        which=domain.index,
        state=st.sampled_from(tuple(TaskState)),
        verb=st.sampled_from(("archive", "delete", "archive in little room")),
    )
    def move_a_task(self, which: int, state: TaskState, verb: str) -> None:
        self.move(which, state, verb)

    @precondition(lambda self: self.system.tasks)
    @rule(which=domain.index, state=st.sampled_from(tuple(TaskState)))
    def run_a_task(self, which: int, state: TaskState) -> None:
        self.move(which, state, "run")

    def move(self, which: int, state: TaskState, verb: str) -> None:
        """One step: move a task manually, or one that does not exist."""
        task = self.one_of(which, state)
        queue, task_id = task.key if which < 15 else (task.message.queue, "missing")
        moves: dict[str, ops.Op[None]] = {
            "run": ops.RunTask(queue=queue, task_id=task_id),
            "archive": ops.ArchiveTask(queue=queue, task_id=task_id),
            "archive in little room": ops.ArchiveTask(queue=queue, task_id=task_id, max_size=1),
            "delete": ops.DeleteTask(queue=queue, task_id=task_id),
        }
        self.do(moves[verb], about=task if which < 15 else None)

    @precondition(lambda self: self.system.tasks)
    @rule(
        which=domain.index,
        state=st.sampled_from(tuple(TaskState)),
        payload=st.sampled_from((*domain.PROGRAM_PAYLOADS, b"three", None)),
        delay=st.sampled_from((None, None, 0, SECOND, MINUTE, HOUR)),
    )
    def update_a_task(self, which: int, state: TaskState, payload: bytes | None, delay: int | None) -> None:
        task = self.one_of(which, state)
        queue, task_id = task.key
        self.do(ops.UpdateTask(queue=queue, task_id=task_id, payload=payload, process_in=delay), about=task)

    @precondition(lambda self: self.system.tasks)
    @rule(
        which=domain.index,
        to=st.sampled_from(("pending", "archived", "deleted")),
        limit=st.sampled_from((1, 2, ops.MAX_BATCH)),
    )
    def move_tasks(self, which: int, to: MoveTarget, limit: int) -> None:
        movable = [task for task in self.tasks() if task.state not in (TaskState.ACTIVE, to)]
        if not movable:
            return
        task = movable[which % len(movable)]
        grouped = task.state is TaskState.AGGREGATING
        if grouped and not task.group:
            return
        move = ops.MoveTasks(
            queue=task.message.queue,
            state=task.state,
            to=to,
            group=task.group if grouped else "",
            limit=limit,
            max_size=2,
        )
        self.do(move, about=task)

    # --- queues -----------------------------------------------------------------------------------------

    @rule(queue=domain.queues, again=st.sampled_from((False, False, False, True)))
    def pause_or_unpause(self, queue: str, again: bool) -> None:
        paused = (queue in self.system.paused) is not again
        self.do(ops.UnpauseQueue(queue=queue) if paused else ops.PauseQueue(queue=queue))

    @precondition(lambda self: self.system.queues)
    @rule(
        which=domain.index,
        force=st.sampled_from((False, False, True)),
        limit=st.sampled_from((ops.MAX_BATCH, 1, 2)),
    )
    def delete_a_queue(self, which: int, force: bool, limit: int) -> None:
        queues = sorted(self.system.queues)
        queue = queues[which % len(queues)]
        active = next((task for task in self.tasks(TaskState.ACTIVE) if task.message.queue == queue), None)
        self.do(ops.DeleteQueue(queue=queue, force=force, limit=limit), about=active)

    @rule(
        queue=domain.queues,
        what=st.sampled_from(
            ("history", "examine", "mend", "groups", "orphans", "last tick", "seen", "seen no more")
        ),
    )
    def look_after(self, queue: str, what: str) -> None:
        if what.startswith("seen"):
            self.be_seen(QUEUES.index(queue), gone=what == "seen no more")
            return
        looks: dict[str, ops.Op[Any]] = {
            "history": ops.GetHistory(queue=queue, days=2),
            "examine": ops.Examine(queue=queue),
            "mend": ops.Examine(queue=queue, repair=True),
            "groups": ops.RepairGroups(queue=queue),
            "orphans": ops.AdoptOrphans(queue=queue, grace=MINUTE),
            "last tick": ops.GetLastTick(queue=queue, entry_id="e0"),
        }
        # Repairs must find nothing, because nothing was damaged.
        self.program.step(looks[what])

    # --- ticks ------------------------------------------------------------------------------------------

    @rule(
        queue=st.sampled_from(("a", "b")),
        entry=st.sampled_from(("e0", "e1")),
        ahead=st.sampled_from((0, -1, -2, 1)),
        task_id=domain.ids,
        payload=domain.payloads,
        unique=domain.unique,
    )
    def tick(
        self,
        *,
        queue: str,
        entry: str,
        ahead: int,
        task_id: str,
        payload: bytes,
        unique: ops.Unique | None,
    ) -> None:
        instant = (self.now // MINUTE + ahead) * MINUTE
        enqueue = ops.Enqueue(
            message=message(queue, task_id, payload, unique), enqueue_id=self.fresh(), unique=unique
        )
        self.do(
            ops.EnqueueTick(entry_id=entry, tick=instant, keep=FAR_FUTURE, enqueue=enqueue),
            about=self.system.find(queue, task_id),
        )

    @rule(
        name=st.sampled_from(("x", "y")),
        what=st.sampled_from(("write", "write", "pause", "unpause", "delete")),
        spec=st.sampled_from(("@hourly", "@daily")),
    )
    def keep_schedules(self, name: str, what: str, spec: str) -> None:
        schedule = StoredSchedule(
            name=name, spec=spec, location="UTC", message=message("a", "", b"one", None)
        )
        operations: dict[str, ops.Op[Any]] = {
            "write": ops.WriteSchedule(schedule=schedule),
            "pause": ops.PauseSchedule(name=name, paused=True),
            "unpause": ops.PauseSchedule(name=name, paused=False),
            "delete": ops.DeleteSchedule(name=name),
        }
        self.do(operations[what])
        self.program.step(ops.ListSchedules())

    # --- limits -----------------------------------------------------------------------------------------

    @rule(
        what=st.sampled_from(("acquire", "release", "token")),
        holder=st.sampled_from(("x", "y", "z")),
        limit=st.sampled_from((1, 2)),
        hold=st.sampled_from((MINUTE, 5000)),
    )
    def limit(self, what: str, holder: str, limit: int, hold: int) -> None:
        if what == "release" and hold == MINUTE:
            holder = next(iter(self.system.slots.get("s", ())), holder)
        operations: dict[str, ops.Op[Any]] = {
            "acquire": ops.AcquireSlot(scope="s", holder=holder, limit=limit, hold=hold),
            "release": ops.ReleaseSlot(scope="s", holder=holder),
            "token": ops.TakeToken(scope="r", limit=limit, per=MINUTE),
        }
        self.do(operations[what])

    # --- presence ---------------------------------------------------------------------------------------

    def be_seen(self, number: int, *, gone: bool) -> None:
        """Register or deregister a server and a scheduler, and list both."""
        server = ServerInfo(
            id=f"s{number}", host="host", pid=number, started_at=_DAY, concurrency=self.program.steps
        )
        entry = SchedulerEntry(id=f"e{number}", spec="@daily", task_type="type")
        event = EnqueueEvent(
            task_id=f"t{self.program.steps}", enqueued_at=_DAY + timedelta(seconds=self.program.steps)
        )
        writing: tuple[ops.Op[Any], ...] = (
            ops.WriteServer(server=server, ttl=FAR_FUTURE),
            ops.WriteScheduler(scheduler_id=f"h:{number}", entries=(entry,), ttl=FAR_FUTURE),
            ops.RecordEnqueueEvent(entry_id="e0", event=event, keep=FAR_FUTURE),
        )
        clearing: tuple[ops.Op[Any], ...] = (
            ops.ClearServer(host="host", pid=number, server_id=f"s{number}"),
            ops.ClearScheduler(scheduler_id=f"h:{number}"),
        )
        for op in clearing if gone else writing:
            self.do(op)
        for op in (ops.ListServers(), ops.ListSchedulerEntries(), ops.ListEnqueueEvents(entry_id="e0")):
            self.program.step(op)
