"""The model and the broker under test in lockstep: same operation, same answer, same state."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, NoReturn

from attrs import frozen

from asynq.errors import AsynqError, UnsupportedOperationError
from asynq.protocol.ops import (
    AcquireSlot,
    ClearScheduler,
    ClearServer,
    Dequeue,
    Enqueue,
    Ping,
    ReleaseSlot,
    TakeToken,
    WriteScheduler,
    WriteServer,
)
from asynq_conformance.capabilities import declared_unsupported
from asynq_conformance.machine.differences import Difference, differ, differ_in_state
from asynq_conformance.machine.domain import GROUPS, QUEUES
from asynq_conformance.machine.observed import ObservedChoices
from asynq_conformance.machine.transcript import Transcript, TranscriptLine
from asynq_conformance.model import ModelBroker, System, invariants
from asynq_conformance.model.snapshot import Snapshot, look

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from asynq.clock import FakeClock
    from asynq.protocol.broker import Broker
    from asynq.protocol.ops import Op
    from asynq_conformance.harness import Harness
    from asynq_conformance.model.records import ModelTask, SetKey

_BESIDE = (AcquireSlot, ReleaseSlot, TakeToken, WriteServer, ClearServer, WriteScheduler, ClearScheduler)
"""Operations that concern no queue."""
_EVERY_SO_OFTEN = 8
_SLACK = 100
"""Total inexactness allowed when the clock of a store is moved, in milliseconds."""


class DivergenceError(AssertionError):
    """The broker did something that the contract does not allow. The message contains the whole program."""

    def __init__(self, what: str, transcript: Transcript, differences: Sequence[Difference]) -> None:
        super().__init__(what)
        self.what = what
        self.transcript = transcript
        self.differences = differences

    def __str__(self) -> str:
        return self.transcript.report(self.what, self.differences)


@frozen
class Twin:
    """A value that later operations need, as the model and as the broker returned it."""

    expected: Any
    actual: Any


class Lockstep:
    """One program on an empty store."""

    def __init__(
        self, harness: Harness, broker: Broker, clock: FakeClock, runner: asyncio.Runner | None
    ) -> None:
        self.harness = harness
        self.broker = broker
        self.clock = clock
        self.system = System()
        self.model = ModelBroker(clock, self.system)
        self.transcript = Transcript()
        self.reached: Counter[tuple[str, str, str]] = Counter()
        self.steps = 0
        self.failed = False
        self.before: Snapshot | None = None
        self._runner = runner
        self._began = time.monotonic()

    # --- doing ----------------------------------------------------------------------------------------

    def step(
        self,
        op: Op[Any],
        actual_op: Op[Any] | None = None,
        *,
        about: ModelTask | None = None,
        copy: bool = False,
    ) -> Twin:
        """Execute an operation on both sides and compare.

        Args:
            actual_op: The operation with the broker's own opaque values, such as tokens, where they
            differ.
            about: The task concerned, for the coverage.
            copy: True if the operation was executed before.

        Operations that the broker declares unsupported are not executed.
        """
        if self.refuses(op):
            refusal = UnsupportedOperationError(type(op).__name__, self.broker.capabilities.backend)
            return Twin(refusal, refusal)
        state = self._state(about)
        [twin] = self.together([op], [actual_op or op], copy=copy)
        outcome = (
            type(twin.expected).__name__ if isinstance(twin.expected, AsynqError) else _kind(twin.expected)
        )
        self.reached["copy of " * copy + type(op).__name__, outcome, state] += 1
        return twin

    def batch(self, operations: Sequence[Op[Any]]) -> list[Twin]:
        """Execute many operations of one kind as one batch, and compare afterwards."""
        if any(map(self.refuses, operations)):
            return []
        twins = self.together(operations, operations)
        self.reached[f"many {type(operations[0]).__name__}", "many", ""] += 1
        return twins

    def refuses(self, op: Op[Any]) -> bool:
        """Whether the broker declares the operation unsupported."""
        return declared_unsupported(self.broker.capabilities, op) is not None

    def look_at_all(self) -> None:
        """Compare all queues, including those that recent steps did not touch."""
        self.together([Ping()], [Ping()])

    def wait(self, milliseconds: int) -> None:
        """Move the clock forward on both sides."""
        self.clock.advance(milliseconds)
        self.harness.warp(milliseconds)
        self.transcript.lines.append(TranscriptLine(self.clock.now(), None, wait=milliseconds))

    # --- comparing ------------------------------------------------------------------------------------

    def together(
        self, operations: Sequence[Op[Any]], actual: Sequence[Op[Any]], *, copy: bool = False
    ) -> list[Twin]:
        """One step: the operations on the model, the actual ones on the broker as one batch. See `step`."""
        self.steps += 1
        got = self._got(actual)
        queues = self._touched(operations)
        held = self._held(got, queues)
        after = look(self._execute, self.clock.now(), queues, GROUPS, held)
        choices = self.system.choices = ObservedChoices(after, self._early(), self._members())
        answers = []
        for op, answer in zip(operations, got, strict=True):
            choices.hear(answer)
            answers.extend(self.model.execute_many([op]))
        choices.hear(None)
        if not self.harness.lists_at_once:
            self._list_as(after, operations)
        expected = look(self.model.execute_many, self.clock.now(), queues, GROUPS, held)
        twins = [Twin(one, other) for one, other in zip(answers, got, strict=True)]
        for op, twin in zip(actual, twins, strict=True):
            line = TranscriptLine(self.clock.now(), op, twin.expected, twin.actual)
            self.transcript.lines.append(line)
        differences = [part for twin in twins for part in differ(twin.expected, twin.actual, copy=copy)]
        differences += differ_in_state(expected, after)
        if differences:
            self._fail("the broker and the model differ", differences)
        try:
            invariants.check(self.before, after)
        except AssertionError as broken:
            self._fail(f"an invariant is violated: {broken}", [])
        self.before = after.over(self.before, queues) if self.before else after
        return twins

    def _fail(self, what: str, differences: Sequence[Difference]) -> NoReturn:
        self.failed = True
        raise DivergenceError(what, self.transcript, differences)

    def _got(self, operations: Sequence[Op[Any]]) -> Sequence[Any]:
        """The broker's answers; DivergenceError if it raises anything unexpected."""
        try:
            return self._execute(operations)
        except Exception as error:  # noqa: BLE001 - whatever a broken broker raises is a divergence
            for op in operations:
                line = TranscriptLine(self.clock.now(), op, None, error)
                self.transcript.lines.append(line)
            self._fail(f"the broker raised an unexpected error: {error!r}", [])

    def _execute(self, operations: Sequence[Op[Any]]) -> Sequence[Any]:
        if self._runner:
            return self._runner.run(self.broker.aexecute_many(operations))
        return self.broker.execute_many(operations)

    def _touched(self, operations: Sequence[Op[Any]]) -> Sequence[str]:
        """Queues to compare: all of them now and then, otherwise those that the operations name."""
        if self.steps % _EVERY_SO_OFTEN == 0:
            return QUEUES
        named = {queue for op in operations for queue in _queues_of(op)}
        return [queue for queue in QUEUES if queue in named]

    def _held(self, answers: Sequence[Any], queues: Sequence[str]) -> list[tuple[str, str]]:
        """Tasks that no list shows because an aggregation set holds them or may just have received them."""
        held = {task.key for task in self.system.tasks.values() if task.set_id}
        for answer in answers:
            held |= {(message.queue, message.id) for message in getattr(answer, "messages", ())}
        return sorted(key for key in held if key[0] in queues)

    def _members(self) -> dict[SetKey, Sequence[str]]:
        return {key: [task.message.id for task in self.system.held(key)] for key in self.system.sets}

    def _early(self) -> int:
        """The maximum lead of the store's own clock over ours, in milliseconds."""
        if self.harness.lock_precision == 1:
            return 0
        elapsed = int((time.monotonic() - self._began) * 1000)
        return self.harness.lock_precision + elapsed + _SLACK

    def _list_as(self, after: Snapshot, operations: Sequence[Op[Any]]) -> None:
        """A store with a separate list of queues may list a queue whose only task was refused."""
        for op in operations:
            enqueue = getattr(op, "enqueue", op)
            if isinstance(enqueue, Enqueue) and enqueue.message.queue in after.listed:
                self.system.list_queue(enqueue.message.queue)

    def _state(self, task: ModelTask | None) -> str:
        if task is None or task.key not in self.system.tasks:
            return ""
        return "held" if task.set_id else task.state.value


def _queues_of(op: Op[Any]) -> Sequence[str]:
    """The queues that an operation concerns; all of them if it names none."""
    for name in ("message", "delivery", "enqueue", "lease", "taken", "lost"):
        inner: Any = getattr(op, name, None)
        if hasattr(inner, "queue"):
            return [inner.queue]
        if hasattr(inner, "message"):
            return [inner.message.queue]
    if isinstance(op, Dequeue):
        return list({queue for order in op.orders for queue in order})
    queue = getattr(op, "queue", None)
    if queue is not None:
        return [queue]
    return () if isinstance(op, _BESIDE) else QUEUES


def _kind(answer: Any) -> str:
    """The name of an outcome, for the coverage."""
    if answer is None or isinstance(answer, bool):
        return str(answer)
    if isinstance(answer, int):
        return "0" if answer == 0 else "some"
    if isinstance(answer, tuple):
        return "some" if answer else "none"
    for name in ("moved", "promoted", "tasks", "leases"):
        if hasattr(answer, name):
            return "some" if getattr(answer, name) else "none"
    if hasattr(answer, "enqueued"):
        return "enqueued" if answer.enqueued else "early" if answer.early else "decided"
    return getattr(answer, "state", None) or type(answer).__name__


def first(found: Sequence[Any], index: int, select: Callable[[Any], bool] = lambda _: True) -> Any:
    """The selected element with this index, modulo their number."""
    selected = [one for one in found if select(one)]
    return selected[index % len(selected)] if selected else None
