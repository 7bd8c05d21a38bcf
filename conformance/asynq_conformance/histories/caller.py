"""What a caller of the workload does: actions, generators of requests that do not know who sends them."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from attrs import frozen

from asynq.errors import AsynqError
from asynq.protocol import ops
from asynq.protocol.message import TaskMessage
from asynq.protocol.sequences import SEQUENCE_HEADER
from asynq.protocol.uniqueness import unique_key
from asynq.worker.queue_selection import QueuePriority

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from asynq.protocol.message import Delivery
    from asynq_conformance.histories.plan import Plan

KEPT_SECONDS = 3600
LOCKS = 6
"""Different locks in a queue: few, so that callers meet."""
_AFTER_LOSS: Final[tuple[Literal["pending", "retry", "archived"], ...]] = ("pending", "retry", "archived")
SEQUENCES = 4
"""Different sequences in a queue: few, so that their tasks wait for one another."""
CONTESTED = 4
"""Different ids in a queue that several tasks ask for."""


ACTIONS: Final = {
    "produce": 30, "produce_many": 6, "contest": 4, "take": 44, "take_carelessly": 8, "settle_late": 4,
    "forward": 5, "recover": 5, "pause": 1, "meddle": 1,
}  # fmt: skip
"""What a caller does, and how often."""


@frozen
class Send:
    """Operations to send."""

    ops: Sequence[ops.Op[Any]]
    together: bool = False
    """True: by execute_many."""
    hasty: bool = False
    """True: who sends it may lose patience, and never know."""


@frozen
class Rest:
    """Do nothing for so many seconds."""

    seconds: float


Action = Generator[Send | Rest, list[Any], None]


class TaskQuota:
    """Counts the tasks that the callers of one process have made together."""

    def __init__(self, least: int, quota: int) -> None:
        self._least = least
        self._quota = quota
        self._numbers = itertools.count(1)
        self.enough = False
        """True when the least were made."""
        self.reached = False
        """True when no more are wanted."""

    def count(self) -> None:
        """One more."""
        number = next(self._numbers)
        self.enough = self.enough or number >= self._least
        self.reached = self.reached or number >= self._quota


class Caller:
    """One of many: makes tasks, runs them, loses some, and looks after queues. All from its own seed."""

    def __init__(
        self,
        name: str,
        plan: Plan,
        rng: Random,
        tally: TaskQuota,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.plan = plan
        self.rng = rng
        self.tally = tally
        self._monotonic = monotonic
        self._numbers = itertools.count()
        self._late: deque[tuple[float, Delivery]] = deque()
        self._known: deque[TaskMessage] = deque(maxlen=20)
        self._weighted = QueuePriority.of(plan.queues)
        self._strict = QueuePriority.of(plan.queues, strict=True)
        self._actions = {**ACTIONS, **plan.actions}

    def next_action(self) -> Action:
        """What to do next."""
        [name] = self.rng.choices(list(self._actions), list(self._actions.values()))
        action: Action = getattr(self, name)()
        return action

    def last_action(self) -> Action:
        """What to do at the end: nothing is left half done but what was lost on purpose."""
        yield from self.settle_late(at_once=True)

    # --- making tasks -------------------------------------------------------------------------------

    def fresh(self) -> str:
        """An id or a token nobody has used."""
        return f"{self.name}-{next(self._numbers)}"

    def _queue(self) -> str:
        return self.rng.choice(tuple(self.plan.queues))

    def compose(self, queue: str) -> ops.Enqueue:
        """An enqueue of a new task: plain, late, in a sequence, or under a lock."""
        task_id, rng = self.fresh(), self.rng
        self.tally.count()
        kind, unique, delay = "plain", None, None
        payload = task_id.encode() + rng.randbytes(rng.randrange(20))
        headers: dict[str, str] = {}
        chance = rng.random()
        if chance < self.plan.locked:
            kind, payload = "locked", b"%d" % rng.randrange(LOCKS)
            ttl = rng.choice((1000, 2000, 60_000, 60_000))
            unique = ops.Unique(ttl=ttl, until=rng.choice(("done", "done", "done", "start")))
        elif chance < self.plan.locked + 0.12:
            kind, delay = "late", rng.randrange(1, 2500)
        elif chance < self.plan.locked + 0.12 + self.plan.sequenced:
            kind, headers = "sequenced", {SEQUENCE_HEADER: f"s{rng.randrange(SEQUENCES)}"}
        message = TaskMessage(
            id=task_id,
            type=kind,
            queue=queue,
            payload=payload,
            headers=headers,
            retention=KEPT_SECONDS if rng.random() < 0.2 else 0,
            unique_key=unique_key(queue, kind, payload) if unique else "",
        )
        self._known.append(message)
        return ops.Enqueue(message=message, enqueue_id=self.fresh(), process_in=delay, unique=unique)

    def produce(self) -> Action:
        """Make one task."""
        yield Send([self.compose(self._queue())], hasty=self.rng.random() < 0.03)

    def produce_many(self) -> Action:
        """Make several tasks at once."""
        queue = self._queue()
        yield Send([self.compose(queue) for _ in range(self.rng.randrange(2, 12))], together=True)

    def contest(self) -> Action:
        """Make a task of an id that others want as well."""
        queue = self._queue()
        message = TaskMessage(
            id=f"contested-{self.rng.randrange(CONTESTED)}",
            type="contested",
            queue=queue,
            payload=self.fresh().encode(),
        )
        yield Send([ops.Enqueue(message=message, enqueue_id=self.fresh())])

    # --- running them -------------------------------------------------------------------------------

    def _dequeue(self, lease: int) -> ops.Dequeue:
        preference = self.rng.choice((self._weighted, self._strict))
        orders = preference.orders(self.rng.randrange(1, 4), self.rng)
        return ops.Dequeue(orders=orders, token=self.fresh(), lease=lease)

    def take(self) -> Action:
        """Take tasks and end their runs, in time."""
        [taken] = yield Send([self._dequeue(self.plan.lease)])
        if isinstance(taken, AsynqError) or not taken:
            return
        if self.rng.random() < 0.1:
            yield Send([ops.ExtendLease(lease=one.lease, duration=self.plan.lease) for one in taken])
        together = self.rng.random() < 0.5
        hasty = not together and self.rng.random() < 0.03
        yield Send([self._end(one) for one in taken], together=together, hasty=hasty)

    def _end(self, delivery: Delivery) -> ops.Op[None]:
        rng = self.rng
        chance = rng.random()
        if chance < 0.08:
            return ops.Retry(delivery=delivery, delay=rng.randrange(1500), error="e", failure=chance < 0.06)
        if chance < 0.12:
            return ops.Archive(delivery=delivery, error="e")
        if chance < 0.18:
            return ops.Requeue(delivery=delivery)
        if delivery.message.retention:
            return ops.Complete(delivery=delivery, result=b"r")
        return ops.Done(delivery=delivery)

    def take_carelessly(self) -> Action:
        """Take tasks for a short time; lose some of them, and end some when it may be too late."""
        hasty = self.rng.random() < 0.2
        [taken] = yield Send([self._dequeue(self.plan.short_lease)], hasty=hasty)
        if isinstance(taken, AsynqError):
            return
        for delivery in taken:
            chance = self.rng.random()
            if chance < 0.3:
                continue
            if chance < 0.6:
                wait = self.plan.short_lease * self.rng.uniform(0.5, 3) / 1000
                self._late.append((self._monotonic() + wait, delivery))
                continue
            if chance < 0.7:
                yield Send([ops.ExtendLease(lease=delivery.lease, duration=self.plan.short_lease)])
            yield Send([self._end(delivery)])

    def settle_late(self, *, at_once: bool = False) -> Action:
        """Extend and end runs that were held back, whoever runs their tasks by now."""
        for _ in range(len(self._late)):
            when, delivery = self._late.popleft()
            if when > self._monotonic() and not at_once:
                self._late.append((when, delivery))
            else:
                extend = ops.ExtendLease(lease=delivery.lease, duration=self.plan.short_lease)
                yield Send([extend, self._end(delivery)])

    # --- looking after queues -----------------------------------------------------------------------

    def forward(self) -> Action:
        """Move what is due."""
        yield Send([ops.Forward(queue=queue) for queue in self.plan.queues], together=True)

    def recover(self) -> Action:
        """Take tasks from lost workers."""
        [found] = yield Send([ops.ListLostLeases(queue=self._queue())])
        if isinstance(found, AsynqError):
            return
        for lost in found.leases:
            to = self.rng.choices(_AFTER_LOSS, (8, 1, 1))[0]
            yield Send([ops.Recover(lost=lost, to=to, error="lost", delay=self.rng.randrange(1000))])

    def pause(self) -> Action:
        """Pause a queue for an instant."""
        queue = self._queue()
        yield Send([ops.PauseQueue(queue=queue)])
        yield Rest(self.rng.uniform(0, 0.05))
        yield Send([ops.UnpauseQueue(queue=queue)])

    def meddle(self) -> Action:
        """Move, reschedule or delete a task by hand, wherever it is."""
        if not self._known:
            return
        message = self.rng.choice(self._known)
        kind: Callable[..., ops.Op[None]] = self.rng.choice((ops.DeleteTask, ops.RunTask, ops.UpdateTask))
        later = {"process_in": self.rng.randrange(2500)} if kind is ops.UpdateTask else {}
        yield Send([kind(queue=message.queue, task_id=message.id, **later)])
