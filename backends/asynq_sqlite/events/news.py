"""What others want to hear of: operations of this process at once, those of others through the file."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any, Final

from asynq.errors import AsynqError
from asynq.protocol.broker import CancelRequested, Wake
from asynq.protocol.ops import (
    CancelTask,
    Enqueue,
    EnqueueTick,
    FinishAggregation,
    Forward,
    MoveTasks,
    Recover,
    Requeue,
    Retry,
    RunTask,
    UnpauseQueue,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asynq.protocol.broker import Event
    from asynq.protocol.ops import Op
    from asynq_sqlite.events.file_watch import FileWatch, Follower

_EVENTS: Final[dict[type[Op[Any]], Callable[[Any, Any], Event | None]]] = {
    Enqueue: lambda op, _: Wake(op.message.queue),
    EnqueueTick: lambda op, _: Wake(op.enqueue.message.queue),
    Requeue: lambda op, _: Wake(op.delivery.message.queue),
    Retry: lambda op, _: Wake(op.delivery.message.queue),
    Recover: lambda op, recovered: Wake(op.lost.message.queue) if recovered else None,
    Forward: lambda op, answer: Wake(op.queue) if answer.moved else None,
    FinishAggregation: lambda op, _: Wake(op.taken.queue),
    RunTask: lambda op, _: Wake(op.queue),
    MoveTasks: lambda op, moved: Wake(op.queue) if moved and op.to == "pending" else None,
    UnpauseQueue: lambda op, resumed: Wake(op.queue) if resumed else None,
    CancelTask: lambda op, found: CancelRequested(op.task_id, op.queue, op.then) if found else None,
}
"""Operations that others want to hear of, and what they hear; None where nothing came of it."""


class News:
    """Tells listeners and watchers of this process. `watch` sees what other processes did; None: none are."""

    def __init__(self, watch: FileWatch | None) -> None:
        self._watch = watch
        self._lock = threading.Lock()
        self._followers: weakref.WeakSet[Follower] = weakref.WeakSet()

    def follow(self, follower: Follower, *, afresh: bool = False) -> None:
        """Tell it of changes from now on; `afresh`: with a Wake from when on they are told."""
        with self._lock:
            self._followers.add(follower)
        if self._watch is not None:
            self._watch.follow(follower, afresh=afresh)
        elif afresh:
            follower.hear([Wake()])

    def leave(self, follower: Follower) -> None:
        """Tell it no more."""
        with self._lock:
            self._followers.discard(follower)
        if self._watch is not None:
            self._watch.leave(follower)

    def announce(self, ops: Sequence[Op[Any]], answers: Sequence[Any]) -> None:
        """These operations of this process were carried out."""
        with self._lock:
            followers = list(self._followers)
        if not followers:
            return
        events = {
            event
            for op, answer in zip(ops, answers, strict=True)
            if not isinstance(answer, AsynqError) and (event := self._event(op, answer)) is not None
        }
        changed = self._watch is None and not all(op.read_only for op in ops)
        for follower in followers:
            if changed:
                follower.changed()
            if events:
                follower.hear(events)

    def close(self) -> None:
        """Look at the file no more, until somebody follows again."""
        if self._watch is not None:
            self._watch.close()

    def _event(self, op: Op[Any], answer: Any) -> Event | None:
        if self._watch is not None and isinstance(op, CancelTask):
            return None  # The watch finds the mark in the file, like any other process's.
        event = _EVENTS.get(type(op))
        return None if event is None else event(op, answer)
