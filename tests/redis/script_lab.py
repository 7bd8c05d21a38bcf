"""Executes operations on a Redis server without a broker: one connection, every script call checked.

The check is a rule that no server enforces. On a cluster, access to a key that has just moved away aborts a
script, and its earlier writes remain. Therefore a script must access every undeclared key before its first
write.
"""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import redis
from attrs import frozen

from asynq.clock import FakeClock
from asynq.protocol.message import TaskMessage
from asynq.protocol.ops import Dequeue, Enqueue, Examine
from asynq_redis.operations.execution import CallContext, steps_of
from asynq_redis.transport.requests import Command, ScriptCall

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from asynq.protocol.doctor import Finding
    from asynq.protocol.ops import Op
    from asynq_redis.transport.requests import Request

READS = frozenset(
    {
        *("EXISTS", "TYPE", "GET", "PTTL", "HGET", "HMGET", "HEXISTS", "LRANGE", "LLEN", "LINDEX", "ZCARD"),
        *("ZRANGE", "ZRANGEBYSCORE", "ZSCORE", "ZMSCORE", "SCARD", "SSCAN", "ZSCAN", "SCAN", "MGET"),
        *("SISMEMBER", "SRANDMEMBER", "LPOS", "MEMORY", "ZRANGEBYLEX"),
    }
)
NO_TASK: Mapping[str, Callable[[redis.Redis, str], object]] = {
    "a hash without a message": lambda client, key: client.hset(key, "result", "half"),
    "no hash": lambda client, key: client.set(key, "text"),
}
"""Contents of a task key that is not a task, and how they got there."""
_SEVERAL_KEYS = frozenset({"EXISTS", "DEL"})

_WATCH = """
local server, touched, wrote = redis, {}, false
for _, name in ipairs(KEYS) do touched[name] = true end
local reads, several = {%s}, {%s}
local function watched(call)
  return function(command, ...)
    local names = {...}
    if command == 'TIME' then return call(command) end
    if not several[command] then names = { names[1] } end
    for _, name in ipairs(names) do
      if wrote and not touched[name] then error('TOUCHED AFTER A WRITE: ' .. command .. ' ' .. name) end
      touched[name] = true
    end
    if not reads[command] then wrote = true end
    return call(command, ...)
  end
end
local redis = { call = watched(server.call), pcall = watched(server.pcall), error_reply = server.error_reply }
"""


def watching(text: str) -> str:
    """The script with a check that makes it fail if it breaks the rule."""
    first, newline, rest = text.partition("\n")
    reads, several = (
        ", ".join(f"{name} = true" for name in sorted(names)) for names in (READS, _SEVERAL_KEYS)
    )
    return first + newline + _WATCH % (reads, several) + rest


@frozen
class Signature:
    """The arguments in a script's header: fixed ones, those of each item, and others that some items have."""

    keys: tuple[int, int, int]
    args: tuple[int, int, int]

    @classmethod
    def of(cls, name: str) -> Signature:
        """Read it from the script's file."""
        text = (files("asynq_redis") / "lua" / f"{name}.lua").read_text()
        return cls(_counts(text, "KEYS"), _counts(text, "ARGV"))

    def accepts(self, keys: int, args: int) -> bool:
        """Whether a call may have this many."""
        return any(
            _fits(self.keys, keys, items) and _fits(self.args, args, items)
            for items in range(max(keys, args) + 1)
        )


def _counts(text: str, kind: str) -> tuple[int, int, int]:
    [line] = re.findall(rf"^-- {kind}: (.*)$", text, re.MULTILINE)
    fixed, each, rest = ([*line.split("|"), "", ""])[:3]
    words = each.split()
    rest_words = rest.split() + [word for word in words if word.endswith("*")]
    return len(fixed.split()), len(words), len(rest_words)


def _fits(counts: tuple[int, int, int], given: int, items: int) -> bool:
    fixed, each, more = counts
    needed = fixed + each * items
    return given == needed or (more > 0 and given > needed)


class Batch:
    """Operations in progress."""

    def __init__(self, ops: Sequence[Op[Any]], context: CallContext) -> None:
        self.answers: list[Any] = []
        self._steps = steps_of(ops, context)
        self.requests: list[Request] = next(self._steps)
        """Requests of the current round. Empty when all operations are finished."""

    def feed(self, replies: list[Any]) -> None:
        """Pass the replies, in the order of `requests`. Afterwards `requests` is the next round."""
        try:
            self.requests = self._steps.send(replies)
        except StopIteration as end:
            self.requests, self.answers = [], end.value


class ScriptLab:
    """Executes operations with the injected clock."""

    def __init__(self, client: redis.Redis, clock: FakeClock | None = None) -> None:
        self.client = client
        self.clock = clock or FakeClock()
        self.calls: list[ScriptCall] = []
        """Every script call so far."""
        version: str = client.info("server")["redis_version"]
        self._flags = int(version.partition(".")[0]) >= 7

    def many(self, *ops: Op[Any]) -> list[Any]:
        """The answers; refusals are returned in their places."""
        return self.all(ops)

    def all(self, ops: Sequence[Op[Any]]) -> list[Any]:
        """The answers; refusals are returned in their places."""
        batch = Batch(ops, CallContext(clock=self.clock))
        while batch.requests:
            batch.feed(self.replies(batch))
        return batch.answers

    def replies(self, batch: Batch) -> list[Any]:
        """The server's replies to the next requests of a batch."""
        return [self._send(request) for request in batch.requests]

    def one(self, op: Op[Any]) -> Any:
        """The answer. A refusal is returned, not raised."""
        return self.all([op])[0]

    def interrupted(self, op: Op[Any], meanwhile: Callable[[], object], *, after: int = 1) -> Any:
        """The answer to an operation of several calls. After this many calls, `meanwhile` happens."""
        batch = Batch([op], CallContext(clock=self.clock))
        for _ in range(after):
            batch.feed(self.replies(batch))
        meanwhile()
        while batch.requests:
            batch.feed(self.replies(batch))
        return batch.answers[0]

    def examine(self, queue: str | None = "q", *, repair: bool = False) -> list[Finding]:
        """All findings in a queue, or outside all queues."""
        findings: list[Finding] = []
        cursor = ""
        while True:
            page = self.one(Examine(queue=queue, cursor=cursor, repair=repair))
            findings += page.findings
            cursor = page.cursor
            if not cursor:
                return findings

    def _send(self, request: Request) -> Any:
        if isinstance(request, Command):
            return self._reply(request.args)
        keys, args = request.parts()
        assert Signature.of(request.script.name).accepts(len(keys), len(args)), request
        self.calls.append(ScriptCall(request.script, keys, args))
        text = watching(request.script.text(self._flags))
        return self._reply(("EVAL", text, len(keys), *keys, *args))

    def _reply(self, command: Sequence[Any]) -> Any:
        try:
            return self.client.execute_command(str(command[0]).encode(), *command[1:])  # type: ignore[no-untyped-call]
        except redis.ResponseError as error:
            if "script" in str(error):
                raise  # a script that fails half-way, not one that refuses
            return error

    def content(self) -> dict[Any, Any]:
        """All stored data by key."""
        return {key: self.client.dump(key) for key in self.client.scan_iter()}

    def enqueue(self, *messages: TaskMessage, **options: Any) -> list[Any]:
        """Enqueue each message with its own enqueue id."""
        return self.all([Enqueue(message=message, enqueue_id=message.id, **options) for message in messages])

    def take(
        self, count: int = 1, queue: str = "q", *, token: str = "token", lease: int = 30_000
    ) -> list[Any]:
        """Dequeue this many tasks."""
        return list(self.one(Dequeue(orders=((queue,),) * count, token=token, lease=lease)))


def message(task_id: str, queue: str = "q", **fields: Any) -> TaskMessage:
    """A task of one queue."""
    return TaskMessage(id=task_id, type="email", queue=queue, **fields)


def unique(task_id: str, **fields: Any) -> TaskMessage:
    """A task with the same lock as all others made here."""
    return message(task_id, unique_key="asynq:{q}:unique:email:", **fields)
