"""Followers: tasks that are enqueued when another task, their parent, has succeeded.

A parent names its followers in one of its headers, so that they survive a peer that writes the message again,
and has a retention that no user can give. Whoever completes it, of whatever language, thereby records in one
atomic step that its followers are to be enqueued. A server takes such parents, enqueues their followers, and
lets the parents go.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping  # noqa: TC003 - the decoder reads the annotations
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct, field

from asynq.checks import MAX_RETENTION
from asynq.protocol.decode_errors import DECODE_ERRORS
from asynq.protocol.sequences import MEMBERS_HEADER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq.protocol.message import TaskMessage

FOLLOWERS_HEADER: Final = "asynq-then"
"""Header of a parent: its followers, and its own retention, as JSON."""
RESULT_HEADER: Final = "asynq-result-"
"""With a number appended, header of a follower: the result of one of the tasks that it follows."""
LONGEST_RETENTION: Final = MAX_RETENTION // timedelta(seconds=1)
"""A completed task that is kept longer than these seconds is a parent whose followers are to be enqueued."""
PARENT_RETENTION: Final = 2 * LONGEST_RETENTION
"""Retention of a parent's message in seconds."""
HELD: Final = 2 * PARENT_RETENTION
"""A parent that is held ends this many seconds after its hold. Clocks of peers may differ by years."""
MAX_PASSED_RESULT: Final = 64 * 1024
"""The most bytes of a result that is passed on to followers."""
MAX_MEMBERS: Final = 500
"""The most tasks that one task can follow."""
MAX_FOLLOWERS: Final = 100
"""The most followers of one parent, including those that follow its followers."""

_NO_RESULT: Final = "-"
_TOO_LARGE: Final = "!"


class Follower(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A task to be enqueued, with the fields of its message that a client may choose."""

    id: str
    type: str
    queue: str
    payload: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    max_retry: int = 25
    timeout: int = 0
    deadline: int = 0
    retention: int = 0
    process_at: int | None = None
    process_in: int | None = None
    then: tuple[Follower, ...] = ()
    """Tasks that follow this one."""


class Join(Struct, frozen=True, kw_only=True, gc=False):
    """A task that waits for several, its members, as one of them knows it."""

    queue: str
    id: str
    member: int
    """Place of the parent among the members."""
    members: int
    """Number of the members."""


class Followers(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What follows the success of a parent."""

    retention: int = 0
    """Seconds for which the parent is kept after its followers are enqueued."""
    then: tuple[Follower, ...] = ()
    """Tasks to enqueue."""
    join: Join | None = None
    """The task that waits for this one and for others."""


_decoder: Final = msgspec.json.Decoder(Followers)
_members_decoder: Final = msgspec.json.Decoder(tuple[tuple[str, str], ...])


def header_of(followers: Followers) -> str:
    """The header of a parent with these followers."""
    return msgspec.json.encode(followers).decode()


def followers_of(message: TaskMessage) -> Followers | None:
    """What follows the success of this task. None if nothing does.

    Raises:
        DECODE_ERRORS: the header of the task is damaged.
    """
    text = message.headers.get(FOLLOWERS_HEADER) if message.headers else None
    return None if text is None else _decoder.decode(text)


def members_header(members: Sequence[tuple[str, str]]) -> str:
    """The header of a task that follows these tasks, each a queue and an id."""
    return msgspec.json.encode(members).decode()


def members_of(message: TaskMessage) -> tuple[tuple[str, str], ...]:
    """Queues and ids of the tasks that this one waits for, or waited for. Empty if the header is damaged."""
    text = message.headers.get(MEMBERS_HEADER) if message.headers else None
    if text is None:
        return ()
    try:
        return _members_decoder.decode(text)
    except DECODE_ERRORS:
        return ()


def is_joining(message: TaskMessage) -> bool:
    """Whether this task waits for several others."""
    return bool(message.headers) and MEMBERS_HEADER in message.headers


def is_parent(message: TaskMessage) -> bool:
    """Whether tasks follow this one."""
    return bool(message.headers) and FOLLOWERS_HEADER in message.headers


def own_retention(message: TaskMessage) -> int:
    """Seconds for which the task is kept once it is completed and its followers are enqueued."""
    try:
        followers = followers_of(message)
    except DECODE_ERRORS:
        return 0
    return message.retention if followers is None else followers.retention


def passed_result(result: bytes | None) -> str:
    """The result of a task as the header of a follower."""
    if result is None:
        return _NO_RESULT
    return _TOO_LARGE if len(result) > MAX_PASSED_RESULT else base64.b64encode(result).decode()


def results_in(message: TaskMessage) -> list[bytes | None]:
    """The results that a follower was given, in the order of the tasks that it follows. None: no result.

    Raises:
        ValueError: a task that it follows has not succeeded, its result was too large to be passed on, or the
            header is damaged.
    """
    results: list[bytes | None] = []
    headers, members = message.headers, members_of(message)
    while (text := headers.get(f"{RESULT_HEADER}{len(results)}")) is not None or len(results) < len(members):
        if text is None:
            queue, task_id = members[len(results)]
            raise ValueError(f"task {task_id!r} of queue {queue!r} has not succeeded")
        if text == _TOO_LARGE:
            raise ValueError(f"result {len(results)} has more than {MAX_PASSED_RESULT} bytes")
        try:
            results.append(None if text == _NO_RESULT else base64.b64decode(text, validate=True))
        except binascii.Error as error:
            raise ValueError(f"result {len(results)} is damaged: {error}") from None
    return results
