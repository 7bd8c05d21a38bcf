"""The tasks that follow a task, in the form in which their parent carries them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asynq.protocol.failures import FAILURES_HEADER
from asynq.protocol.followers import (
    FOLLOWERS_HEADER,
    MAX_FOLLOWERS,
    RESULT_HEADER,
    Follower,
    Followers,
    followers_of,
    header_of,
)
from asynq.protocol.sequences import MEMBERS_HEADER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from asynq.client.options import Options, TaskLike
    from asynq.protocol.ops import Enqueue

NOT_FOLLOWING: Final = (
    *("unique", "unique_until", "keep_unique", "debounce", "throttle", "key"),
    *("on_conflict", "group"),
)
"""Options that a follower cannot have: nobody would learn that it was refused, or that it ran in a group."""


def check_reserved(headers: Mapping[str, str]) -> None:
    """ValueError for headers that would be taken for followers, or for a history."""
    if FAILURES_HEADER in headers:
        raise ValueError(f"the header {FAILURES_HEADER} is reserved: a new task has no failures")
    for name in (FOLLOWERS_HEADER, MEMBERS_HEADER):
        if name in headers:
            raise ValueError(f"the header {name} is reserved: use then= or enqueue_join")


def parent_header(options: Options, retention: int, compose: Callable[[TaskLike], Enqueue]) -> dict[str, str]:
    """The header of a parent with these options, which is kept for `retention` seconds afterwards.

    `compose` makes the request for a follower. ValueError for options that followers or parents cannot have.
    """
    followers = options.then or ()
    if options.group is not None:
        raise ValueError("then has no meaning with group: the aggregate runs, not the task")
    _check_number(followers)
    then = tuple(_follower(position, task, compose) for position, task in enumerate(followers))
    return {FOLLOWERS_HEADER: header_of(Followers(retention=retention, then=then))}


def _check_number(followers: tuple[TaskLike, ...]) -> None:
    waiting, count = list(followers), 0
    while waiting:
        count += 1
        if count > MAX_FOLLOWERS:
            raise ValueError(f"then: at most {MAX_FOLLOWERS} tasks can follow a task, directly or not")
        waiting += waiting.pop().options.then or ()


def _follower(position: int, task: TaskLike, compose: Callable[[TaskLike], Enqueue]) -> Follower:
    for name in NOT_FOLLOWING:
        if name in vars(task.options):
            raise ValueError(f"then[{position}]: a task that follows another one cannot have {name}")
    request = compose(task)
    message = request.message
    following = followers_of(message) or Followers(retention=message.retention)
    return Follower(
        id=message.id,
        type=message.type,
        queue=message.queue,
        payload=message.payload,
        headers={
            name: text
            for name, text in message.headers.items()
            if name != FOLLOWERS_HEADER and not name.startswith(RESULT_HEADER)
        },
        max_retry=message.max_retry,
        timeout=message.timeout,
        deadline=message.deadline,
        retention=following.retention,
        process_at=request.process_at,
        process_in=request.process_in,
        then=following.then,
    )
