"""Operations that move a task from one broker to another: claim its queue, export, import and release it.

A move of a task takes four steps, each of which may be repeated: park it in the source (ExportTask), import
its image into the destination, where it is parked as well (ImportTask), delete it in the source, and only
then restore it in the destination (both ReleaseTask). From the first step to the last no worker, forwarder,
aggregator or janitor finds it on either side. Whoever takes over after an interruption finds what is parked
with ListParked, and continues at the step that is due.

Who moves tasks claims the queue on both sides first (ClaimTransfer). The other operations state the `claim`,
the holder of it, and change nothing when another one has taken it: LeaseLostError. With an empty one they do
not ask. A parked task is noted with the `transfer` that parked it, a name without spaces that says from which
store to which: to the operations of any other transfer it is as if there were no parked task.

A parked task is scheduled for `asynq.protocol.transfer.PARKED`. It keeps its lock, and its place in its
sequence, whose other tasks wait. It can be archived and deleted by hand; RunTask and UpdateTask raise
TaskStateError, and MoveTasks does not run it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from asynq.checks import check_one_of
from asynq.protocol.ops.base import Op

if TYPE_CHECKING:
    from asynq.protocol.transfer import TaskImage

_check_target = check_one_of("restored", "deleted")


class ClaimTransfer(Op[str], frozen=True, kw_only=True):
    """Keep others from transferring tasks of a queue for `hold` from now. The identity of this store, or "".

    "" when another holder has the claim. One whose hold has ended keeps it, for an hour at least, until
    another holder takes it. With `renew`, a claim is only extended, and never taken. A `hold` of 0 ends the
    claim. The identity is the same for all queues and for good, and no other store has it.
    """

    queue: str
    holder: str
    hold: int
    """Duration."""
    renew: bool = False


class ExportTask(Op["TaskImage"], frozen=True, kw_only=True):
    """The image of a task, of a parked one as it was before. With `park`, it is parked in the same step.

    TaskNotFoundError, also for a task that cannot be decoded. TaskStateError, and nothing changed, when the
    task is active or held by an aggregator, when a server holds it to enqueue its followers, or when it waits
    in a sequence of which another task is active. TaskNotFoundError also when another transfer has parked it.
    LeaseLostError, and nothing changed, when the claim is not held.
    """

    queue: str
    task_id: str
    park: bool = False
    transfer: str = ""
    claim: str = ""


class ImportTask(Op[bool], frozen=True, kw_only=True):
    """Create the task of an image, parked. ReleaseTask gives it the place that the image states.

    False, and nothing changed, when the queue has a task of this id that an image of the same content
    created, whatever has become of it. TaskIDConflictError when it has another task of this id, and
    DuplicateTaskError when another task holds the lock; nothing is changed. The lock ends as long from now as
    the image states. A task that is in a sequence joins its tail. From then on ListQueues lists the queue.
    LeaseLostError, and nothing changed, when the claim is not held.
    """

    image: TaskImage
    transfer: str = ""
    claim: str = ""

    def __post_init__(self) -> None:
        if self.image.state == "active":
            raise ValueError("an active task cannot be imported")


class ReleaseTask(Op[bool], frozen=True, kw_only=True):
    """End the parking of a task: restored, with its place of before, or deleted.

    False, and nothing changed, if it is not parked, or another transfer has parked it. LeaseLostError, and
    nothing changed, when the claim is not held.

    restored: in its state of before, with the same times; a pending task goes to the tail of the queue. A
    task of a sequence runs if it is the first one, and waits otherwise. deleted: as by DeleteTask. A copy
    that is sent again answers False for what the first one did.
    """

    idempotent: ClassVar[bool] = False
    queue: str
    task_id: str
    to: Literal["restored", "deleted"]
    transfer: str = ""
    claim: str = ""

    def __post_init__(self) -> None:
        _check_target("to", self.to)


class ListParked(Op[tuple[str, ...]], frozen=True, kw_only=True):
    """Ids of the parked tasks of a queue, in any order, at most `limit` after the first `offset`."""

    read_only: ClassVar[bool] = True
    queue: str
    offset: int = 0
    limit: int = 500
