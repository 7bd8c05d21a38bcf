"""The two sides of a transfer: what is asked of each broker, under a claim of the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from attrs import define

from asynq.errors import AsynqError, BrokerUnavailable, LeaseLostError, TaskNotFoundError, TaskStateError
from asynq.protocol.message import StoredTask
from asynq.protocol.ops import ClaimTransfer, ExportTask, GetTask, ListParked, ReleaseTask
from asynq.protocol.transfer import TaskImage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from asynq.protocol.ops import Op
    from asynq.runtime.sync_async import BrokerCalls

BATCH: Final = 250
"""Tasks that are under way together."""
CLAIM: Final = 5000
"""Milliseconds for which a migration that has died keeps others from its queue. Every step renews it."""


@define
class MigrationRunningError(AsynqError):
    """Another migration of this queue is running, or was killed less than five seconds ago."""

    queue: str
    taken_over: bool = False
    """True if it began while this one stood still for more than five seconds, which has ended now."""

    def __str__(self) -> str:
        if self.taken_over:
            return f"another migration of queue {self.queue!r} took over while this one stood still"
        return f"another migration of queue {self.queue!r} is running, or both brokers are the same store"


@define
class Side:
    """One of the two brokers."""

    broker: BrokerCalls
    queue: str
    holder: str
    """The holder of its claim."""
    store: str = ""
    """The identity of the store."""

    def exports_to(self, other: Side) -> str:
        """The transfer of what is parked here and at home here."""
        return f">{other.store}"

    def imports_from(self, other: Side) -> str:
        """The transfer of what is parked here and at home there."""
        return f"<{other.store}"

    async def claim(self, *, hold: int | None = None, renew: bool = False) -> str:
        """The identity of the store if the claim is held now, or "" if another migration has it."""
        claim = ClaimTransfer(
            queue=self.queue, holder=self.holder, hold=CLAIM if hold is None else hold, renew=renew
        )
        return await self.broker.execute(claim)

    async def all(self, ops: Sequence[Op[Any]]) -> list[Any]:
        """The answers to operations. BrokerUnavailable if one has none; LeaseLostError without the claim."""
        answers = await self.broker.execute_many(ops) if ops else []
        for answer in answers:
            if isinstance(answer, BrokerUnavailable | LeaseLostError):
                raise answer
        return answers

    async def exports(
        self, ids: Sequence[str], transfer: str, *, park: bool = False
    ) -> list[TaskImage | TaskStateError | TaskNotFoundError]:
        """The images of tasks, or why there are none."""
        fields = {"queue": self.queue, "transfer": transfer, "claim": self.holder}
        answers = await self.all([ExportTask(task_id=name, park=park, **fields) for name in ids])
        for answer in answers:
            if not isinstance(answer, TaskImage | TaskStateError | TaskNotFoundError):
                raise answer
        return answers

    async def release(
        self, ids: Sequence[str], to: Literal["restored", "deleted"], transfer: str
    ) -> list[bool]:
        """End the parking of tasks: whether each was parked."""
        fields = {"queue": self.queue, "transfer": transfer, "claim": self.holder}
        answers = await self.all([ReleaseTask(task_id=name, to=to, **fields) for name in ids])
        for answer in answers:
            if isinstance(answer, AsynqError):
                raise answer
        return answers

    async def look(self, ids: Sequence[str]) -> dict[str, StoredTask]:
        """Those of these tasks that there are."""
        found = await self.all([GetTask(queue=self.queue, task_id=name) for name in ids])
        return {task.message.id: task for task in found if isinstance(task, StoredTask)}

    async def parked_after(self, offset: int) -> tuple[str, ...]:
        """Ids of parked tasks."""
        return await self.broker.execute(ListParked(queue=self.queue, offset=offset, limit=BATCH))

    async def parked(self) -> AsyncGenerator[list[str], None]:
        """Ids of all parked tasks, in batches."""
        offset = 0
        while ids := await self.parked_after(offset):
            yield [*ids]
            offset += len(ids)


async def claim(sides: Sequence[Side]) -> None:
    """Keep other migrations from the queue, on both sides. One store on both sides refuses itself."""
    for side in sides:
        side.store = await side.claim()
        if not side.store:
            raise MigrationRunningError(side.queue)


async def renew(sides: Sequence[Side]) -> None:
    """Keep the claims. Every change of tasks is refused if one of them is lost nevertheless."""
    for side in sides:
        if not await side.claim(renew=True):
            raise MigrationRunningError(side.queue, taken_over=True)


async def unclaim(sides: Sequence[Side]) -> None:
    """End the claims."""
    for side in sides:
        try:
            await side.claim(hold=0)
        except AsynqError:
            continue  # it ends by itself
