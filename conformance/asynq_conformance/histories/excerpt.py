"""The part of a history that shows a violation, for a report to draw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asynq.errors import AsynqError
from asynq_conformance import evidence
from asynq_conformance.evidence import Span
from asynq_conformance.histories.checkers.queue_model import queues_of
from asynq_conformance.histories.history import NEVER_ENDED, History

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from asynq_conformance.histories.checkers.verdict import Violation
    from asynq_conformance.histories.history import Call


MOST_DRAWN: Final = 3
"""Violations that a failing test draws."""


def draw(record: Path, violations: Sequence[Violation]) -> None:
    """Let the report draw the first of what a record shows to be violated."""
    history = History.load(record)
    for violation in violations[:MOST_DRAWN]:
        evidence.timeline(str(violation).partition("\n")[0], spans(history, violation))


def spans(history: History, violation: Violation) -> list[Span]:
    """The calls about the task, or about the queue if no task is named; those that contradict are marked."""
    # By their numbers: the violation may come from the same history, loaded another time.
    accused = {(call.process, call.number) for call in violation.calls}
    shown = [
        call for call in history.calls if (call.process, call.number) in accused or _concerns(call, violation)
    ]
    zero = min((call.invoked for call in shown), default=0)
    return [
        Span(
            process=call.process,
            start=(call.invoked - zero) / 1e9,
            end=None if call.responded == NEVER_ENDED else (call.responded - zero) / 1e9,
            op=type(call.op).__name__,
            outcome=call.outcome.value,
            text=_words(call),
            marked=(call.process, call.number) in accused,
        )
        for call in shown
    ]


def _concerns(call: Call, violation: Violation) -> bool:
    if violation.queue not in queues_of(call.op):
        return False
    return not violation.task_id or violation.task_id in call.task_ids


def _words(call: Call) -> str:
    ids = ", ".join(call.task_ids)
    refused = f": {call.answer}" if isinstance(call.answer, AsynqError) else ""
    return f"{ids}{refused}"
