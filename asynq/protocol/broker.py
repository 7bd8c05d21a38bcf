"""The broker protocol: Broker, its Capabilities, and the events that it reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from attrs import frozen

from asynq.errors import UnsupportedOperationError
from asynq.protocol.ops import Enqueue, EnqueueTick, all_operations
from asynq.protocol.value_sizes import too_large

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from asynq.clock import Clock
    from asynq.errors import AsynqError
    from asynq.protocol.ops import Op

T = TypeVar("T")

_KNOWN = frozenset(all_operations())


@frozen(kw_only=True)
class Capabilities:
    """What a backend can do, as data: printed in reports, asked by callers instead of its name."""

    backend: str
    """Short name for messages: "redis", "sqlite", ..."""
    durability: Literal["none", "process", "power", "replicated"]
    """What an acknowledged write survives: nothing, a crash of its process, of the machine, of a server."""
    multi_process: bool
    """True if several processes can share the broker; it can then be pickled to them."""
    wakeup: Literal["push", "poll"] = "push"
    """push: an idle listener is told of new tasks; poll: it is not."""
    groups: bool = True
    """False: an Enqueue into a group is refused with UnsupportedOperationError."""
    unsupported: frozenset[type[Op[object]]] = frozenset()
    """Operations that answer UnsupportedOperationError; none of `asynq.protocol.ops.CORE`."""
    max_value_bytes: int | None = None
    """Most bytes of a payload together with its headers, and of a result: an operation that brings a larger
    one is refused with PayloadTooLargeError or ResultTooLargeError. None: no limit is stated."""

    def supports(self, *operations: type[Op[Any]]) -> bool:
        """True if all of these operations are supported."""
        return self.unsupported.isdisjoint(operations)

    def refusal(self, op: Op[Any]) -> AsynqError | None:
        """The answer to an operation a backend with these capabilities does not carry out; else None.

        UnsupportedOperationError, PayloadTooLargeError or ResultTooLargeError.
        """
        if type(op) not in _KNOWN or not self.supports(type(op)):
            return UnsupportedOperationError(type(op).__name__, self.backend)
        enqueue = op.enqueue if isinstance(op, EnqueueTick) else op
        if isinstance(enqueue, Enqueue) and enqueue.message.group and not self.groups:
            return UnsupportedOperationError("groups", self.backend)
        return too_large(op, self.max_value_bytes)


@frozen
class Wake:
    """A queue may have tasks now. Also sent when a listener was (re)armed: look once."""

    queue: str | None = None


@frozen
class CancelRequested:
    """Somebody wants the run of a task to end."""

    task_id: str
    queue: str | None = None
    """None: whichever queue (a Go peer does not say)."""
    then: Literal["archive", "retry"] = "retry"


Event = Wake | CancelRequested


class Listener(Protocol):
    """A stream of events. A lost event delays work, it never loses it: whoever waits also polls."""

    async def arm(self, queues: Sequence[str]) -> None:
        """From now on tell of changes in these queues. Look once after arming."""
        ...

    async def disarm(self) -> None:
        """Tell of queues no more; cancellations still come."""
        ...

    async def next(self) -> Event:
        """The next event; waits for it, over any number of reconnections. Safe to cancel."""
        ...

    async def aclose(self) -> None:
        """Free what the listener holds; a waiting `next` ends with BrokerUnavailable."""
        ...


class Watcher(Protocol):
    """Tells when single tasks change, whoever changes them. A lost word delays: whoever waits also polls."""

    async def watch(self, queue: str, task_id: str) -> asyncio.Future[None]:
        """A future that is done when the task has changed, or when a change would be told no longer.

        Look at the task once after this returned. The future may be done without a change; cancel it when it
        is of no more use. BrokerUnavailable or BrokerRefusedError when nothing would be told.
        """
        ...

    async def aclose(self) -> None:
        """Free what the watcher holds; all its futures are done. Watching again begins anew."""
        ...


class Broker(Protocol):
    """Keeps tasks and executes operations on them: one object, a plain face and an awaited one.

    A broker may be used from any thread and any event loop, and again after a fork; each face connects
    when it is first used. Errors are AsynqErrors, always. `execute_many` promises neither order nor
    atomicity between its operations, except that enqueues into one queue keep their order; it answers in
    the order asked, an AsynqError in the place of an answer where one operation was refused. When the
    broker cannot be reached it raises BrokerUnavailable for them all.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What this broker can do."""
        ...

    @property
    def clock(self) -> Clock | None:
        """The clock operations go by; None: the store's own time."""
        ...

    def execute(self, op: Op[T], /) -> T:
        """Carry out one operation and answer, or raise its error."""
        ...

    def execute_many(self, ops: Sequence[Op[T]], /) -> list[T | AsynqError]:
        """Carry out many operations with as few round trips as possible."""
        ...

    def close(self) -> None:
        """Free the plain face's connections. Using the broker again opens them again."""
        ...

    async def aexecute(self, op: Op[T], /) -> T:
        """`execute`, awaited."""
        ...

    async def aexecute_many(self, ops: Sequence[Op[T]], /) -> list[T | AsynqError]:
        """`execute_many`, awaited."""
        ...

    async def aclose(self) -> None:
        """Free the connections the running event loop uses."""
        ...

    def listener(self) -> Listener:
        """A stream of this broker's events, for the running event loop."""
        ...

    def watcher(self) -> Watcher:
        """Tells of changes to single tasks, for the running event loop."""
        ...


def require(broker: Broker, *operations: type[Op[Any]]) -> None:
    """Refuse a broker that lacks one of these operations: UnsupportedOperationError names it."""
    for operation in operations:
        if not broker.capabilities.supports(operation):
            raise UnsupportedOperationError(operation.__name__, broker.capabilities.backend)
