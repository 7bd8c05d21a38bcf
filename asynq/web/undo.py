"""Taking back what an action did to tasks: only those that are still where it put them are changed."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from attrs import define, frozen

from asynq.errors import AsynqError, TaskNotFoundError
from asynq.info import TaskInfo
from asynq.instants import instant_of, milliseconds_of, seconds_of
from asynq.protocol.ops import ArchiveTask, GetTask, RunTask, UpdateTask
from asynq.task_state import TaskState
from asynq.web import archive

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from asynq.protocol.broker import Broker
    from asynq.protocol.message import StoredTask
    from asynq.protocol.ops import Op

MAX_REMEMBERED: Final = 10_000
"""Tasks of one action that can be put back."""
_STEP: Final = 200
"""Tasks of one request to the broker."""
_BACK: dict[tuple[TaskState, TaskState], Callable[..., Op[None]]] = {
    (TaskState.ARCHIVED, TaskState.PENDING): ArchiveTask,
    (TaskState.PENDING, TaskState.ARCHIVED): RunTask,
}
"""What puts a task back, by the state it came from and the one it was put into.

A task that left any other state cannot be put back: no operation makes a pending task scheduled.
"""


def can_be_put_back(state: TaskState, to: TaskState | str) -> bool:
    """Whether tasks that leave a state for another one can be put back."""
    return (state, to) in _BACK


@define
class Undone:
    """What became of an undo."""

    changed: int = 0
    left: int = 0
    """Tasks that were elsewhere by then, and stayed there."""
    gone: int = 0
    """Tasks that had been archived and are not there any more."""
    refused: int = 0
    """Tasks for which the archive had no room."""

    @property
    def remark(self) -> str:
        """Why tasks were not put back; "" if all were."""
        parts = []
        if self.left:
            parts.append(f"{self.left:,} went on meanwhile and stay where they are")
        if self.gone:
            parts.append(archive.gone_from_archive(self.gone))
        if self.refused:
            parts.append(archive.not_put_back(self.refused))
        return "; ".join(parts)


@frozen
class _Place:
    """What changes of a task when it goes on."""

    state: TaskState
    retried: int
    last_failed_at: datetime | None
    due: datetime | None

    @classmethod
    def of(cls, task: TaskInfo, state: TaskState | None = None) -> _Place:
        state = state or task.state
        due = task.next_process_at if state in (TaskState.SCHEDULED, TaskState.RETRY) else None
        return cls(state, task.retried, task.last_failed_at, due)


@frozen
class _Change:
    look: GetTask
    place: _Place
    """Where the action put the task."""
    back: Op[Any]
    payload: bytes | None = None
    """The payload that the action gave the task; None if it gave none."""

    def holds(self, answer: StoredTask | AsynqError) -> bool:
        """Whether the task that was looked at is still as the action left it."""
        if isinstance(answer, AsynqError):
            return False
        task = TaskInfo.of(answer)
        return _Place.of(task) == self.place and self.payload in (None, task.payload)


class TaskUndo:
    """Remembers what an action did to its last tasks, and takes it back when it is called.

    The last ones are those that an archive keeps, and that workers have not yet come to. An undo deletes
    nothing: it archives only as many tasks as the archive has room for.

    Args:
        broker: The broker.
        limit: How many tasks are remembered.
    """

    def __init__(self, broker: Broker, limit: int = MAX_REMEMBERED) -> None:
        self._broker = broker
        self._changes: deque[_Change] = deque(maxlen=limit)
        self.forgotten = 0
        """Tasks that are not remembered, because there were too many."""

    def __len__(self) -> int:
        """How many tasks are remembered."""
        return len(self._changes)

    def moved(self, task: TaskInfo, to: TaskState) -> None:
        """Remember where a task was that was run or archived. One that cannot be put back is left out."""
        if (back := _BACK.get((task.state, to))) is not None:
            self._remember(task, _Place.of(task, to), back(queue=task.queue, task_id=task.id))

    def rescheduled(self, task: TaskInfo, due: datetime) -> None:
        """Remember when a task was due that is due at another time now."""
        self.edited(task, due=due)

    def edited(self, task: TaskInfo, *, payload: bytes | None = None, due: datetime | None = None) -> None:
        """Remember a task that has another payload, is due at another time, or both. None: as it was."""
        place, earlier = _Place.of(task), None
        if due is not None:
            if task.next_process_at is None or task.state is TaskState.PENDING:
                return
            whole = instant_of(seconds_of(due) * 1000)  # as brokers store it
            place = _Place(task.state, task.retried, task.last_failed_at, whole)
            earlier = milliseconds_of(task.next_process_at)
        before = None if payload is None else task.payload
        back = UpdateTask(queue=task.queue, task_id=task.id, payload=before, process_at=earlier)
        self._remember(task, place, back, payload)

    def _remember(self, task: TaskInfo, place: _Place, back: Op[Any], payload: bytes | None = None) -> None:
        if len(self._changes) == self._changes.maxlen:
            self.forgotten += 1
        look = GetTask(queue=task.queue, task_id=task.id)
        self._changes.append(_Change(look, place, back, payload))

    async def still(self, limit: int) -> int:
        """How many of the last so many tasks are still where the action put them."""
        looked = list(self._changes)[-limit:]
        tasks = await self._broker.aexecute_many([change.look for change in looked]) if looked else []
        return sum(change.holds(task) for change, task in zip(looked, tasks, strict=True))

    async def warning(self) -> str:
        """What a user should know before tasks are put back; "" for nothing."""
        archived = [change.back.queue for change in self._changes if isinstance(change.back, ArchiveTask)]
        if not archived:
            return ""
        room = await archive.room_of_archive(self._broker, archived[0])
        return archive.put_back_in_part(len(archived), room)

    async def __call__(self) -> Undone:
        """Put back the tasks that are still where the action put them, as far as there is room."""
        undone = Undone()
        changes = list(self._changes)
        for start in range(0, len(changes), _STEP):
            await self._put_back(changes[start : start + _STEP], undone)
        return undone

    async def _put_back(self, changes: Sequence[_Change], undone: Undone) -> None:
        tasks = await self._broker.aexecute_many([change.look for change in changes])
        back: list[Op[Any]] = []
        for change, task in zip(changes, tasks, strict=True):
            if isinstance(task, TaskNotFoundError) and change.place.state is TaskState.ARCHIVED:
                undone.gone += 1
            elif not change.holds(task):
                undone.left += 1
            else:
                back.append(change.back)
        if back and isinstance(back[0], ArchiveTask):
            room = await archive.room_of_archive(self._broker, back[0].queue)
            undone.refused += len(back[room:])
            back = back[:room]
        answers = await self._broker.aexecute_many(back) if back else []
        changed = sum(not isinstance(answer, AsynqError) for answer in answers)
        undone.changed += changed
        undone.left += len(back) - changed
