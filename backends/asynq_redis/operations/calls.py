"""Script calls for many operations of one type: per queue, in order, in a bounded number of calls.

An operation that one round answers is a `OneRound`, a row of a table: its script, and how one operation is
appended to the keys and arguments of a call and read from the reply.
"""

from __future__ import annotations

from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar

import redis
from attrs import frozen
from msgspec import Struct, field

from asynq.protocol.ops import MAX_BATCH
from asynq_redis.transport import redis_errors
from asynq_redis.transport.requests import Command
from asynq_redis.wire.keys import ALL_QUEUES, keys_of
from asynq_redis.wire.sizes import LARGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from asynq.protocol.message import TaskMessage
    from asynq_redis.lua.scripts import LuaScript
    from asynq_redis.operations.execution import CallContext, Steps
    from asynq_redis.transport.requests import Arg, Reply
    from asynq_redis.wire.keys import QueueKeys


class OpenCall(Struct):
    """Keys and arguments that operations are appended to."""

    queue: QueueKeys
    keys: list[str]
    args: list[Arg]
    rest: list[str] = field(default_factory=list)
    """Keys behind those of the operations."""
    token: str | None = None
    """The token of the latest settlement. Those of one fetch have the same one."""
    tail: list[Arg] = field(default_factory=list)
    """Arguments behind those of the operations."""


class BatchCall(Struct):
    """A call for several operations of one queue (see ScriptRequest).

    It is composed when it is sent: the server carries out the first calls while this process composes those
    that follow.
    """

    row: OneRound
    queue: QueueKeys
    bounds: tuple[Arg, ...]
    context: CallContext
    ops: list[Any] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    """Positions of the operations."""
    size: int = 0
    """Approximate size in bytes."""
    composed: tuple[list[str], list[Arg]] | None = None

    best_effort: ClassVar[bool] = False
    slot: ClassVar[int | None] = None

    @property
    def script(self) -> LuaScript:
        """See ScriptRequest."""
        return self.row.script

    @property
    def key(self) -> str:
        """See ScriptRequest. Any key of the queue."""
        return self.queue.pending

    @property
    def fail_fast(self) -> bool:
        """See ScriptRequest."""
        return self.row.script.fail_fast

    @property
    def durable(self) -> bool:
        """See ScriptRequest."""
        return self.row.script.durable

    def parts(self) -> tuple[list[str], list[Arg]]:
        """See ScriptRequest. Composed once: a request that is sent again is the same."""
        if self.composed is None:
            row, context = self.row, self.context
            keys, fixed_args = row.fixed_keys(self.queue), row.fixed_args
            args = (context.now_argument(),) if fixed_args is None else fixed_args(self.queue, context)
            call = OpenCall(self.queue, [*keys], [*args, *self.bounds])
            if row.by_id:
                call.args += (self.queue.tasks, len(self.ops))
            append = row.append
            for op in self.ops:
                append(op, call, context)
            self.composed = (call.keys + call.rest, call.args + call.tail)
        return self.composed


@frozen(kw_only=True)
class OneRound:
    """How operations of one type become script calls, and replies become their answers."""

    script: LuaScript
    queue: Callable[[Any], str]
    """The queue of an operation."""
    fixed_keys: Callable[[QueueKeys], tuple[str, ...]]
    fixed_args: Callable[[QueueKeys, CallContext], tuple[Arg, ...]] | None = None
    """None: the time, as most scripts take it."""
    bounds: Callable[[Any], tuple[Arg, ...]] | None = None
    """Further fixed arguments, which all operations of a call have in common."""
    by_id: bool = False
    """True if operations name their tasks by the ids only. What the names of hashes begin with follows the
    fixed arguments, and then the number of operations."""
    size: Callable[[Any], int] | None = None
    """Approximate bytes of what an operation sends, as far as its caller decides. None: few."""
    append: Callable[[Any, OpenCall, CallContext], None]
    """Append an operation's keys and arguments to a call."""
    read: Callable[[Any, Reply], Any]
    """An operation's answer from its part of the reply, which is the whole reply if that is a number."""
    read_resent: Callable[[Any], Any] | None = None
    """Adjusts the answer of an operation that was sent again after a lost reply."""
    creates_tasks: bool = False
    """True if the queues must be listed."""

    def steps(self, ops: Sequence[Any], context: CallContext) -> Steps[list[Any]]:
        """The handler of the operations. An error reply to a call is the answer of all its operations."""
        calls = self._calls(ops, context)
        if not self.creates_tasks:
            replies = yield [*calls]
            return self._answers(len(ops), calls, replies, context)
        # The list of queues is in a slot of its own: a command next to the scripts adds them, every
        # time, since another client may have removed one from the list. A queue that was added before counts
        # as listed while the server of that slot fails, so that enqueues on other servers work.
        names = tuple(dict.fromkeys(map(_QUEUE_NAME, calls)))
        known = context.known_queues.issuperset(names)
        optional = known and context.clustered
        listed, *replies = yield [_listing(names, optional), *calls]
        if isinstance(listed, redis.RedisError) and not (optional and redis_errors.no_answer(listed)):
            return [listed] * len(ops)
        if not known:
            context.known_queues.update(names)
        return self._answers(len(ops), calls, replies, context)

    def _calls(self, ops: Sequence[Any], context: CallContext) -> list[BatchCall]:
        """Distribute the operations to calls.

        A call for several operations has at most LARGE_BYTES: copying more blocks other clients, and a server
        may refuse it.
        """
        calls: list[BatchCall] = []
        latest: dict[Hashable, BatchCall] = {}
        queue_of, bounds_of, size_of = self.queue, self.bounds, self.size
        bounds: tuple[Arg, ...] = ()
        size = 0
        for place, op in enumerate(ops):
            queue = queue_of(op)
            if bounds_of is not None:
                bounds = bounds_of(op)
            if size_of is not None:
                size = size_of(op)
            call = latest.get((queue, bounds))
            if call is None or len(call.places) == MAX_BATCH or call.size + size > LARGE_BYTES:
                call = latest[queue, bounds] = BatchCall(self, keys_of(queue), bounds, context)
                calls.append(call)
            call.ops.append(op)
            call.places.append(place)
            call.size += size
        return calls

    def _answers(
        self, count: int, calls: Sequence[BatchCall], replies: Sequence[Reply], context: CallContext
    ) -> list[Any]:
        answers: list[Any] = [None] * count
        read = self.read
        for call, reply in zip(calls, replies):  # noqa: B905 - it is slow
            if isinstance(reply, redis.RedisError):
                for place in call.places:
                    answers[place] = reply
                continue
            # One number is the part of every operation.
            parts = reply if type(reply) is list else (reply,) * len(call.ops)
            for place, answer in zip(call.places, map(read, call.ops, parts)):  # noqa: B905 - it is slow
                answers[place] = answer
            if self.read_resent is not None and context.was_resent(call):
                for place in call.places:
                    answers[place] = self.read_resent(answers[place])
        return answers


_QUEUE_NAME = attrgetter("queue.queue")


@lru_cache(maxsize=1024)
def _listing(names: tuple[str, ...], optional: bool) -> Command:  # noqa: FBT001 - a key of the cache
    """The command that lists queues."""
    return Command(("SADD", ALL_QUEUES, *names), best_effort=optional, size=0)


def lock_key(hash_key: str, message: TaskMessage) -> str:
    """The key of the task's lock. Without a lock its hash: all tasks have the same number of keys."""
    return message.unique_key or hash_key
