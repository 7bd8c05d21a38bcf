"""Batch operations into script calls: per queue, in order, at most MAX_BATCH operations per call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import redis
from attrs import frozen

from asynq.protocol.ops import MAX_BATCH
from asynq_redis.lua.scripts import SET_ASIDE
from asynq_redis.transport.requests import ScriptCall, size_of
from asynq_redis.wire import task_message
from asynq_redis.wire.keys import QueueKeys
from asynq_redis.wire.sizes import LARGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from asynq.protocol.message import TaskMessage
    from asynq_redis.lua.scripts import LuaScript
    from asynq_redis.operations.execution import CallContext, Steps
    from asynq_redis.transport.requests import Arg, Reply, Request

K = TypeVar("K", bound="Hashable")


@frozen
class Item:
    """The keys and arguments of one operation in a script call."""

    keys: tuple[str, ...]
    args: tuple[Arg, ...]

    def size(self) -> int:
        """Approximate bytes of the arguments."""
        return size_of(self.args)


def split_into_calls(items: Sequence[tuple[K, Item]]) -> Iterator[tuple[K, list[int]]]:
    """Split items into calls, in order. Yields what the items of a call have in common, and their positions.

    A call for several items has at most LARGE_BYTES: copying more blocks other clients, and a server may
    refuse it.
    """
    open_calls: dict[K, tuple[list[int], int]] = {}
    for place, (common, item) in enumerate(items):
        places, size = open_calls.get(common, ([], 0))
        if places and (len(places) == MAX_BATCH or size + item.size() > LARGE_BYTES):
            yield common, places
            places, size = [], 0
        places.append(place)
        open_calls[common] = (places, size + item.size())
    for common, (places, _) in open_calls.items():
        yield common, places


def run_in_calls(
    items: Sequence[tuple[K, Item]],
    call: Callable[[K, list[Item]], ScriptCall],
    answer: Callable[[int, Reply], Any],
    context: CallContext,
    resent: Callable[[Any], Any] = lambda answer: answer,
) -> Steps[list[Any]]:
    """Run the operations in script calls and return their answers.

    An error reply to a call is the answer of all its operations.

    Args:
        items: For each operation, what all operations of a call must have in common, and its item.
        call: Makes the call for some items.
        answer: Makes an operation's answer from its position and its part of the reply.
        context: The context of the call.
        resent: Adjusts the answer of an operation that was sent again after a lost reply.
    """
    answers: list[Any] = [None] * len(items)
    cut = list(split_into_calls(items))
    calls: list[Request] = [call(common, [items[place][1] for place in places]) for common, places in cut]
    replies = yield calls
    for (_, places), request, reply in zip(cut, calls, replies, strict=True):
        if isinstance(reply, redis.RedisError):
            for place in places:
                answers[place] = reply
        else:
            for place, part in zip(places, reply, strict=True):
                answers[place] = answer(place, part)
                if context.was_resent(request):
                    answers[place] = resent(answers[place])
    return answers


def call_for_items(
    script: LuaScript,
    keys: Sequence[str],
    args: Sequence[Arg],
    items: Sequence[Item],
    rest: Sequence[str] = (),
) -> ScriptCall:
    """Make a call for several items: fixed keys and arguments, then those of each item, then `rest`."""
    all_keys, all_args = [*keys], [*args]
    for item in items:
        all_keys += item.keys
        all_args += item.args
    return ScriptCall(script, (*all_keys, *rest), tuple(all_args))


def lock_key(hash_key: str, message: TaskMessage) -> str:
    """The key of the task's lock. Without a lock its hash: all tasks have the same number of keys."""
    return message.unique_key or hash_key


@frozen
class Undecodable:
    """A task whose stored message cannot be decoded."""

    queue: str
    raw_id: bytes
    data: bytes
    why: task_message.UndecodableMessageError

    @property
    def task_id(self) -> str:
        """The id as text. Invalid UTF-8 is replaced."""
        return self.raw_id.decode(errors="replace")

    def set_aside(self, context: CallContext) -> ScriptCall:
        """The call that archives the task with the reason."""
        keys = QueueKeys(self.queue)
        message = task_message.replacement(self.queue, self.task_id, self.data, self.why)
        return ScriptCall(
            SET_ASIDE,
            (keys.active, keys.lease, keys.archived, keys.task("").encode() + self.raw_id),
            (context.now_argument(), self.raw_id, self.data, task_message.encode(message)),
        )


def read_message(queue: str, raw_id: bytes, data: bytes) -> TaskMessage | Undecodable:
    """Decode the message of a task. Returns Undecodable if that fails."""
    try:
        return task_message.decode_as(queue, raw_id.decode(errors="replace"), data)
    except task_message.UndecodableMessageError as error:
        return Undecodable(queue, raw_id, data, error)
