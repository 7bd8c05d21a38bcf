"""The verdict on a disturbed run depends on what the store promises."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynq_conformance.disturbances.disturbance import DisturbedRun
from asynq_conformance.disturbances.judge import judge
from asynq_conformance.histories.history import MILLISECOND, REMAINS
from asynq_conformance.histories.record import EventKind, HistoryEvent, write
from tests.unit.history_builder import HistoryBuilder
from tests.unit.scenarios_of_losses import count

if TYPE_CHECKING:
    from pathlib import Path

    from asynq_conformance.histories.history import Call
    from tests.unit.history_builder import Outcome


def events_of(call: Call, end: int) -> list[HistoryEvent]:
    name = type(call.op).__name__
    return [
        HistoryEvent("p", call.number, call.invoked, EventKind.INVOKE, name, call.op),
        HistoryEvent("p", call.number, end, call.outcome, name, call.answer),
    ]


def seen_then_gone(directory: Path, at: int, outcome: Outcome) -> DisturbedRun:
    """A replaced primary shows an enqueue that its replica lacks.

    The disturbance takes place at 10 to 12 s. The read is 2.4 s long and begins at this time in milliseconds.
    """
    history = HistoryBuilder()
    history.enqueue("a", (at, at + 2400), outcome)
    count(history, (at, at + 2400), pending=1)
    history.dequeue((at + 2500, at + 2501))
    ends = [at + 2400, at + 2400, at + 2501]
    events = [
        event
        for call, end in zip(history.calls, ends, strict=True)
        for event in events_of(call, end * MILLISECOND)
    ]
    remains = {"quiesced_at": 0, "drained": True, "stats": {}, "tasks": {}}
    events.append(HistoryEvent("drain", -1, 60_000 * MILLISECOND, EventKind.NOTE, REMAINS, remains))
    record = directory / "history.jsonl"
    write(record, events)
    began, ended = 10_000 * MILLISECOND, 12_000 * MILLISECOND
    return DisturbedRun(record=record, began=began, ended=ended, healed={"q": 0.0}, drained=True)


@pytest.mark.parametrize(
    ("at", "outcome", "may_undo", "accused"),
    [
        (9900, "info", True, False),
        (9900, "info", False, True),
        (9900, "ok", True, True),
        (5000, "info", True, True),
    ],
)
def test_only_a_write_without_acknowledgement_may_be_lost_after_a_read_has_shown_it(
    at: int, outcome: Outcome, may_undo: bool, accused: bool, tmp_path: Path
) -> None:
    verdict = judge(seen_then_gone(tmp_path, at, outcome), may_lose=False, may_undo=may_undo)
    assert any("explains" in failure for failure in verdict.failures) is accused
    assert bool(verdict.failures) is accused
    assert verdict.counts["excused"] == 0
