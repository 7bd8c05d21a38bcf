"""Unique tasks as Go puts them into groups: only the message of such a task names its lock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asynq_redis.wire import task_message
from tests.redis.script_lab import ScriptLab, message

if TYPE_CHECKING:
    from asynq.protocol.message import TaskMessage

P = "asynq:{q}:"
LOCK = f"{P}unique:email:"
GROUP = f"{P}g:g"
NOW = 1_700_000_000


def go_message(task_id: str = "go", **fields: Any) -> TaskMessage:
    """A unique task of a group."""
    return message(task_id, group="g", retention=60, **{"unique_key": LOCK, **fields})


def go_leaves(lab: ScriptLab, state: str, data: bytes | None = None, task_id: str = "go") -> None:
    """What Go has in Redis for a unique task that it put into a group, which is in this state now."""
    data = task_message.encode(go_message(task_id)) if data is None else data
    lab.client.hset(f"{P}t:{task_id}", mapping={"msg": data, "state": state, "group": "g"})
    lab.client.set(LOCK, task_id, ex=3600)
    match state:
        case "aggregating":
            lab.client.zadd(GROUP, {task_id: NOW})
            lab.client.sadd(f"{P}groups", "g")
        case "pending":
            lab.client.lpush(f"{P}pending", task_id)
        case _:
            lab.client.zadd(f"{P}{state}", {task_id: NOW})
    lab.client.sadd("asynq:queues", "q")


def locked(lab: ScriptLab) -> bool:
    """Whether the lock exists."""
    return bool(lab.client.exists(LOCK))
