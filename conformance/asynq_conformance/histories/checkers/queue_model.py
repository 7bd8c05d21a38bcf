"""One queue as a sequential machine: enough of the contract to say what small histories allow.

Its tasks are pending, active or archived. Nothing waits, nothing is locked, no lease runs out: a call that
would need more than this is beyond the model.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, frozen

from asynq.errors import LeaseLostError, QueueNotFoundError, TaskIDConflictError, TaskNotFoundError
from asynq.protocol import ops
from asynq.task_state import TaskState
from asynq_conformance.histories.history import NEVER_ENDED
from asynq_conformance.histories.record import EventKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from asynq.protocol.message import Delivery
    from asynq_conformance.histories.history import Call, LossWindow


@frozen
class QueueState:
    """What a queue holds."""

    pending: tuple[str, ...] = ()
    """Ids, next first."""
    active: frozenset[tuple[str, str]] = frozenset()
    """Ids with the tokens of their runs."""
    archived: frozenset[str] = frozenset()

    def state_of(self, task_id: str) -> TaskState | None:
        """State of a task, None when there is none."""
        if task_id in self.pending:
            return TaskState.PENDING
        if task_id in self.archived:
            return TaskState.ARCHIVED
        return TaskState.ACTIVE if any(task_id == held for held, _ in self.active) else None


Step = Callable[[QueueState, Any, Any], QueueState | None]
"""What the queue holds after an operation that was answered so; None: it cannot have been answered so.

The answer is UNKNOWN where nobody knows it: then the operation has whatever effect it has.
"""


@frozen
class Unknown:
    """The answer of a call nobody knows the answer of."""


UNKNOWN: Final = Unknown()


def _enqueue(state: QueueState, op: ops.Enqueue, answer: Any) -> QueueState | None:
    exists = state.state_of(op.message.id) is not None
    if answer is not UNKNOWN and exists is not isinstance(answer, TaskIDConflictError):
        return None
    return state if exists else evolve(state, pending=(*state.pending, op.message.id))


def _dequeue(state: QueueState, op: ops.Dequeue, answer: Any) -> QueueState | None:
    held = [task_id for task_id, token in state.active if token == op.token]  # by an earlier copy of the call
    taken = state.pending[: max(len(op.orders) - len(held), 0)]
    if answer is not UNKNOWN and sorted([*held, *taken]) != sorted(one.message.id for one in answer):
        return None
    return evolve(
        state,
        pending=state.pending[len(taken) :],
        active=state.active | {(task_id, op.token) for task_id in taken},
    )


def _holding(state: QueueState, delivery: Delivery, answer: Any) -> bool | None:
    """Whether the run holds its task; None if it cannot have been answered so."""
    held = (delivery.message.id, delivery.token) in state.active
    if answer is not UNKNOWN and held is isinstance(answer, LeaseLostError):
        return None
    return held


def _settle(after: Callable[[QueueState, str], QueueState]) -> Step:
    def step(state: QueueState, op: Any, answer: Any) -> QueueState | None:
        held = _holding(state, op.delivery, answer)
        if not held:
            return None if held is None else state
        task_id = op.delivery.message.id
        return after(evolve(state, active=state.active - {(task_id, op.delivery.token)}), task_id)

    return step


def _stats(state: QueueState, op: ops.GetQueueStats, answer: Any) -> QueueState | None:
    del op
    if answer is UNKNOWN or isinstance(answer, QueueNotFoundError):
        return state
    found = (answer.pending, answer.active, answer.archived)
    return state if found == (len(state.pending), len(state.active), len(state.archived)) else None


def _get_task(state: QueueState, op: ops.GetTask, answer: Any) -> QueueState | None:
    if answer is UNKNOWN:
        return state
    found = None if isinstance(answer, TaskNotFoundError) else answer.state
    return state if found == state.state_of(op.task_id) else None


_STEPS: Final[dict[type, Step]] = {
    ops.Enqueue: _enqueue,
    ops.Dequeue: _dequeue,
    ops.Done: _settle(lambda state, _: state),
    ops.Requeue: _settle(lambda state, task_id: evolve(state, pending=(task_id, *state.pending))),
    ops.Archive: _settle(lambda state, task_id: evolve(state, archived=state.archived | {task_id})),
    ops.GetQueueStats: _stats,
    ops.GetTask: _get_task,
}

MOST_COPIES: Final = 3
"""Most copies of a dequeue that are thought of: each makes the search longer."""

_READS: Final = (ops.GetQueueStats, ops.GetTask)
_WITHOUT_EFFECT: Final = (ops.Forward, ops.ListLostLeases, ops.PurgeCompleted, ops.UnpauseQueue, ops.Ping)
"""Operations that find nothing to do in such a queue."""


def without_effect(call: Call) -> bool:
    """True if the call changes nothing here, and nothing is learnt from it."""
    expected = (TaskIDConflictError, LeaseLostError, QueueNotFoundError, TaskNotFoundError)
    refused = not call.possible and not isinstance(call.answer, expected)
    return refused or isinstance(call.op, _WITHOUT_EFFECT)


def modelled(call: Call) -> bool:
    """True if the model knows what the call does."""
    op = call.op
    if isinstance(op, ops.Enqueue):
        waits = op.process_at is not None or op.process_in is not None
        plain = not (waits or op.unique or op.message.group or op.message.sequence)
        return plain and op.on_conflict == "reject"
    if isinstance(op, ops.Dequeue):
        return not op.limits and len({queue for order in op.orders for queue in order}) == 1
    return type(op) in _STEPS


def after(state: QueueState, call: Call, answer: Any) -> QueueState | None:
    """What the queue holds after the call; None if it cannot have been answered so."""
    return _STEPS[type(call.op)](state, call.op, answer)


def copies(calls: Sequence[Call]) -> Iterator[Call]:
    """Further copies of these calls, where those may have effects of their own. Nobody knows their answers.

    Of an enqueue each copy but one comes after the end of what an earlier one made. A dequeue takes what its
    earlier copies found missing. A settlement is refused after its first copy took effect.
    """
    for call in calls:
        if call.maybe_resent:
            copy = evolve(call, outcome=EventKind.INFO, responded=NEVER_ENDED)
            yield from repeat(copy, _further_copies(call, calls))


def lost_effects(calls: Sequence[Call], losses: Sequence[LossWindow]) -> Iterator[Call]:
    """What these calls may have done on a server that is replaced, and what is lost with it.

    That is what calls of unknown outcome did, and further copies of calls that were sent more than once. It
    is lost within a window: until that begins, all servers hold the same. Nobody knows the answers.
    """
    for call in calls:
        if isinstance(call.op, _READS) or not call.uncertain:
            continue
        for loss in losses:
            if loss.meets_effects(call):
                effect = evolve(
                    call,
                    outcome=EventKind.INFO,
                    invoked=int(max(call.invoked, loss.begin)),
                    responded=NEVER_ENDED,
                    resent_until=min(call.effects_end, loss.end),
                )
                yield from repeat(effect, max(_further_copies(call, calls), 1))


def unconfirmed(call: Call) -> bool:
    """True if no replica confirms what the answer says: reads, and dequeues, whose leases may be lost.

    Refusals are confirmed: like what is acknowledged, they hold for every server that may take over.
    """
    return isinstance(call.op, _READS) or (isinstance(call.op, ops.Dequeue) and call.ok)


def _further_copies(call: Call, calls: Sequence[Call]) -> int:
    if isinstance(call.op, ops.Enqueue):
        ends = (other for other in calls if isinstance(other.op, ops.Done) and other.possible)
        return sum(
            end.op.delivery.message.id == call.op.message.id
            and end.responded >= call.invoked
            and end.invoked <= call.effects_end
            for end in ends
        )
    if isinstance(call.op, ops.Dequeue):
        return min(len(call.op.orders), MOST_COPIES)
    return int(isinstance(call.answer, LeaseLostError))


def queues_of(op: Any) -> set[str]:
    """The queues an operation names."""
    if isinstance(op, ops.Dequeue):
        return {queue for order in op.orders for queue in order}
    for holder in (op, getattr(op, "message", None), getattr(op, "lease", None), getattr(op, "taken", None)):
        if isinstance(queue := getattr(holder, "queue", None), str):
            return {queue}
    for name in ("delivery", "lost"):
        if (holder := getattr(op, name, None)) is not None:
            return {holder.message.queue}
    return set()
