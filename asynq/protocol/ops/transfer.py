"""Operations that move a task from one broker to another: export it, import it, release it on both sides.

A move of a task takes four steps, each of which may be repeated: park it in the source (ExportTask), import
its image into the destination, where it is parked as well (ImportTask), delete it in the source, and only
then restore it in the destination (both ReleaseTask). From the first step to the last no worker, forwarder,
aggregator or janitor finds it on either side. Whoever takes over after an interruption finds what is parked
with ListParked, and continues at the step that is due.

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


class ExportTask(Op["TaskImage"], frozen=True, kw_only=True):
    """The image of a task, of a parked one as it was before. With `park`, it is parked in the same step.

    TaskNotFoundError, also for a task that cannot be decoded. TaskStateError, and nothing changed, when the
    task is active or held by an aggregator, when a server holds it to enqueue its followers, or when it waits
    in a sequence of which another task is active.
    """

    queue: str
    task_id: str
    park: bool = False


class ImportTask(Op[bool], frozen=True, kw_only=True):
    """Create the task of an image, parked. ReleaseTask gives it the place that the image states.

    False, and nothing changed, when the queue has a task of this id that an image of the same content
    created, whatever has become of it. TaskIDConflictError when it has another task of this id, and
    DuplicateTaskError when another task holds the lock; nothing is changed. The lock ends as long from now as
    the image states. A task that is in a sequence joins its tail. From then on ListQueues lists the queue.
    """

    image: TaskImage

    def __post_init__(self) -> None:
        if self.image.state == "active":
            raise ValueError("an active task cannot be imported")


class ReleaseTask(Op[bool], frozen=True, kw_only=True):
    """End the parking of a task: restored, with its place of before, or deleted. False if it is not parked.

    restored: in its state of before, with the same times; a pending task goes to the tail of the queue. A
    task of a sequence runs if it is the first one, and waits otherwise. deleted: as by DeleteTask. A copy
    that is sent again answers False for what the first one did.
    """

    idempotent: ClassVar[bool] = False
    queue: str
    task_id: str
    to: Literal["restored", "deleted"]

    def __post_init__(self) -> None:
        _check_target("to", self.to)


class ListParked(Op[tuple[str, ...]], frozen=True, kw_only=True):
    """Ids of the parked tasks of a queue, in any order, at most `limit` after the first `offset`."""

    read_only: ClassVar[bool] = True
    queue: str
    offset: int = 0
    limit: int = 500
