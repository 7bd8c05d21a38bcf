"""What an answer proves of a task, if a loss window allows that its reason is lost afterwards.

The reason is a lease, which no replica confirms, or a call of unknown outcome, or a copy of one that was sent
more than once: it took effect on a server that is replaced, and nowhere else. What the answer shows does not
hold for the server that takes over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from asynq_conformance.histories.history import Call, Handing, History


def may_lose_lease(history: History, handing: Handing) -> bool:
    """True if the lease may have been granted by a server that is replaced, and be lost with it."""
    return any(window.meets_answer(handing.call) for window in history.windows)


def recovered_from_lost_run(history: History, recovery: Call) -> bool:
    """True if the run that the call recovered may have been lost after the call showed it."""
    message = recovery.op.lost.message
    handings = history.handings.get((message.queue, message.id), ())
    return _may_show_lost(history, recovery, _unseen_takes(history, message.queue)) or any(
        may_lose_lease(history, handing) for handing in handings
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
