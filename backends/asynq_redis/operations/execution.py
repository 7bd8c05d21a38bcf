"""Execute operations as generators of requests, without I/O.

A handler is a generator over a list of operations of one type. It yields rounds of requests and receives
the replies of each round in order. A server's error is a RedisError value in place of a reply. The handler
returns one answer per operation: a result, an AsynqError, or the server's error, which the broker translates.

`steps_of` interleaves any number of handlers, so that each round of all of them is one write. The blocking
and the async side of the broker differ only in how they send that write.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct, field

from asynq.errors import UnsupportedOperationError
from asynq.protocol.broker_time import BrokerTime
from asynq_redis.transport.requests import Reply, Request

if TYPE_CHECKING:
    from asynq.clock import Clock
    from asynq.protocol.ops import Op
    from asynq_redis.transport.routing import Router

T = TypeVar("T")

Steps = Generator[list[Request], list[Reply], T]


class CallContext(Struct, kw_only=True):
    """Context of one `execute_many` call, shared by all its handlers."""

    clock: Clock | None
    """The injected clock. None: the scripts use the server's TIME."""
    clustered: bool = False
    """True if queues may be on different servers. Then a script call must not have keys of two queues."""
    known_queues: set[str] = field(default_factory=set)
    """Names of the queues that this broker has added to the list of all queues."""
    router: Router | None = None
    """What finds the servers. None: there is none, as in tests of scripts."""
    min_replicas: int = 0
    """Number of replicas that must confirm a durable write."""
    time: BrokerTime = field(default_factory=BrokerTime)
    """Estimate of the servers' time."""
    resent: dict[int, Request] = field(default_factory=dict)
    """Requests that were sent again because the reply to an earlier copy was lost. Keyed by identity."""

    def was_resent(self, request: Request) -> bool:
        """Whether an earlier copy of the request may have been applied."""
        return id(request) in self.resent

    def now_argument(self) -> str:
        """The `now` argument of every script: Unix microseconds, or empty for the server's TIME."""
        return "" if self.clock is None else str(self.clock.now() * 1000)

    def milliseconds(self) -> int:
        """The current Unix milliseconds, of the injected clock or as estimated from the servers."""
        return self.time.now() if self.clock is None else self.clock.now()

    def seconds(self) -> int:
        """The current Unix seconds."""
        return self.milliseconds() // 1000


Handler = Callable[[Sequence[Any], CallContext], Steps[list[Any]]]
HANDLERS: dict[type[Op[Any]], Handler] = {}


def implements(operation: type[Op[Any]]) -> Callable[[Handler], Handler]:
    """Register the handler of an operation type."""

    def register(handler: Handler) -> Handler:
        HANDLERS[operation] = handler
        return handler

    return register


def _unsupported(ops: Sequence[Op[Any]], context: CallContext) -> Steps[list[Any]]:  # noqa: ARG001 - a handler
    yield from ()
    return [UnsupportedOperationError(type(op).__name__, "redis") for op in ops]


def per_operation(single: Callable[[Any, CallContext], Steps[Any]]) -> Handler:
    """Make a handler from a generator for one operation. Several operations are interleaved."""

    def handler(ops: Sequence[Any], context: CallContext) -> Steps[list[Any]]:
        if len(ops) == 1:
            return [(yield from single(ops[0], context))]
        return (yield from interleaved([single(op, context) for op in ops]))

    return handler


def interleaved(runs: Sequence[Steps[Any]]) -> Steps[list[Any]]:
    """Run several generators in common rounds. Returns what they returned."""
    ended: list[Any] = [None] * len(runs)
    parts = [(place, 0, 0) for place in range(len(runs))]
    received: Any = None
    while True:
        waiting: list[tuple[int, int, int]] = []
        round_of_all: list[Request] = []
        for place, start, end in parts:
            try:
                # To send None to a generator starts it.
                requests = runs[place].send(received and received[start:end])
            except StopIteration as over:
                ended[place] = over.value
            else:
                before = len(round_of_all)
                round_of_all += requests
                waiting.append((place, before, len(round_of_all)))
        if not waiting:
            return ended
        received, parts = (yield round_of_all), waiting


def steps_of(ops: Sequence[Op[Any]], context: CallContext) -> Steps[list[Any]]:
    """Execute operations, at least one. Those of several types run in common rounds."""
    if len(set(map(type, ops))) > 1:
        return _mixed(ops, context)
    handler: Handler = HANDLERS.get(type(ops[0]), _unsupported)
    return handler(ops, context)


def _mixed(ops: Sequence[Op[Any]], context: CallContext) -> Steps[list[Any]]:
    by_type: dict[type[Op[Any]], list[int]] = {}
    for place, op in enumerate(ops):
        kind = type(op)
        if kind in by_type:
            by_type[kind].append(place)
        else:
            by_type[kind] = [place]
    runs: list[Steps[list[Any]]] = []
    for kind, places in by_type.items():
        handler: Handler = HANDLERS.get(kind, _unsupported)
        runs.append(handler([ops[place] for place in places], context))
    answers: list[Any] = [None] * len(ops)
    for places, found in zip(by_type.values(), (yield from interleaved(runs))):  # noqa: B905 - it is slow
        for place, answer in zip(places, found):  # noqa: B905 - it is slow
            answers[place] = answer
    return answers
