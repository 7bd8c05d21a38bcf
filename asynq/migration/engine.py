"""The transfer of one queue: tasks in batches, in the steps of `asynq.protocol.ops.transfer`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asynq.errors import (
    AsynqError,
    DuplicateTaskError,
    LeaseLostError,
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
from asynq.migration.sides import BATCH, MigrationRunningError, Side, claim, renew, unclaim
from asynq.protocol.answers import is_final
from asynq.protocol.ops import (
    GetQueueStats,
    ImportTask,
    PauseQueue,
)
from asynq.protocol.transfer import PARKED, TaskImage
from asynq.protocol.value_sizes import message_size
from asynq.task_state import TaskState

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Iterator, Sequence

    from asynq.runtime.sync_async import BrokerCalls

    Progress = Callable[[str, int], object]

MOVABLE: Final = (
    *(TaskState.PENDING, TaskState.RETRY, TaskState.SCHEDULED),
    *(TaskState.AGGREGATING, TaskState.ARCHIVED, TaskState.COMPLETED),
)
"""The states in which tasks can be transferred, in the order in which they are."""
BATCH_BYTES: Final = 4 * 1024 * 1024
"""Bytes of payloads and results from which on a batch has no further task."""
MOST_REFUSED: Final = 1000
"""Refused tasks of a queue after which its transfer ends: its ids belong to other tasks."""
ROUNDS: Final = 10
"""Times that a queue is read for tasks that came meanwhile. A queue may never stand still."""
_PARKED: Final = instant_of(PARKED)

Entry = tuple[int, int, str, int]
"""Place in its sequence, instant, id and size of a task that waits for its transfer."""


_REFUSALS: Final = (TaskIDConflictError, DuplicateTaskError, TooLargeError, UnsupportedOperationError)
"""Errors of an import that concern one task. Any other ends the migration."""


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
        holder = random_id()
        self._source = Side(source, queue, f"{holder}:source")
        self._destination = Side(destination, queue, f"{holder}:destination")
        self._queue = queue
        self._sides = (self._source, self._destination)
        self._states = [state for state in MOVABLE if state in states]
        self._move = move
        self._progress = progress
        self._places: list[Entry] = []
        self._refused: set[str] = set()
        self._held: set[str] = set()
        self._foreign: set[str] = set()
        self.report = QueueMigration(queue=queue)

    async def run(self) -> QueueMigration:
        """Transfer what can be transferred now."""
        try:
            await claim(self._sides)
            await (self._source.broker if self._move else self._destination.broker).execute(
                PauseQueue(queue=self._queue)
            )
            if self._move:
                await self._take_back()
            for _ in range(ROUNDS if self._move else 1):
                before = self.report.transferred
                self._held.clear()
                self._foreign.clear()
                await self._transfer_states()
                await self._transfer_waiting()
                await self._settle_imports(self._source, self._destination)
                if self.report.transferred == before or len(self._refused) >= MOST_REFUSED:
                    break
            self.report.held = len(self._held)
            self.report.parked = len(self._foreign)
            self.report.active = await self._count(TaskState.ACTIVE)
        except LeaseLostError:
            raise MigrationRunningError(self._queue, taken_over=True) from None
        finally:
            await unclaim(self._sides)
        return self.report

    # --- what there is ----------------------------------------------------------------------------------

    async def _count(self, state: TaskState) -> int:
        try:
            return (await plan_migration(self._source.broker, self._queue, (state,)))[state]
        except QueueNotFoundError:
            return 0

    async def _transfer_states(self) -> None:
        for state in self._states:
            names = [""]
            if state is TaskState.AGGREGATING:
                names = [group.name async for group in groups(self._source.broker, self._queue)]
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
        async for task in task_pages(self._source.broker, self._queue, state, group):
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
            async for ids in self._source.parked():
                images = await self._export(ids)
                entries += [_entry(image) for image in images]
                self._foreign |= {*ids} - {image.message.id for image in images} - self._held
        entries.sort()
        for batch in _parts(entries):
            await self._hand_over(await self._export(batch))
        entries.clear()

    async def _export(self, ids: Sequence[str]) -> list[TaskImage]:
        """Images of those of these tasks that can be transferred. In a move, they are parked now."""
        await renew(self._sides)
        images = []
        away = self._source.exports_to(self._destination)
        answers = await self._source.exports(ids, away, park=self._move)
        for task_id, answer in zip(ids, answers, strict=True):
            if isinstance(answer, TaskImage):
                images.append(answer)
            elif isinstance(answer, TaskStateError) and answer.state is not TaskState.ACTIVE:
                self._held.add(task_id)
        return images

    async def _hand_over(self, images: Sequence[TaskImage]) -> list[TaskImage]:
        """Import tasks and, in a move, delete them in the source. Returns those that were taken."""
        await renew(self._sides)
        there = self._destination
        arriving, away = there.imports_from(self._source), self._source.exports_to(there)
        imports = [ImportTask(image=image, transfer=arriving, claim=there.holder) for image in images]
        answers = await there.all(imports)
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
        await self._source.release(back, "restored", away)
        ids = [image.message.id for image in taken]
        deleted = await self._source.release(ids, "deleted", away)
        lost = [task_id for task_id, done in zip(ids, deleted, strict=True) if not done]
        # Somebody took these back while they were parked.
        elsewhere = await self._source.look(lost)
        await there.release([*elsewhere], "deleted", arriving)
        return [image for image in taken if image.message.id not in elsewhere]

    async def _restore(self, ids: Sequence[str]) -> int:
        """Give tasks of the destination their places; how many had to be given one."""
        arriving = self._destination.imports_from(self._source)
        restored = (await self._destination.release(ids, "restored", arriving)).count(True)
        self._count_arrived(restored, len(ids) - restored)
        return restored

    def _count_arrived(self, transferred: int, present: int = 0) -> None:
        self.report.transferred += transferred
        self.report.present += present
        if self._progress:
            self._progress(self._queue, self.report.transferred + self.report.present)

    # --- what an interrupted run has left ----------------------------------------------------------------

    async def _take_back(self) -> None:
        """Undo what an interrupted move from the destination to the source has begun."""
        home, there = self._destination, self._source
        away, arriving = home.exports_to(there), there.imports_from(home)
        offset = 0
        while ids := await home.parked_after(offset):
            await renew(self._sides)
            answers = await home.exports(ids, away)
            pairs = zip(ids, answers, strict=True)
            ours = [name for name, answer in pairs if not isinstance(answer, TaskNotFoundError)]
            await there.release(ours, "deleted", arriving)
            restored = (await home.release(ours, "restored", away)).count(True)
            self._count_arrived(restored)
            offset += len(ids) - restored
        await self._settle_imports(home, there)

    async def _settle_imports(self, home: Side, there: Side) -> None:
        """End the parking of what is parked there and no longer at home: restore it.

        If somebody took it back at home while it was parked, it is deleted; a copy may be on both sides.
        """
        arriving = there.imports_from(home)
        offset = 0
        while ids := await there.parked_after(offset):
            await renew(self._sides)
            at_home = await home.look(ids)
            answers = await there.exports(ids, arriving)
            images, others, back = [], [], []
            for task_id, answer in zip(ids, answers, strict=True):
                task = at_home.get(task_id)
                if isinstance(answer, TaskNotFoundError) or (task is not None and task.due_at == PARKED):
                    continue
                if isinstance(answer, TaskStateError):
                    # Of a sequence with an active task there are no images, and the order does not matter.
                    others += [] if self._move and task else [task_id]
                elif self._move and task is not None and task.message == answer.message:
                    back.append(task_id)
                else:
                    images.append(answer)
            await there.release(back, "deleted", arriving)
            ordered = [task_id for _, _, task_id, _ in sorted(_entry(image) for image in images)]
            restored = (await there.release([*ordered, *others], "restored", arriving)).count(True)
            if there is self._destination:
                self._count_arrived(restored)
            offset += len(ids) - restored - len(back)


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
