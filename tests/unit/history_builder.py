"""Builds histories for tests of the rules: calls with their times in milliseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from asynq.errors import DuplicateTaskError, LeaseLostError, TaskIDConflictError
from asynq.protocol import ops
from asynq.protocol.message import Delivery, LostLease, QueueStats, StoredTask, TaskMessage
from asynq.protocol.sequences import SEQUENCE_HEADER
from asynq.task_state import TaskState
from asynq_conformance.histories.history import MILLISECOND, NEVER_ENDED, Call, History, LossWindow, Remains
from asynq_conformance.histories.record import EventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asynq_conformance.histories.checkers.verdict import Verdict

LEASE = 60_000
Outcome = Literal["ok", "fail", "info"]
Times = tuple[int, int]
"""Start and end of a call."""


class Scenario(NamedTuple):
    """A history, the rule that checks it, and the violations that the rule must find."""

    rule: Callable[[History], Verdict]
    build: Callable[[HistoryBuilder], History]
    found: tuple[str, ...]


SCENARIOS: list[Scenario] = []


def scenario(
    rule: Callable[[History], Verdict], *found: str
) -> Callable[[Callable[[HistoryBuilder], History]], Callable[[HistoryBuilder], History]]:
    """Register a history with the rule that checks it. Can be used several times for several rules."""

    def register(build: Callable[[HistoryBuilder], History]) -> Callable[[HistoryBuilder], History]:
        SCENARIOS.append(Scenario(rule, build, found))
        return build

    return register


class HistoryBuilder:
    """A history under construction. Each method adds one call."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.windows: list[LossWindow] = []
        self.remains: Remains | None = None

    def may_undo(self, begin: int, end: int) -> None:
        """A window in which effects that nobody acknowledged may be undone."""
        window = LossWindow(begin=begin * MILLISECOND, end=end * MILLISECOND, acknowledged=False)
        self.windows.append(window)

    def call(
        self,
        op: Any,
        times: Times,
        answer: Any = None,
        outcome: Outcome = "ok",
        *,
        resent_until: int | None = None,
    ) -> Call:
        begin, end = times
        self.calls.append(
            Call(
                process="p",
                number=len(self.calls),
                op=op,
                invoked=begin * MILLISECOND,
                outcome=EventKind(outcome),
                responded=NEVER_ENDED if outcome == "info" else end * MILLISECOND,
                answer=answer,
                resent_until=None if resent_until is None else resent_until * MILLISECOND,
            )
        )
        return self.calls[-1]

    def enqueue(
        self,
        task_id: str,
        times: Times,
        outcome: Outcome = "ok",
        *,
        queue: str = "q",
        payload: bytes = b"",
        delay: int | None = None,
        lock: str = "",
        ttl: int = LEASE,
        until: Literal["done", "expiry", "start"] = "done",
        resent_until: int | None = None,
        sequence: str = "",
    ) -> Call:
        op = ops.Enqueue(
            message=message(task_id, queue, payload, lock, sequence),
            enqueue_id=f"e{len(self.calls)}",
            process_in=delay,
            unique=ops.Unique(ttl=ttl, until=until) if lock else None,
        )
        refusal = DuplicateTaskError(queue, "t") if lock else TaskIDConflictError(queue, task_id)
        state = TaskState.SCHEDULED if delay else TaskState.PENDING
        answer = {"ok": ops.Enqueued(state=state, due_at=0), "fail": refusal, "info": "?"}[outcome]
        return self.call(op, times, answer, outcome, resent_until=resent_until)

    def dequeue(
        self,
        times: Times,
        *taken: str,
        token: str = "k",
        orders: Sequence[tuple[str, ...]] = (("q",),),
        lease: int = LEASE,
        outcome: Outcome = "ok",
        payload: bytes = b"",
    ) -> Call:
        op = ops.Dequeue(orders=tuple(orders), token=token, lease=lease)
        names = [name.split("/") if "/" in name else ("q", name) for name in taken]
        answer = tuple(delivery(task_id, token, queue, payload) for queue, task_id in names)
        return self.call(op, times, answer, outcome)

    def end(
        self,
        kind: Any,
        task_id: str,
        times: Times,
        outcome: Outcome = "ok",
        *,
        token: str = "k",
        **options: Any,
    ) -> Call:
        if kind in (ops.Retry, ops.Archive):
            options = {"error": "e", **options}
        op = kind(delivery=delivery(task_id, token), **options)
        answer = LeaseLostError("q", task_id) if outcome == "fail" else None
        return self.call(op, times, answer, outcome)

    def recover(
        self,
        task_id: str,
        times: Times,
        outcome: Outcome = "ok",
        *,
        done: bool = True,
        to: Literal["pending", "retry", "archived"] = "pending",
        delay: int = 0,
    ) -> Call:
        lost = LostLease(message=message(task_id), observed="o")
        return self.call(ops.Recover(lost=lost, to=to, error="e", delay=delay), times, done, outcome)

    def finish(
        self,
        at: int = 1_000_000,
        *held: StoredTask,
        drained: bool = True,
        trouble: str = "",
        processed: int = 0,
        failed: int = 0,
    ) -> History:
        """The history, with the tasks that remain in queue "q"."""
        stats = QueueStats(queue="q", processed_total=processed, failed_total=failed)
        self.remains = Remains(
            at=at * MILLISECOND,
            quiesced_at=0,
            drained=drained,
            trouble=trouble,
            stats={"q": stats},
            tasks={"q": held},
        )
        return self.history

    @property
    def history(self) -> History:
        return History(self.calls, (), self.remains, self.windows)


def message(
    task_id: str, queue: str = "q", payload: bytes = b"", lock: str = "", sequence: str = ""
) -> TaskMessage:
    headers = {SEQUENCE_HEADER: sequence} if sequence else {}
    return TaskMessage(id=task_id, type="t", queue=queue, payload=payload, unique_key=lock, headers=headers)


def delivery(task_id: str, token: str, queue: str = "q", payload: bytes = b"") -> Delivery:
    return Delivery(message=message(task_id, queue, payload), token=token, expires_at=0)


def stored(task_id: str, state: TaskState, due_at: int = 0, sequence: str = "") -> StoredTask:
    return StoredTask(message=message(task_id, sequence=sequence), state=state, due_at=due_at)
