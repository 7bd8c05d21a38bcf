"""Operations as steps: what to send and what to make of the replies, without any I/O.

A handler is a generator over a *list* of operations of one type: it yields rounds of requests and is sent
the replies of each round, in order, a server's error as a RedisError value in the place of a reply. What it
returns are the answers, one per operation, an AsynqError in the place of an answer that was refused, or the
server's own error, which the broker translates.
`Batch` runs any number of handlers side by side, so that each round of all of them is one packed write; the
plain and the awaited face of the broker differ only in how they send that write.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import field, frozen

from asynq.errors import UnsupportedOperationError
from asynq.protocol.broker_time import BrokerTime
from asynq_redis.transport.requests import Reply, Request

if TYPE_CHECKING:
    from asynq.clock import Clock
    from asynq.protocol.ops import Op

T = TypeVar("T")

Steps = Generator[list[Request], list[Reply], T]


@frozen(kw_only=True)
class CallContext:
    """What handlers may know of their surroundings."""

    clock: Clock | None
    """The injected clock; None: scripts go by the server's TIME."""
    clustered: bool = False
    """True if queues may live on different servers: then no call may name keys of two."""
    known_queues: set[str] = field(factory=set)
    """Names of queues this broker has added to the list of all queues."""
    resent: dict[int, Request] = field(factory=dict)
    """Requests whose reply is that of a copy: the reply to an earlier one was lost. By identity."""
    time: BrokerTime = field(factory=BrokerTime)
    """What servers have told of their time."""
    started_at: int = field(init=False)
    """Mark of `time` from before anything was sent."""

    @started_at.default
    def _mark(self) -> int:
        return self.time.mark()

    def was_resent(self, request: Request) -> bool:
        """True if an earlier copy of the request may have done what this one found done."""
        return id(request) in self.resent

    def now_argument(self) -> str:
        """`now` as every script takes it: microseconds, or empty for the server's TIME."""
        return "" if self.clock is None else str(self.clock.now() * 1000)

    def record_server_time(self, now: int) -> None:
        """A server has answered that it is now this time."""
        self.time.update(now, sent=self.started_at)

    def milliseconds(self) -> int:
        """The present time: the injected clock's, or as servers have told it."""
        return self.time.now() if self.clock is None else self.clock.now()

    def seconds(self) -> int:
        """The same in Unix seconds."""
        return self.milliseconds() // 1000


Handler = Callable[[Sequence[Any], CallContext], Steps[list[Any]]]
HANDLERS: dict[type[Op[Any]], Handler] = {}


def implements(operation: type[Op[Any]]) -> Callable[[Handler], Handler]:
    """Register a handler for an operation."""

    def register(handler: Handler) -> Handler:
        HANDLERS[operation] = handler
        return handler

    return register


def _handler(operation: type[Op[Any]]) -> Handler:
    return HANDLERS.get(operation, _unsupported)


def _unsupported(ops: Sequence[Op[Any]], context: CallContext) -> Steps[list[Any]]:  # noqa: ARG001 - a handler
    yield from ()
    return [UnsupportedOperationError(type(op).__name__, "redis") for op in ops]


def per_operation(single: Callable[[Any, CallContext], Steps[Any]]) -> Handler:
    """A handler that carries out each operation by itself, all of them in the same rounds."""

    def handler(ops: Sequence[Any], context: CallContext) -> Steps[list[Any]]:
        return (yield from interleaved([single(op, context) for op in ops]))

    return handler


def interleaved(runs: Sequence[Steps[Any]]) -> Steps[list[Any]]:
    """Drive several runs at once: each round is one round of all that have not ended. What they returned."""
    ended: list[Any] = [None] * len(runs)
    replies: dict[int, list[Reply] | None] = dict.fromkeys(range(len(runs)))
    while True:
        waiting: dict[int, list[Request]] = {}
        for place, fed in replies.items():
            try:
                waiting[place] = next(runs[place]) if fed is None else runs[place].send(fed)
            except StopIteration as end:
                ended[place] = end.value
        if not waiting:
            return ended
        received = iter((yield [request for requests in waiting.values() for request in requests]))
        replies = {place: list(islice(received, len(requests))) for place, requests in waiting.items()}


class Batch:
    """Operations under way: each round is one list of requests and one list of replies."""

    def __init__(self, ops: Sequence[Op[Any]], context: CallContext) -> None:
        self.answers: list[Any] = [None] * len(ops)
        self.requests: list[Request] = []
        """What the live runs wait for; empty when all have ended."""
        by_type: dict[type[Op[Any]], list[int]] = {}
        for place, op in enumerate(ops):
            by_type.setdefault(type(op), []).append(place)
        self._places = list(by_type.values())
        self._run = interleaved(
            [_handler(type_)([ops[place] for place in places], context) for type_, places in by_type.items()]
        )
        self._advance(None)

    def feed(self, replies: Sequence[Reply]) -> None:
        """Give the replies, in the order of `requests`; there may be further requests then."""
        self._advance(list(replies))

    def _advance(self, replies: list[Reply] | None) -> None:
        try:
            self.requests = next(self._run) if replies is None else self._run.send(replies)
        except StopIteration as end:
            self.requests = []
            for places, answers in zip(self._places, end.value, strict=True):
                for place, answer in zip(places, answers, strict=True):
                    self.answers[place] = answer
