"""The transfer of one queue: tasks in batches, in the steps of `asynq.protocol.ops.transfer`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from attrs import define

from asynq.errors import (
    AsynqError,
    BrokerUnavailable,
    DuplicateTaskError,
    QueueNotFoundError,
    TaskIDConflictError,
    TaskNotFoundError,
    TaskStateError,
    TooLargeError,
    UnsupportedOperationError,
)
from asynq.ids import random_id
from asynq.inspector.listing import groups
from asynq.inspector.paging import task_pages
from asynq.instants import instant_of
from asynq.migration.report import QueueMigration, RefusedTask
from asynq.protocol.answers import is_final
from asynq.protocol.message import StoredTask
from asynq.protocol.ops import (
    AcquireSlot,
    ExportTask,
    GetQueueStats,
    GetTask,
    ImportTask,
    ListParked,
    PauseQueue,
    ReleaseSlot,
    ReleaseTask,
)
from asynq.protocol.transfer import PARKED, TaskImage
from asynq.protocol.value_sizes import message_size
from asynq.task_state import TaskState

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Iterator, Sequence

    from asynq.protocol.ops import Op
    from asynq.runtime.sync_async import BrokerCalls

    Progress = Callable[[str, int], object]

MOVABLE: Final = (
    *(TaskState.PENDING, TaskState.RETRY, TaskState.SCHEDULED),
    *(TaskState.AGGREGATING, TaskState.ARCHIVED, TaskState.COMPLETED),
)
"""The states in which tasks can be transferred, in the order in which they are."""
BATCH: Final = 250
"""Tasks that are under way together."""
BATCH_BYTES: Final = 4 * 1024 * 1024
"""Bytes of payloads and results from which on a batch has no further task."""
MOST_REFUSED: Final = 1000
"""Refused tasks of a queue after which its transfer ends: its ids belong to other tasks."""
ROUNDS: Final = 10
"""Times that a queue is read for tasks that came meanwhile. A queue may never stand still."""
CLAIM: Final = 5000
"""Milliseconds for which a migration that has died keeps others from its queue. Every step renews it."""

_PARKED: Final = instant_of(PARKED)

Entry = tuple[int, int, str, int]
"""Place in its sequence, instant, id and size of a task that waits for its transfer."""


_REFUSALS: Final = (TaskIDConflictError, DuplicateTaskError, TooLargeError, UnsupportedOperationError)
"""Errors of an import that concern one task. Any other ends the migration."""


@define
class MigrationRunningError(AsynqError):
    """Another migration of this queue is running, or was killed less than five seconds ago."""

    queue: str

    def __str__(self) -> str:
        return f"another migration of queue {self.queue!r} is running, or both brokers are the same store"


async def plan_migration(
    source: BrokerCalls, queue: str, states: Collection[TaskState] = MOVABLE
) -> dict[TaskState, int]:
    """The number of tasks of a queue in each of these states. QueueNotFoundError."""
    stats = await source.execute(GetQueueStats(queue=queue))
    return {state: getattr(stats, state.value) for state in states}


class QueueTransfer:
    """Copies or moves the tasks of one queue."""

    def __init__(
        self,
        source: BrokerCalls,
        destination: BrokerCalls,
        queue: str,
        *,
        states: Collection[TaskState] = MOVABLE,
        move: bool,
        progress: Progress | None = None,
    ) -> None:
        self._source = source
        self._destination = destination
        self._queue = queue
        self._states = [state for state in MOVABLE if state in states]
        self._move = move
        self._progress = progress
        self._holder = random_id()
        self._places: list[Entry] = []
        self._refused: set[str] = set()
        self._held: set[str] = set()
        self.report = QueueMigration(queue=queue)

    async def run(self) -> QueueMigration:
        """Transfer what can be transferred now."""
        try:
            await self._claim()
            await (self._source if self._move else self._destination).execute(PauseQueue(queue=self._queue))
            for _ in range(ROUNDS if self._move else 1):
                before = self.report.transferred
                self._held.clear()
                await self._transfer_states()
                await self._transfer_waiting()
                await self._restore_parked()
                if self.report.transferred == before or len(self._refused) >= MOST_REFUSED:
                    break
            self.report.held = len(self._held)
            self.report.active = await self._count(TaskState.ACTIVE)
        finally:
            await self._unclaim()
        return self.report

    # --- one migration at a time ------------------------------------------------------------------------

    async def _claim(self) -> None:
        """Keep other migrations from the queue, on both sides. One store on both sides refuses itself."""
        for broker, side in self._sides:
            claim = AcquireSlot(scope=self._scope, holder=f"{self._holder}:{side}", limit=1, hold=CLAIM)
            try:
                claimed = await broker.execute(claim)
            except UnsupportedOperationError:
                continue
            if not claimed:
                raise MigrationRunningError(self._queue)

    async def _unclaim(self) -> None:
        for broker, side in self._sides:
            try:
                await broker.execute(ReleaseSlot(scope=self._scope, holder=f"{self._holder}:{side}"))
            except AsynqError:
                continue  # it ends by itself

    @property
    def _sides(self) -> tuple[tuple[BrokerCalls, str], ...]:
        return (self._source, "source"), (self._destination, "destination")

    @property
    def _scope(self) -> str:
        return f"asynq:migration:{self._queue}"

    # --- what there is ----------------------------------------------------------------------------------

    async def _count(self, state: TaskState) -> int:
        try:
            return (await plan_migration(self._source, self._queue, (state,)))[state]
        except QueueNotFoundError:
            return 0

    async def _transfer_states(self) -> None:
        for state in self._states:
            names = [""]
            if state is TaskState.AGGREGATING:
                names = [group.name async for group in groups(self._source, self._queue)]
            for group in names:
                async for batch in self._batches(state, group):
                    await self._transfer(batch)
                    if len(self._refused) >= MOST_REFUSED:
                        return

    async def _batches(self, state: TaskState, group: str) -> AsyncGenerator[list[str], None]:
        """Ids of tasks that are there at the beginning. Those that come later are left to the next round."""
        there = await self._count(state)
        if not there:
            return
        batch: list[str] = []
        size = 0
        async for task in task_pages(self._source, self._queue, state, group):
            there -= 1
            if task.id not in self._refused and not (self._move and task.next_process_at == _PARKED):
                batch.append(task.id)
                size += len(task.payload) + len(task.result or b"")
            if len(batch) == BATCH or size > BATCH_BYTES:
                yield batch
                batch, size = [], 0
            if there <= 0:
                break
        if batch:
            yield batch

    # --- the steps --------------------------------------------------------------------------------------

    async def _transfer(self, ids: Sequence[str]) -> None:
        """Transfer tasks. Those of sequences are only parked, or noted: they wait for the others."""
        images = await self._export(ids)
        alone = [image for image in images if not image.place]
        if not self._move:
            self._places += [_entry(image) for image in images if image.place]
        await self._restore([image.message.id for image in await self._hand_over(alone)])

    async def _transfer_waiting(self) -> None:
        """Transfer tasks of sequences in their order, and whatever an interrupted run has left parked."""
        entries = self._places
        if self._move:
            async for ids in self._parked(self._source):
                entries += [_entry(image) for image in await self._export(ids)]
        entries.sort()
        for batch in _parts(entries):
            await self._hand_over(await self._export(batch))
        entries.clear()

    async def _export(self, ids: Sequence[str]) -> list[TaskImage]:
        """Images of those of these tasks that can be transferred. In a move, they are parked now."""
        await self._claim()
        images = []
        exports = [ExportTask(queue=self._queue, task_id=task_id, park=self._move) for task_id in ids]
        for op, answer in zip(exports, await _all(self._source, exports), strict=True):
            if isinstance(answer, TaskImage):
                images.append(answer)
            elif isinstance(answer, TaskStateError):
                if answer.state is not TaskState.ACTIVE:
                    self._held.add(op.task_id)
            elif not isinstance(answer, TaskNotFoundError):
                raise answer
        return images

    async def _hand_over(self, images: Sequence[TaskImage]) -> list[TaskImage]:
        """Import tasks and, in a move, delete them in the source. Returns those that were taken."""
        await self._claim()
        answers = await _all(self._destination, [ImportTask(image=image) for image in images])
        taken, back = [], []
        for image, answer in zip(images, answers, strict=True):
            if isinstance(answer, AsynqError) and not (isinstance(answer, _REFUSALS) or is_final(answer)):
                raise answer
            if isinstance(answer, AsynqError):
                refused = RefusedTask(queue=self._queue, task_id=image.message.id, reason=_reason(answer))
                self.report.refused.append(refused)
                self._refused.add(image.message.id)
                back.append(image.message.id)
            else:
                taken.append(image)
        if not self._move:
            return taken
        await self._release(self._source, back, "restored")
        ids = [image.message.id for image in taken]
        deleted = await self._release(self._source, ids, "deleted")
        lost = [task_id for task_id, done in zip(ids, deleted, strict=True) if not done]
        # Somebody took these back while they were parked.
        elsewhere = {task.message.id for task in await self._in_source(lost)}
        await self._release(self._destination, [*elsewhere], "deleted")
        return [image for image in taken if image.message.id not in elsewhere]

    async def _in_source(self, ids: Sequence[str]) -> list[StoredTask]:
        looks = [GetTask(queue=self._queue, task_id=task_id) for task_id in ids]
        return [task for task in await _all(self._source, looks) if isinstance(task, StoredTask)]

    async def _restore(self, ids: Sequence[str]) -> int:
        """Give tasks of the destination their places; how many had to be given one."""
        restored = (await self._release(self._destination, ids, "restored")).count(True)
        self.report.transferred += restored
        self.report.present += len(ids) - restored
        if self._progress:
            self._progress(self._queue, self.report.transferred + self.report.present)
        return restored

    async def _restore_parked(self) -> None:
        """Restore what is parked in the destination and no longer in the source."""
        offset = 0
        while ids := await self._destination.execute(
            ListParked(queue=self._queue, offset=offset, limit=BATCH)
        ):
            await self._claim()
            waiting = await self._parked_in_source(ids)
            exports = [ExportTask(queue=self._queue, task_id=name) for name in ids if name not in waiting]
            images = await _all(self._destination, exports)
            entries = sorted(_entry(image) for image in images if isinstance(image, TaskImage))
            known = {task_id for _, _, task_id, _ in entries}
            # Of a sequence with an active task there are no images, and the order does not matter.
            others = [op.task_id for op in exports if op.task_id not in known]
            restored = await self._restore([*(task_id for _, _, task_id, _ in entries), *others])
            offset += len(ids) - restored

    async def _parked_in_source(self, ids: Sequence[str]) -> set[str]:
        found = await self._in_source(ids)
        return {task.message.id for task in found if task.due_at == PARKED}

    async def _release(
        self, broker: BrokerCalls, ids: Sequence[str], to: Literal["restored", "deleted"]
    ) -> list[bool]:
        releases = [ReleaseTask(queue=self._queue, task_id=task_id, to=to) for task_id in ids]
        answers = await _all(broker, releases)
        for answer in answers:
            if isinstance(answer, AsynqError):
                raise answer
        return answers

    async def _parked(self, broker: BrokerCalls) -> AsyncGenerator[list[str], None]:
        offset = 0
        while ids := await broker.execute(ListParked(queue=self._queue, offset=offset, limit=BATCH)):
            yield [*ids]
            offset += len(ids)


async def _all(broker: BrokerCalls, ops: Sequence[Op[Any]]) -> list[Any]:
    """The answers to operations. BrokerUnavailable if there was none for one of them."""
    answers = await broker.execute_many(ops) if ops else []
    for answer in answers:
        if isinstance(answer, BrokerUnavailable):
            raise answer
    return answers


def _reason(refusal: AsynqError) -> str:
    """Why the destination refused a task, without its id and its queue."""
    if isinstance(refusal, TaskIDConflictError):
        return "its id is taken by another task"
    if isinstance(refusal, DuplicateTaskError):
        holder = f"task {refusal.task_id!r}" if refusal.task_id else "another task"
        return f"its unique lock is held by {holder}"
    return str(refusal)


def _entry(image: TaskImage) -> Entry:
    message = image.message
    size = message_size(message) + len(image.result or b"")
    return image.place, image.pending_since or image.due_at, message.id, size


def _parts(entries: Iterable[Entry]) -> Iterator[list[str]]:
    """The ids in batches of bounded number and size."""
    batch: list[str] = []
    total = 0
    for _, _, task_id, size in entries:
        batch.append(task_id)
        total += size
        if len(batch) == BATCH or total > BATCH_BYTES:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch
