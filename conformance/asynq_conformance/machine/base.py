"""Base of all rules: the current program, and the choice of existing tasks and deliveries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import define, frozen
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize

from asynq.errors import AsynqError
from asynq.protocol import ops
from asynq.task_state import TaskState
from asynq_conformance.lab import START
from asynq_conformance.machine.lockstep import Lockstep, Twin

if TYPE_CHECKING:
    import asyncio
    from collections import Counter
    from collections.abc import Callable, Iterator, Sequence

    from asynq.clock import FakeClock
    from asynq.protocol.broker import Broker
    from asynq.protocol.message import Delivery
    from asynq_conformance.harness import Harness
    from asynq_conformance.model.records import ModelTask
    from asynq_conformance.model.state import System


@define(kw_only=True)
class MachineSession:
    """State shared by all programs of a run."""

    harness: Harness
    clock: FakeClock
    runner: asyncio.Runner
    reached: Counter[tuple[str, str, str]]
    steps: list[int]
    """Number of steps of each program."""
    failed_at: int | None = None
    """Number of the first program that failed, starting at 1."""
    broker: Broker | None = None
    """The latest program if it is not closed yet."""

    def renewed(self) -> Broker:
        """Creates a broker on an empty store."""
        last, self.broker = self.broker, self.harness.renew(self.clock)
        if last is not None and last is not self.broker:
            self._close(last)
        return self.broker

    def unsupported(self) -> frozenset[str]:
        """Names of the operations that the broker declares unsupported."""
        if self.broker is None:
            return frozenset()
        declared = self.broker.capabilities
        groups = () if declared.groups else ("groups",)
        return frozenset({*groups, *(op.__name__ for op in declared.unsupported)})

    def close(self) -> None:
        """Release the resources of the latest program."""
        if self.broker is not None:
            self._close(self.broker)

    def _close(self, broker: Broker) -> None:
        self.runner.run(broker.aclose())
        broker.close()


@frozen
class Sent:
    """An operation that was sent and can be sent again."""

    op: ops.Op[Any]
    actual_op: ops.Op[Any]


class BaseRules(RuleBasedStateMachine):
    """A program and what it has received so far."""

    program: Lockstep
    may_fill = False

    def __init__(self, session: MachineSession) -> None:
        super().__init__()
        self.session = session
        self.runs: list[Twin] = []
        """Every delivery of this program, the latest last."""
        self.taken: list[Twin] = []
        """Every aggregation set."""
        self.lost: list[Twin] = []
        """Every lost lease that was listed."""
        self.taken_parents: list[Twin] = []
        """Every parent that was taken, as it was answered."""
        self.sent: list[Sent] = []
        self._fresh = 0

    @initialize(
        awaited=st.sampled_from((False, False, False, True)),
        may_fill=st.sampled_from((False, False, False, False, False, True)),
    )
    def begin(self, awaited: bool, may_fill: bool) -> None:
        """Start on an empty store, through this face; `large`: whether to allow very many tasks."""
        self.may_fill = may_fill
        session = self.session
        session.clock.set(START)
        broker = session.renewed()
        if left := broker.execute(ops.ListQueues()):
            raise ValueError(
                f"Harness.renew must give a broker on an empty store; this one has queues {left}"
            )
        self.program = Lockstep(session.harness, broker, session.clock, session.runner if awaited else None)

    # --- looking at the model -------------------------------------------------------------------------

    @property
    def system(self) -> System:
        """The model's state."""
        return self.program.system

    @property
    def now(self) -> int:
        """The present instant, in milliseconds."""
        return self.program.clock.now()

    def tasks(self, *states: TaskState) -> list[ModelTask]:
        """Tasks in these states; in all states if none is given."""
        return [task for task in self.system.tasks.values() if not states or task.state in states]

    def any(self, *states: TaskState) -> bool:
        """Whether there are tasks in these states."""
        return any(task.state in states for task in self.system.tasks.values())

    def owns(self, run: Twin) -> bool:
        """Whether the run of a delivery still owns its task."""
        task = self.system.find(run.expected.message.queue, run.expected.message.id)
        return task is not None and (task.state, task.token) == (TaskState.ACTIVE, run.expected.token)

    def one_of(self, index: int, state: TaskState) -> ModelTask:
        """A task in this state; in any state if there is none."""
        tasks = self.tasks(state) or self.tasks()
        return tasks[index % len(tasks)]

    def run_of(self, index: int) -> Twin:
        """The delivery of a run that owns its task, or, one time in four, of a run that no longer owns it."""
        owning = [run for run in self.runs if self.owns(run)]
        others = [run for run in self.runs if not self.owns(run)]
        if others and (index % 4 == 3 or not owning):
            return others[-1 - index // 4 % len(others)]
        return owning[index % len(owning)]

    def task_of(self, run: Twin) -> ModelTask | None:
        """The task of a run."""
        delivery: Delivery = run.expected
        return self.system.find(delivery.message.queue, delivery.message.id)

    def fresh(self) -> str:
        """A new token or enqueue id."""
        self._fresh += 1
        return f"token-{self._fresh}"

    # --- doing ----------------------------------------------------------------------------------------

    def do(
        self, op: ops.Op[Any], actual_op: ops.Op[Any] | None = None, *, about: ModelTask | None = None
    ) -> Twin:
        """Execute one step, which may be sent again later."""
        if op.idempotent and not op.read_only and not self.program.refuses(op):
            self.sent.append(Sent(op, actual_op or op))
        twin = self.program.step(op, actual_op, about=about)
        self._remember(op, twin)
        return twin

    def do_with(self, run: Twin, make: Callable[[Any], ops.Op[Any]]) -> Twin:
        """One step whose delivery, set or lost lease differs between the model and the broker."""
        about = self.task_of(run) if hasattr(run.expected, "message") else None
        return self.do(make(run.expected), make(run.actual), about=about)

    def _remember(self, op: ops.Op[Any], twin: Twin) -> None:
        if isinstance(twin.expected, AsynqError):
            return
        if isinstance(op, ops.Dequeue):
            # A copy may deliver again what its token has settled: then only the latest delivery counts.
            by_lease = {delivery.lease: delivery for delivery in twin.actual}
            kept = [run for run in self.runs if run.expected.lease not in by_lease]
            self.runs = [*kept, *(Twin(one, by_lease[one.lease]) for one in twin.expected)]
        elif isinstance(op, ops.ListLostLeases):
            pairs = zip(twin.expected.leases, twin.actual.leases, strict=True)
            self.lost += [Twin(*pair) for pair in pairs]
        elif isinstance(op, ops.TakeGroup) and twin.expected is not None:
            self.taken.append(twin)

    def wait(self, milliseconds: int) -> None:
        """Move the clock forward."""
        if milliseconds > 0:
            self.program.wait(milliseconds)

    def wait_until(self, instant: int) -> None:
        """Move the clock forward to this instant."""
        self.wait(instant - self.now)

    def enqueue(self, message: Any, unique: ops.Unique | None = None, **options: Any) -> Twin:
        """One step: enqueue a task."""
        op = ops.Enqueue(message=message, enqueue_id=self.fresh(), unique=unique, **options)
        return self.do(op, about=self.system.find(message.queue, message.id))

    def dequeue(self, orders: Sequence[tuple[str, ...]], lease: int, **options: Any) -> Twin:
        """One step: dequeue tasks, and ask for all that a delivery can tell."""
        op = ops.Dequeue(orders=tuple(orders), token=self.fresh(), lease=lease, since=True, **options)
        return self.do(op)

    def deadlines(self) -> Iterator[int]:
        """Instants at which something changes because of time alone."""
        raise NotImplementedError
