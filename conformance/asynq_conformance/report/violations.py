"""From a violation that a checker found to the timeline that shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asynq_conformance import evidence
from asynq_conformance.evidence import Span

if TYPE_CHECKING:
    from asynq_conformance.histories.checkers.verdict import Violation
    from asynq_conformance.histories.history import Call, History

SECOND: Final = 1_000_000_000
"""In nanoseconds."""
LONGEST_TEXT: Final = 300


def show(history: History, violation: Violation) -> None:
    """Let the report draw what happened around a violation."""
    evidence.timeline(str(violation).partition("\n")[0], spans(history, violation))


def spans(history: History, violation: Violation) -> list[Span]:
    """The calls that show it, marked, among those on the same task, or else the same queue."""
    guilty = set(map(id, violation.calls))
    named = violation.task_id or violation.queue
    near = [
        call for call in history.calls if id(call) in guilty or f"'{named}'" in repr((call.op, call.answer))
    ]
    zero = min((call.invoked for call in near), default=0)
    return [_span(call, zero, marked=id(call) in guilty) for call in near]


def _span(call: Call, zero: int, *, marked: bool) -> Span:
    ended = call.responded if call.responded != float("inf") else None
    return Span(
        process=call.process,
        start=(call.invoked - zero) / SECOND,
        end=None if ended is None else (ended - zero) / SECOND,
        op=type(call.op).__name__,
        outcome=call.outcome.value,
        text=f"{call.op} -> {call.answer}"[:LONGEST_TEXT],
        marked=marked,
    )
