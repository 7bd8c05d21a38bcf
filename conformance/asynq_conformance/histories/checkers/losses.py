"""What an answer proves of a task, if a loss window allows that its reason is lost afterwards.

The reason is a call of unknown outcome, or a copy of one that was sent more than once: it took effect on a
server that is replaced, and nowhere else. What the answer shows does not hold for the server that takes over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asynq.protocol import ops

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from asynq_conformance.histories.history import Call, Handing, History, Key


def handed_out_by_lost_calls(history: History, handing: Handing) -> bool:
    """True if what made the task pending may have been lost after the handing showed it."""
    message = handing.delivery.message
    return _may_show_lost(history, handing.call, _made_pending(history, (message.queue, message.id)))


def recovered_from_lost_run(history: History, recovery: Call) -> bool:
    """True if the run that the call recovered may have been lost after the call showed it."""
    message = recovery.op.lost.message
    handings = history.handings.get((message.queue, message.id), ())
    return _may_show_lost(history, recovery, _unseen_takes(history, message.queue)) or any(
        handed_out_by_lost_calls(history, handing) for handing in handings
    )


def passed_over_by_lost_calls(history: History, dequeue: Call, queue: str) -> bool:
    """True if a take of the tasks that the call found missing may have been lost after the call showed it."""
    return _may_show_lost(history, dequeue, _unseen_takes(history, queue))


def _may_show_lost(history: History, shown_by: Call, causes: Iterable[Call]) -> bool:
    windows = [window for window in history.windows if window.meets_answer(shown_by)]
    return bool(windows) and any(
        cause.uncertain and cause.invoked <= shown_by.responded and window.meets_effects(cause)
        for cause in causes
        for window in windows
    )


def _unseen_takes(history: History, queue: str) -> Iterator[Call]:
    return (take for take in history.unseen_takes if any(queue in order for order in take.op.orders))


def _made_pending(history: History, key: Key) -> Iterator[Call]:
    """Calls that may have made the task pending."""
    back = (ops.Requeue, ops.Retry)
    causes = [
        *history.enqueues.get(key, ()),
        *(end for end in history.settlements.get(key, ()) if isinstance(end.op, back)),
        *history.recoveries.get(key, ()),
        *history.by_hand.get(key, ()),
        *history.wholesale.get(key[0], ()),
    ]
    yield from causes
    if any(call.possible and _may_wait(call.op) for call in causes):
        yield from (call for call in history.asking(ops.Forward) if call.op.queue == key[0])


def _may_wait(op: Any) -> bool:
    """True if the task waits after the operation until a Forward finds it due."""
    delayed = getattr(op, "process_in", None) or getattr(op, "process_at", None)
    return bool(delayed) or isinstance(op, ops.Retry) or getattr(op, "to", "") == "retry"
