"""C6, C7: queues in order of preference, and FIFO order within each queue."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, ClassVar

from asynq.protocol import ops
from asynq_conformance.histories.checkers.losses import passed_over_by_lost_calls
from asynq_conformance.histories.checkers.pending import Covers, maybe_paused, stays, surely_paused
from asynq_conformance.histories.checkers.verdict import Verdict, Violation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from asynq_conformance.histories.checkers.pending import Stay
    from asynq_conformance.histories.history import Call, History


class PassedOver(Violation):
    """C6."""

    says: ClassVar[str] = "was pending all the time while a queue that is wanted less was served"


class Unserved(Violation):
    """C6."""

    says: ClassVar[str] = "was pending all the time while a call that wanted it got less than it asked for"


class ServedWhilePaused(Violation):
    """C6."""

    says: ClassVar[str] = "was handed out although its queue was paused"


class Overtaken(Violation):
    """C7."""

    says: ClassVar[str] = "was enqueued first and handed out later than another of its queue"


def preferred_queues_come_first(history: History) -> Verdict:
    """C6: no task is taken from a queue, and no call goes without, while a task of a queue that every order
    concerned prefers was pending from before the call until after it.

    Queues that may have been paused meanwhile, and those with a limit, are left out, and calls in a loss
    window that may have seen what is lost. And nothing is taken from a queue that surely is paused.
    """
    by_queue: dict[str, list[tuple[float, float, Stay]]] = defaultdict(list)
    for stay in stays(history):
        by_queue[stay.key[0]].append((stay.since, stay.until, stay))
    covers = {queue: Covers(intervals) for queue, intervals in by_queue.items()}
    paused = maybe_paused(history)
    violations: list[Violation] = []
    judged = 0
    for call in history.asking(ops.Dequeue):
        if not call.ok:
            continue
        for queue, kind in _owed(call):
            if _overlaps(call, paused.get(queue, ())) or passed_over_by_lost_calls(history, call, queue):
                continue
            judged += 1
            found = covers[queue].find(call.invoked, call.responded) if queue in covers else None
            if found is not None:
                violations.append(_accusation(kind, found, call))
    violations += _served_while_paused(history)
    return Verdict(tuple(violations), judged)


def _served_while_paused(history: History) -> Iterator[Violation]:
    by_queue: dict[str, list[tuple[float, float, Call]]] = defaultdict(list)
    for queue, since, until, pause in surely_paused(history):
        by_queue[queue].append((since, until, pause))
    covers = {queue: Covers(intervals) for queue, intervals in by_queue.items()}
    for (queue, task_id), handings in history.handings.items():
        for handing in handings if queue in covers else ():
            found = covers[queue].find(handing.call.invoked, handing.call.responded)
            if found is not None:
                yield ServedWhilePaused(queue=queue, task_id=task_id, calls=(found, handing.call))


def _owed(call: Call) -> Iterator[tuple[str, type[Violation]]]:
    """Queues that must have been empty, as this call was answered; and what it is if one was not."""
    orders = call.op.orders
    served = {delivery.message.queue for delivery in call.answer}
    unlimited = {queue for order in orders for queue in order} - call.op.limits.keys()
    for queue in sorted(unlimited):
        if len(call.answer) < len(orders) and all(queue in order for order in orders):
            yield queue, Unserved
        elif any(_always_before(queue, other, orders) for other in served - {queue}):
            yield queue, PassedOver


def _always_before(queue: str, other: str, orders: tuple[tuple[str, ...], ...]) -> bool:
    return all(
        queue in order and order.index(queue) < order.index(other) for order in orders if other in order
    )


def _overlaps(call: Call, times: list[tuple[float, float]] | tuple[()]) -> bool:
    return any(begin <= call.responded and end >= call.invoked for begin, end in times)


def _accusation(kind: type[Violation], stay: Stay, call: Call) -> Violation:
    shown = (stay.entry, call, *([stay.handing] if stay.handing else []))
    return kind(queue=stay.key[0], task_id=stay.key[1], calls=shown)


def a_queue_is_first_in_first_out(history: History) -> Verdict:
    """C7: of two tasks, the second of which was enqueued when the first already was pending, the second is
    not surely handed out before the first, as long as the first stays where it was put.
    """
    first_stays = [
        stay
        for stay in stays(history)
        if isinstance(stay.entry.op, ops.Enqueue)
        and sum(call.possible for call in history.enqueues[stay.key]) == 1
    ]
    covers: Mapping[str, Covers] = {
        queue: Covers([(stay.since, stay.until, stay) for stay in first_stays if stay.key[0] == queue])
        for queue in {stay.key[0] for stay in first_stays}
    }
    violations, judged = [], 0
    for later in first_stays:
        handing = later.handing
        if handing is None:
            continue
        judged += 1
        earlier = covers[later.key[0]].find(later.entry.invoked, handing.responded)
        if earlier is not None and earlier is not later:
            calls = (earlier.entry, later.entry, handing, *([earlier.handing] if earlier.handing else []))
            violations.append(Overtaken(queue=earlier.key[0], task_id=earlier.key[1], calls=calls))
    return Verdict(tuple(violations), judged)
