"""Script calls for many operations of one type: per queue, in order, in a bounded number of calls.

An operation that one round answers is a `OneRound`, a row of a table: its script, and how one operation is
appended to the keys and arguments of a call and read from the reply.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

import redis
from attrs import frozen
from msgspec import Struct, field

from asynq.protocol.ops import MAX_BATCH
from asynq_redis.transport import redis_errors
from asynq_redis.transport.requests import Command, ScriptCall
from asynq_redis.wire.keys import ALL_QUEUES, keys_of
from asynq_redis.wire.sizes import LARGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from asynq.protocol.message import TaskMessage
    from asynq_redis.lua.scripts import LuaScript
    from asynq_redis.operations.execution import CallContext, Steps
    from asynq_redis.transport.requests import Arg, Reply, Request
    from asynq_redis.wire.keys import QueueKeys


class OpenCall(Struct):
    """A script call that operations are appended to."""

    queue: QueueKeys
    keys: list[str]
    args: list[Arg]
    places: list[int] = field(default_factory=list)
    """Positions of its operations."""
    size: int = 0
    """Approximate bytes of what was appended."""
    rest: list[str] = field(default_factory=list)
    """Keys behind those of the operations."""


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
    append: Callable[[Any, OpenCall, CallContext], int]
    """Append an operation's keys and arguments to a call. Returns their approximate bytes."""
    read: Callable[[Any, Reply], Any]
    """An operation's answer from its part of the reply."""
    read_resent: Callable[[Any], Any] | None = None
    """Adjusts the answer of an operation that was sent again after a lost reply."""
    creates_tasks: bool = False
    """True if the queues must be listed."""

    def steps(self, ops: Sequence[Any], context: CallContext) -> Steps[list[Any]]:
        """The handler of the operations. An error reply to a call is the answer of all its operations."""
        calls = self._calls(ops, context)
        requests: list[Request] = []
        for call in calls:
            requests.append(ScriptCall(self.script, call.keys + call.rest, call.args, call.size))  # noqa: PERF401
        if not self.creates_tasks:
            replies = yield requests
            return self._answers(ops, calls, requests, replies, context)
        # The list of queues is in a slot of its own: a command next to the scripts adds them, every
        # time, since another client may have removed one from the list. A queue that was added before counts
        # as listed while the server of that slot fails, so that enqueues on other servers work.
        names = tuple(dict.fromkeys(map(_QUEUE_NAME, calls)))
        known = context.clustered and context.known_queues.issuperset(names)
        listed, *replies = yield [Command(("SADD", ALL_QUEUES, *names), best_effort=known, size=0), *requests]
        if isinstance(listed, redis.RedisError) and not (known and redis_errors.no_answer(listed)):
            return [listed] * len(ops)
        context.known_queues.update(names)
        return self._answers(ops, calls, requests, replies, context)

    def _calls(self, ops: Sequence[Any], context: CallContext) -> list[OpenCall]:
        """Append the operations to calls.

        A call for several operations has at most LARGE_BYTES: copying more blocks other clients, and a server
        may refuse it.
        """
        calls: list[OpenCall] = []
        latest: dict[Hashable, OpenCall] = {}
        for place, op in enumerate(ops):
            queue = self.queue(op)
            bounds = () if self.bounds is None else self.bounds(op)
            call = latest.get((queue, bounds))
            if call is None or len(call.places) == MAX_BATCH:
                call = latest[queue, bounds] = self._open(queue, bounds, context)
                calls.append(call)
            keys, args, rest = len(call.keys), len(call.args), len(call.rest)
            size = self.append(op, call, context)
            if call.places and call.size + size > LARGE_BYTES:
                full, call = call, self._open(queue, bounds, context)
                latest[queue, bounds] = call
                calls.append(call)
                del full.keys[keys:], full.args[args:], full.rest[rest:]
                self.append(op, call, context)
            call.places.append(place)
            call.size += size
        return calls

    def _open(self, queue: str, bounds: tuple[Arg, ...], context: CallContext) -> OpenCall:
        keys = keys_of(queue)
        args: list[Arg]
        if self.fixed_args is None:
            args = [context.now_argument(), *bounds]
        else:
            args = [*self.fixed_args(keys, context), *bounds]
        return OpenCall(keys, [*self.fixed_keys(keys)], args)

    def _answers(
        self,
        ops: Sequence[Any],
        calls: Sequence[OpenCall],
        requests: Sequence[Request],
        replies: Sequence[Reply],
        context: CallContext,
    ) -> list[Any]:
        answers: list[Any] = [None] * len(ops)
        read = self.read
        for call, request, reply in zip(calls, requests, replies, strict=True):
            if isinstance(reply, redis.RedisError):
                for place in call.places:
                    answers[place] = reply
                continue
            for place, part in zip(call.places, reply, strict=True):
                answers[place] = read(ops[place], part)
            if self.read_resent is not None and context.was_resent(request):
                for place in call.places:
                    answers[place] = self.read_resent(answers[place])
        return answers


_QUEUE_NAME = attrgetter("queue.queue")


def lock_key(hash_key: str, message: TaskMessage) -> str:
    """The key of the task's lock. Without a lock its hash: all tasks have the same number of keys."""
    return message.unique_key or hash_key
