"""The lab of a law: an empty store, its broker, a fake clock, and short methods for frequent steps."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal, TypeVar, cast

from asynq.clock import FakeClock
from asynq.errors import AsynqError, TaskNotFoundError
from asynq.protocol import ops
from asynq.protocol.answers import unwrap
from asynq.protocol.message import TaskMessage
from asynq.task_state import TaskState
from asynq_conformance.capabilities import compare_with_declaration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asynq.protocol.broker import Broker
    from asynq.protocol.doctor import Finding
    from asynq.protocol.message import Delivery, LostLease, QueueStats, StoredTask
    from asynq_conformance.harness import Harness

T = TypeVar("T")

Face = Literal["plain", "awaited"]

START = 4_000_000_000_250
"""Start of the clock: not a whole second, so that rounding shows, and in the far future, so that a store
that expires data by its own clock keeps it."""

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
LEASE = 30 * SECOND

BOUNDARY = ((-1, False), (0, True), (1, True))
"""Offsets from an instant in milliseconds, and whether it has been reached."""

BATCH_SIZES = (0, 1, ops.MAX_BATCH - 1, ops.MAX_BATCH, ops.MAX_BATCH + 1, 2 * ops.MAX_BATCH + 20)


def whole_second(instant: int) -> int:
    """The instant rounded up to a whole second."""
    return -(-instant // SECOND) * SECOND


def lock_name(queue: str = "q", name: str = "k") -> str:
    """Name of a uniqueness lock of this queue."""
    return f"asynq:{{{queue}}}:unique:type:{name}"


class Lab:
    """What a law works with: an empty store, its broker, a fake clock, and methods for frequent steps."""

    def __init__(self, harness: Harness, face: Face) -> None:
        self.harness = harness
        self.clock = FakeClock(START)
        self.broker: Broker = harness.open(self.clock)
        self._runner = asyncio.Runner() if face == "awaited" else None
        self._tokens = 0

    def close_connections(self) -> None:
        """Close the broker's connections. The next use opens them again."""
        if self._runner:
            self._runner.run(self.broker.aclose())
        self.broker.close()

    def close(self) -> None:
        """Release all resources of this lab."""
        self.close_connections()
        if self._runner:
            self._runner.close()

    # --- executing ----------------------------------------------------------------------------------

    def execute(self, op: ops.Op[T]) -> T:
        """Execute one operation through the face under test. Skips the law if it is declared unsupported."""
        answer: T | AsynqError
        try:
            answer = self._runner.run(self.broker.aexecute(op)) if self._runner else self.broker.execute(op)
        except AsynqError as error:
            answer = error
        return cast("T", unwrap(self._supported((op,), (answer,))[0]))

    def execute_elsewhere(self, op: ops.Op[T]) -> T:
        """Execute one operation by another broker on the same store. Skips like `execute`."""
        other = self.harness.reopen(self.clock)
        answer: T | AsynqError
        try:
            answer = other.execute(op)
        except AsynqError as error:
            answer = error
        finally:
            other.close()
        return cast("T", unwrap(self._supported((op,), (answer,))[0]))

    def execute_many(self, operations: Sequence[ops.Op[T]]) -> list[T | AsynqError]:
        """Execute operations as one batch through the face under test. Skips like `execute`."""
        if self._runner:
            answers = self._runner.run(self.broker.aexecute_many(operations))
        else:
            answers = self.broker.execute_many(operations)
        return self._supported(operations, answers)

    def execute_at_once(self, operations: Sequence[ops.Op[T]]) -> list[T | AsynqError]:
        """Execute each operation by a separate concurrent caller. Skips like `execute`."""
        if self._runner:
            return self._supported(operations, self._runner.run(self._gather(operations)))
        with ThreadPoolExecutor(8) as callers:
            return self._supported(operations, list(callers.map(self._answer, operations)))

    def _supported(
        self, operations: Sequence[ops.Op[T]], answers: Sequence[T | AsynqError]
    ) -> list[T | AsynqError]:
        """The answers. Skips or fails the law if they disagree with the broker's declaration."""
        for op, answer in zip(operations, answers, strict=True):
            compare_with_declaration(self.broker.capabilities, op, answer)
        return list(answers)

    async def _gather(self, operations: Sequence[ops.Op[T]]) -> list[T | AsynqError]:
        async def answer(op: ops.Op[T]) -> T | AsynqError:
            try:
                return await self.broker.aexecute(op)
            except AsynqError as error:
                return error

        return list(await asyncio.gather(*map(answer, operations)))

    def _answer(self, op: ops.Op[T]) -> T | AsynqError:
        try:
            return self.broker.execute(op)
        except AsynqError as error:
            return error

    # --- time ---------------------------------------------------------------------------------------

    @property
    def now(self) -> int:
        """The present instant of the broker, in milliseconds."""
        return self.clock.now()

    def advance(self, milliseconds: int) -> None:
        """Move the clock forward."""
        self.clock.advance(milliseconds)
        self.harness.warp(milliseconds)

    def advance_to(self, instant: int) -> None:
        """Move the clock forward to this instant."""
        self.advance(instant - self.now)

    # --- producing ----------------------------------------------------------------------------------

    def fresh(self) -> str:
        """A new token or enqueue id."""
        self._tokens += 1
        return f"token-{self._tokens}"

    def message(
        self,
        task_id: str = "t",
        queue: str = "q",
        *,
        payload: bytes = b"payload",
        max_retry: int = 25,
        retention: int = 0,
        group: str = "",
        lock: str = "",
    ) -> TaskMessage:
        """A message as a client composes it."""
        return TaskMessage(
            id=task_id,
            type="type",
            queue=queue,
            payload=payload,
            max_retry=max_retry,
            timeout=1800,
            retention=retention,
            group=group,
            unique_key=lock,
        )

    def enqueue(
        self,
        message: TaskMessage | str = "t",
        *,
        at: int | None = None,
        delay: int | None = None,
        unique: ops.Unique | None = None,
        on_conflict: Literal["reject", "replace_finished"] = "reject",
        enqueue_id: str | None = None,
    ) -> ops.Enqueued:
        """Enqueue a message, or a plain task with this id."""
        return self.execute(
            ops.Enqueue(
                message=self.message(message) if isinstance(message, str) else message,
                enqueue_id=enqueue_id or self.fresh(),
                process_at=at,
                process_in=delay,
                unique=unique,
                on_conflict=on_conflict,
            )
        )

    def enqueue_all(self, ids: Sequence[str], queue: str = "q") -> None:
        """Enqueue plain tasks in this order, in one batch."""
        operations = [ops.Enqueue(message=self.message(i, queue), enqueue_id=self.fresh()) for i in ids]
        answers = self.execute_many(operations)
        assert all(isinstance(answer, ops.Enqueued) for answer in answers), answers

    # --- consuming ----------------------------------------------------------------------------------

    def dequeue(
        self,
        *order: str,
        count: int = 1,
        token: str | None = None,
        lease: int = LEASE,
        limits: Mapping[str, int] | None = None,
        since: bool = False,
    ) -> tuple[Delivery, ...]:
        """Dequeue up to `count` tasks, all by this order of queues; from queue "q" by default."""
        orders = (order or ("q",),) * count
        token = token or self.fresh()
        return self.execute(
            ops.Dequeue(orders=orders, token=token, lease=lease, limits=limits or {}, since=since)
        )

    def take(self, *order: str, lease: int = LEASE) -> Delivery:
        """Dequeue exactly one task."""
        (delivery,) = self.dequeue(*order, lease=lease)
        return delivery

    def drain(self, *order: str) -> list[str]:
        """Dequeue all pending tasks. Returns their ids in the order of delivery."""
        ids: list[str] = []
        while deliveries := self.dequeue(*order, count=ops.MAX_BATCH):
            ids.extend(delivery.message.id for delivery in deliveries)
        return ids

    def lose_worker(self, delivery: Delivery) -> LostLease:
        """Let this lease expire. Returns the lost lease that recovery finds."""
        self.advance_to(max(self.now, delivery.expires_at))
        lost = self.execute(ops.ListLostLeases(queue=delivery.message.queue)).leases
        return next(lease for lease in lost if lease.message.id == delivery.message.id)

    def recover(self, delivery: Delivery, to: Literal["pending", "retry", "archived"] = "pending") -> None:
        """Let this lease expire, and recover the task."""
        assert self.execute(ops.Recover(lost=self.lose_worker(delivery), to=to, error="lost"))

    # --- looking ------------------------------------------------------------------------------------

    def task(self, task_id: str = "t", queue: str = "q") -> StoredTask:
        """The task in its present state."""
        return self.execute(ops.GetTask(queue=queue, task_id=task_id))

    def state(self, task_id: str = "t", queue: str = "q") -> TaskState | None:
        """State of the task; None if there is no such task."""
        try:
            return self.task(task_id, queue).state
        except TaskNotFoundError:
            return None

    def listed(self, state: TaskState, queue: str = "q", group: str = "") -> list[str]:
        """Ids of all tasks of this state, in the order of ListTasks."""
        page = ops.ListTasks(queue=queue, state=state, group=group, limit=1000)
        return [task.message.id for task in self.execute(page)]

    def stats(self, queue: str = "q") -> QueueStats:
        """Statistics of the queue."""
        return self.execute(ops.GetQueueStats(queue=queue))

    def counters(self, queue: str = "q") -> tuple[int, int]:
        """Total of runs ended and of runs failed. Today's counters must equal them."""
        stats = self.stats(queue)
        assert (stats.processed, stats.failed) == (stats.processed_total, stats.failed_total)
        return stats.processed_total, stats.failed_total

    def picture(self, queue: str = "q") -> tuple[QueueStats, Mapping[TaskState, tuple[StoredTask, ...]]]:
        """Everything that can be seen of a queue: two equal pictures mean that nothing has changed."""
        groups = {state: "g" if state is TaskState.AGGREGATING else "" for state in TaskState}
        pages = {
            state: self.execute(ops.ListTasks(queue=queue, state=state, group=group, limit=1000))
            for state, group in groups.items()
        }
        return self.stats(queue), pages

    # --- bringing a task into a state -----------------------------------------------------------------

    def bring(self, state: TaskState, task_id: str = "t", *, unique: ops.Unique | None = None) -> None:
        """Create a task of this state in queue "q". The queue must have no pending tasks."""
        message = self.message(
            task_id,
            retention=3600 if state is TaskState.COMPLETED else 0,
            group="g" if state is TaskState.AGGREGATING else "",
            lock=lock_name() if unique else "",
        )
        self.enqueue(message, unique=unique, delay=HOUR if state is TaskState.SCHEDULED else None)
        if state in (TaskState.PENDING, TaskState.SCHEDULED, TaskState.AGGREGATING):
            return
        delivery = self.take()
        assert delivery.message.id == task_id
        if state is TaskState.RETRY:
            self.execute(ops.Retry(delivery=delivery, delay=HOUR, error="failed"))
        elif state is TaskState.ARCHIVED:
            self.execute(ops.Archive(delivery=delivery, error="failed"))
        elif state is TaskState.COMPLETED:
            self.execute(ops.Complete(delivery=delivery))

    def examine(self, queue: str | None = "q", *, repair: bool = False) -> set[Finding]:
        """Examine the store completely. Returns all findings."""
        found: set[Finding] = set()
        cursor = ""
        while True:
            page = self.execute(ops.Examine(queue=queue, cursor=cursor, repair=repair))
            found |= set(page.findings)
            cursor = page.cursor
            if not cursor:
                return found
