"""Tells the listeners and watchers of a process what changed, whichever process changed it."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any, Final

from asynq.brokerkit.events.poller import ChangePoller
from asynq.errors import AsynqError
from asynq.protocol.broker import CancelRequested, Wake
from asynq.protocol.ops import (
    AdvanceSequences,
    Archive,
    ArchiveTask,
    Arrive,
    CancelTask,
    Complete,
    DeleteTask,
    Done,
    Enqueue,
    EnqueueTick,
    FinishAggregation,
    Forward,
    MoveTasks,
    Recover,
    ReleaseTask,
    Requeue,
    Retry,
    RunTask,
    UnpauseQueue,
    UpdateTask,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asynq.brokerkit.events.poller import ChangeSource
    from asynq.brokerkit.events.subscriber import Subscriber
    from asynq.protocol.broker import Event
    from asynq.protocol.ops import Op


def _next_in_sequence(op: Done | Complete | Archive, _: None) -> Wake | None:
    """The end of a run lets the next task of its sequence run."""
    message = op.delivery.message
    return Wake(message.queue) if message.sequence else None


_EVENTS: Final[dict[type[Op[Any]], Callable[[Any, Any], Event | None]]] = {
    Enqueue: lambda op, _: Wake(op.message.queue),
    EnqueueTick: lambda op, _: Wake(op.enqueue.message.queue),
    Requeue: lambda op, _: Wake(op.delivery.message.queue),
    Retry: lambda op, _: Wake(op.delivery.message.queue),
    Recover: lambda op, recovered: Wake(op.lost.message.queue) if recovered else None,
    Forward: lambda op, answer: Wake(op.queue) if answer.moved else None,
    FinishAggregation: lambda op, _: Wake(op.taken.queue),
    RunTask: lambda op, _: Wake(op.queue),
    Done: _next_in_sequence,
    Complete: _next_in_sequence,
    Archive: _next_in_sequence,
    ArchiveTask: lambda op, _: Wake(op.queue),
    DeleteTask: lambda op, _: Wake(op.queue),
    UpdateTask: lambda op, _: Wake(op.queue) if op.timed else None,
    ReleaseTask: lambda op, released: Wake(op.queue) if released else None,
    MoveTasks: lambda op, moved: Wake(op.queue) if moved else None,
    Arrive: lambda op, answer: None if answer else Wake(op.queue),
    AdvanceSequences: lambda op, answer: Wake(op.queue) if answer.promoted else None,
    UnpauseQueue: lambda op, resumed: Wake(op.queue) if resumed else None,
    CancelTask: lambda op, found: CancelRequested(op.task_id, op.queue, op.then) if found else None,
}
"""By operation, the event that follows from its answer; None if nothing changed."""


class Notifier:
    """Delivers changes to the subscribers of a process.

    Operations of this process are reported at once, through `announce`. The changes of other processes are
    found by polling a source, while there are subscribers.
    """

    def __init__(self, source: ChangeSource | None) -> None:
        """Create a notifier without subscribers.

        Args:
            source: Shows the changes of all processes. None: only those of this process are reported.
        """
        self._poller = None if source is None else ChangePoller(source)
        self._events = dict(_EVENTS)
        if source is not None and source.reports_cancellations:
            # The poller finds those of this process, as it finds those of others.
            del self._events[CancelTask]
        self._lock = threading.Lock()
        self._subscribers: weakref.WeakSet[Subscriber] = weakref.WeakSet()

    def subscribe(self, subscriber: Subscriber, *, wake: bool = False) -> None:
        """Report changes to the subscriber from now on.

        Args:
            subscriber: Referred to weakly.
            wake: Send a Wake once changes are being reported.
        """
        with self._lock:
            self._subscribers.add(subscriber)
        if self._poller is not None:
            self._poller.subscribe(subscriber, wake=wake)
        elif wake:
            subscriber.on_events([Wake()])

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Report nothing more to the subscriber."""
        with self._lock:
            self._subscribers.discard(subscriber)
        if self._poller is not None:
            self._poller.unsubscribe(subscriber)

    def announce(self, ops: Sequence[Op[Any]], answers: Sequence[Any]) -> None:
        """Report operations that this process has carried out."""
        if not self._subscribers:
            return
        with self._lock:
            subscribers = list(self._subscribers)
        events = {
            event
            for op, answer in zip(ops, answers, strict=True)
            if (event_of := self._events.get(type(op))) is not None
            and not isinstance(answer, AsynqError)
            and (event := event_of(op, answer)) is not None
        }
        changed = self._poller is None and not all(op.read_only for op in ops)
        for subscriber in subscribers:
            if changed:
                subscriber.on_change()
            if events:
                subscriber.on_events(events)

    def close(self) -> None:
        """Stop polling until somebody subscribes again."""
        if self._poller is not None:
            self._poller.close()
