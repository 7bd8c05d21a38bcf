"""Stored messages that cannot be decoded: they are archived, with a decodable replacement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from asynq_redis.lua.scripts import SET_ASIDE
from asynq_redis.transport.requests import ScriptCall
from asynq_redis.wire import task_message
from asynq_redis.wire.keys import QueueKeys

if TYPE_CHECKING:
    from asynq.protocol.message import TaskMessage
    from asynq_redis.operations.execution import CallContext


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
        return task_message.decode_as(queue, raw_id.decode("utf-8", "replace"), data)
    except task_message.UndecodableMessageError as error:
        return Undecodable(queue, raw_id, data, error)
