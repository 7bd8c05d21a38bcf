"""The interface of a broker: `Broker`, its `Capabilities`, and the events of its listeners and watchers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from msgspec import Struct

from asynq.errors import UnsupportedOperationError
from asynq.protocol.followers import is_joining, is_parent
from asynq.protocol.ops import (
    AdvanceSequences,
    Arrive,
    Enqueue,
    EnqueueTick,
    FinishAggregation,
    FinishParent,
    TakeParents,
    all_operations,
)
from asynq.protocol.value_sizes import too_large

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from asynq.clock import Clock
    from asynq.errors import AsynqError
    from asynq.protocol.message import TaskMessage
    from asynq.protocol.ops import Op

T = TypeVar("T")

_KNOWN = frozenset(all_operations())
_FOR_FOLLOWERS = (TakeParents, FinishParent, Arrive)


class Capabilities(Struct, frozen=True, kw_only=True):
    """What a backend supports, as data. Callers check it, not the backend's name, and reports show it."""

    backend: str
    """Short name for messages: "redis", "sqlite", ..."""
    durability: Literal["none", "process", "power", "replicated"]
    """What an acknowledged write survives: "none": nothing; "process": a crash of the process; "power": a
    crash of the machine; "replicated": the loss of a server."""
    multi_process: bool
    """True if several processes can share the broker. It can then be pickled and sent to them."""
    wakeup: Literal["push", "poll"] = "push"
    """"push": the backend notifies idle listeners of new tasks; "poll": it does not."""
    concurrent_calls: bool = True
    """False: calls of a process are carried out one after the other, so a worker makes one at a time."""
    groups: bool = True
    """False: an Enqueue into a group raises UnsupportedOperationError."""
    unsupported: frozenset[type[Op[object]]] = frozenset()
    """Operations that raise UnsupportedOperationError. None of `asynq.protocol.ops.CORE` may be among them.
    A backend without AdvanceSequences has no sequences: an Enqueue into one raises the same error. Without
    TakeParents, FinishParent or Arrive it has no followers: an Enqueue of a task
    that others follow, or that waits for others, raises it."""
    max_value_bytes: int | None = None
    """The most bytes of a payload together with its headers, and of a result. An operation with a larger
    value raises PayloadTooLargeError or ResultTooLargeError. None: the backend states no limit."""

    def supports(self, *operations: type[Op[Any]]) -> bool:
        """True if all of these operations are supported."""
        return self.unsupported.isdisjoint(operations)

    def lacking(self, op: Op[Any]) -> str:
        """What the backend lacks for an enqueue: "groups", "sequences", "followers"; "" for nothing."""
        enqueue = op.enqueue if isinstance(op, EnqueueTick | FinishAggregation) else op
        if isinstance(enqueue, Enqueue) and enqueue.message.group and not self.groups:
            return "groups"
        if isinstance(enqueue, Enqueue) and enqueue.message.sequence and not self.supports(AdvanceSequences):
            return "sequences"
        if isinstance(enqueue, Enqueue) and _follows(enqueue.message) and not self.supports(*_FOR_FOLLOWERS):
            return "followers"
        return ""

    def refusal(self, op: Op[Any]) -> AsynqError | None:
        """The error for an operation that a backend with these capabilities refuses; None if it does not.

        UnsupportedOperationError, PayloadTooLargeError or ResultTooLargeError.
        """
        if type(op) not in _KNOWN or type(op) in self.unsupported:
            return UnsupportedOperationError(type(op).__name__, self.backend)
        if (self.unsupported or not self.groups) and (lacking := self.lacking(op)):
            return UnsupportedOperationError(lacking, self.backend)
        return too_large(op, self.max_value_bytes)


def _follows(message: TaskMessage) -> bool:
    return is_parent(message) or is_joining(message)


class Wake(Struct, frozen=True):
    """A queue may have tasks. Also sent when a listener was armed or reconnected: check the queues once."""

    queue: str | None = None
    tasks: Literal["any", "pending", "scheduled"] = "any"
    """Which tasks of the queue changed: "pending": those that can be dequeued; "scheduled": those that wait
    for their due time, retries too; "any": the backend does not say."""


class CancelRequested(Struct, frozen=True):
    """A client requested that the run of a task ends."""

    task_id: str
    queue: str | None = None
    """None: any queue, because a Go peer does not name it."""
    then: Literal["archive", "retry"] = "retry"


Event = Wake | CancelRequested


class Listener(Protocol):
    """A stream of events. A lost event delays work but does not lose it: callers poll as well."""

    @property
    def live(self) -> bool:
        """True while events are certain to be delivered, so that polls may be rare.

        A backend may return True only if the listener is armed, if the store answered within the last few
        seconds, if every Dequeue by any worker causes a Wake, and if LostLeases states `next_expiry`. False
        is always safe.
        """
        ...

    async def arm(self, queues: Sequence[str]) -> None:
        """Start delivering events for these queues, in place of earlier ones.

        Check the queues once after calling this; changes made before it are not reported.
        """
        ...

    async def disarm(self) -> None:
        """Stop delivering events for queues. Cancellations are still delivered."""
        ...

    async def next(self) -> Event:
        """Wait for the next event, across any number of reconnections. Safe to cancel."""
        ...

    async def aclose(self) -> None:
        """Free the listener's resources. A pending `next` raises BrokerUnavailable."""
        ...


class Watcher(Protocol):
    """Reports changes to single tasks, whoever makes them.

    A lost notification delays a caller, so callers poll as well.
    """

    async def watch(self, queue: str, task_id: str) -> asyncio.Future[None]:
        """A future that is done when the task changed, or when changes can no longer be reported.

        Read the task once after this returns. The future may be done without a change. Cancel it when it is
        no longer needed. BrokerUnavailable or BrokerRefusedError when no change can be reported.
        """
        ...

    async def aclose(self) -> None:
        """Free the watcher's resources and complete all its futures. `watch` may be called again."""
        ...


class Broker(Protocol):
    """Stores tasks and executes operations on them, through a blocking and an async interface.

    A broker may be used from any thread and any event loop, and again after a fork. Each of the two
    interfaces connects when it is first used. All errors are AsynqErrors.

    `execute_many` guarantees neither order nor atomicity between its operations, except that enqueues into
    one queue keep their order. Its answers are in the order of the operations, with an AsynqError in place of
    an answer where one operation was refused. It raises BrokerUnavailable for all of them when the broker
    cannot be reached.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What this broker supports."""
        ...

    @property
    def clock(self) -> Clock | None:
        """The clock that operations use; None: the time of the store."""
        ...

    def execute(self, op: Op[T], /) -> T:
        """Execute one operation; return its answer or raise its error."""
        ...

    def execute_many(self, ops: Sequence[Op[T]], /) -> list[T | AsynqError]:
        """Execute many operations with as few round trips as possible."""
        ...

    def close(self) -> None:
        """Close the connections of the blocking interface. Using the broker again opens new ones."""
        ...

    async def aexecute(self, op: Op[T], /) -> T:
        """Async version of `execute`."""
        ...

    async def aexecute_many(self, ops: Sequence[Op[T]], /) -> list[T | AsynqError]:
        """Async version of `execute_many`."""
        ...

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        ...

    def listener(self) -> Listener:
        """A listener for this broker's events on the running event loop."""
        ...

    def watcher(self) -> Watcher:
        """A watcher of single tasks on the running event loop."""
        ...


def require(broker: Broker, *operations: type[Op[Any]]) -> None:
    """Raise UnsupportedOperationError if the broker lacks one of these operations."""
    for operation in operations:
        if not broker.capabilities.supports(operation):
            raise UnsupportedOperationError(operation.__name__, broker.capabilities.backend)
