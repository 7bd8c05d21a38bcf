"""What is stored, as MessagePack, and the keys it is stored under."""

from __future__ import annotations

from hashlib import blake2b
from struct import pack
from typing import Final

from msgspec import Struct, field, msgpack

from asynq.message import TaskMessage, TaskState

LATEST: Final = 2**63 - 1
FINISHED: Final = (TaskState.ARCHIVED, TaskState.COMPLETED)


class Task(Struct, omit_defaults=True):
    """A task's life. Its message is encoded by itself, so that damage to it leaves the rest readable."""

    queue: str
    id: str
    state: TaskState
    rank: int
    """Where it stands in its state: at an instant, or, when pending, at a number."""
    message: bytes
    enqueue_id: str
    answer: tuple[TaskState, int]
    """What its Enqueue was answered, for a copy of it."""
    lock: str
    token: str = ""
    """Of its lease; after the run, of the settlement that ended it."""
    losses: int = 0
    since: int = 0
    result: bytes | None = None


class Queue(Struct, omit_defaults=True):
    """A queue's switches and numbers."""

    name: str
    listed: bool = False
    paused: bool = False
    head: int = 0
    tail: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    runs: dict[str, tuple[int, int]] = field(default_factory=dict)
    """How many ended and how many failed, by day and ever."""


class Lock(Struct, omit_defaults=True):
    """A uniqueness lock, and the task that took it."""

    name: str
    queue: str
    task_id: str
    expires_at: int
    until: str
    keep: bool


encode = msgpack.encode
task_of = msgpack.Decoder(Task).decode
queue_of = msgpack.Decoder(Queue).decode
lock_of = msgpack.Decoder(Lock).decode
message_of = msgpack.Decoder(TaskMessage).decode


def key_of(*names: str) -> bytes:
    """A key of 16 bytes: LMDB takes at most 511, and names may have any length."""
    return blake2b("".join(f"{len(name)}:{name}" for name in names).encode(), digest_size=16).digest()


def entry(listing: bytes, rank: int, key: bytes) -> bytes:
    """A listing of the index has one entry per task, in the order of their ranks."""
    return listing + pack(">Q", rank + 2**63) + key


def entries(task: Task) -> list[bytes]:
    """The listings a task is in: that of its state and, while it runs, that of its token."""
    key = key_of("task", task.queue, task.id)
    found = [entry(key_of("state", task.queue, task.state), task.rank, key)]
    return found if task.state != "active" else [*found, entry(key_of("held", task.token), 0, key)]
