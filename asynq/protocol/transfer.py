"""`TaskImage`: a task with everything that belongs to it, as one broker hands it to another.

While a task is transferred it is *parked* in both brokers: scheduled for PARKED, with a note of the place
that it had. Nothing but the operations of `asynq.protocol.ops.transfer`, an archiving or a deletion moves it.
"""

from __future__ import annotations

import hashlib
from typing import Final, Literal

from msgspec import Struct, msgpack

from asynq.protocol.followers import RESULT_HEADER
from asynq.protocol.message import TaskMessage  # noqa: TC001 - the decoder reads the annotations
from asynq.protocol.sequences import WAITING
from asynq.task_state import TaskState

PARKED: Final = WAITING + 24 * 3600 * 1000
"""Due time of a parked task, in Unix milliseconds: the day after WAITING. No peer forwards it."""
PARKED_MARK: Final = "parked "
"""A parked task has this at the beginning of its lease token, which no other task that is scheduled has."""

_FINISHED: Final = (TaskState.ARCHIVED, TaskState.COMPLETED)


class LockImage(Struct, frozen=True, kw_only=True, gc=False):
    """A uniqueness lock that a task holds. Its name is the `unique_key` of the message."""

    expires_in: int
    """Milliseconds until it ends, at least 1."""
    until: Literal["done", "expiry", "start"] = "done"
    """What else releases it, as in `Unique`."""
    keep: int = 0
    """Milliseconds by which it outlasts each step of the task; 0 if it is not renewed."""


class TaskImage(Struct, frozen=True, kw_only=True, gc=False):
    """A task with everything that belongs to it."""

    message: TaskMessage
    state: TaskState
    """Any state but active."""
    due_at: int = 0
    """As in `StoredTask`; for an aggregating task, the instant at which it was added to its group."""
    pending_since: int = 0
    result: bytes | None = None
    group: str = ""
    """The group that it is in, or joins when it is due; "" if it runs on its own."""
    lock: LockImage | None = None
    """The lock that it holds, if it holds one."""
    lease_losses: int = 0
    cancel: str = ""
    place: int = 0
    """Orders the images of one sequence; 0 for a task that is not, or no longer, in a sequence."""

    @property
    def finished(self) -> bool:
        """Whether the task is archived or completed."""
        return self.state in _FINISHED

    @property
    def identity(self) -> str:
        """Identifies the content: message and result. Two images of one unchanged task have the same."""
        content = msgpack.encode((self.message, self.result), order="deterministic")
        return f"import:{hashlib.sha256(content).hexdigest()}"

    @property
    def arrived(self) -> tuple[int, ...]:
        """Places of the members that have arrived, if the task waits for several."""
        headers = self.message.headers or {}
        found = [name.removeprefix(RESULT_HEADER) for name in headers if name.startswith(RESULT_HEADER)]
        return tuple(sorted(int(place) for place in found if place.isdecimal()))
