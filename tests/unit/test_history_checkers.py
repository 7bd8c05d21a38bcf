"""Every rule for histories finds violations, and nothing in histories that are possibly correct."""

from __future__ import annotations

import pytest
from attrs import evolve

from asynq.errors import LeaseLostError
from asynq.protocol import ops
from asynq_conformance.histories.checking import CHECKERS, check
from asynq_conformance.histories.excerpt import spans
from asynq_conformance.histories.history import MILLISECOND, History, LossWindow
from asynq_conformance.histories.record import EventKind, HistoryEvent
from asynq_conformance.histories.resends import DEFAULT_RESEND_AFTER, DISTURBANCE, RESENDS
from tests.unit import (  # they register scenarios
    scenarios_of_losses,
    scenarios_of_lost_runs,  # noqa: F401
    scenarios_of_order,  # noqa: F401
    scenarios_of_resends,  # noqa: F401
    scenarios_of_sequences,  # noqa: F401
    scenarios_of_tasks,  # noqa: F401
)
from tests.unit.history_builder import SCENARIOS, HistoryBuilder, Scenario, delivery, message


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.build.__name__ for scenario in SCENARIOS])
def test_a_scenario_has_the_expected_verdict(scenario: Scenario) -> None:
    verdict = scenario.rule(scenario.build(HistoryBuilder()))
    assert [type(violation).__name__ for violation in verdict.violations] == list(scenario.found)
    assert verdict.judged
    assert all(str(violation) for violation in verdict.violations)


@pytest.mark.parametrize("told", ["timeout", "default"])
@pytest.mark.parametrize(("milliseconds", "resent"), [(1999, False), (2001, True)])
def test_call_that_outlasted_the_clients_timeout_may_have_been_sent_again(
    told: str, milliseconds: int, resent: bool
) -> None:
    scale = 1 if told == "timeout" else DEFAULT_RESEND_AFTER / 2
    enqueue = ops.Enqueue(message=message("a"), enqueue_id="e")
    events = [
        HistoryEvent("p", 0, 0, EventKind.INVOKE, "Enqueue", enqueue),
        HistoryEvent("p", 0, int(milliseconds * scale) * MILLISECOND, EventKind.OK, "Enqueue", None),
    ]
    if told == "timeout":
        events.append(HistoryEvent("run", -1, 0, EventKind.NOTE, RESENDS, {"after": 2.0}))
    [call] = History.of(events).calls
    assert (call.ok, call.maybe_resent) == (True, resent)


@pytest.mark.parametrize("checker", CHECKERS, ids=[checker.name for checker in CHECKERS])
def test_every_rule_has_a_violating_and_a_valid_scenario(checker: object) -> None:
    told = [
        bool(scenario.found) for scenario in SCENARIOS if scenario.rule is getattr(checker, "judge", None)
    ]
    assert set(told) == {True, False}


def fine() -> HistoryBuilder:
    history = HistoryBuilder()
    history.enqueue("a", (0, 1))
    history.dequeue((2, 3), "a")
    history.end(ops.Done, "a", (4, 5))
    return history


def test_a_history_in_order_is_ok() -> None:
    report = check(fine().finish(processed=1))
    assert (report.state, report.violations) == ("ok", ())
    assert report.counts == {
        "tasks": 1,
        "operations": 3,
        "lost": 0,
        "repeated": 0,
        "unknown": 0,
        "unknown resolved": 0,
    }


def test_a_history_that_was_not_drained_is_unknown() -> None:
    assert check(fine().history).state == "unknown"
    report = check(fine().finish(drained=False, trouble="no connection", processed=1))
    assert report.state == "unknown"
    assert "no connection" in str(report)


def test_a_violation_counts_whether_the_history_was_drained_or_not() -> None:
    history = fine()
    history.dequeue((6, 7), "a", token="later")
    report = check(history.history)
    assert (report.state, report.state_of("C10"), report.state_of("C1")) == ("FAIL", "FAIL", "unknown")
    assert "C10: FAIL" in str(report)


def test_a_call_is_described_with_its_tasks_and_token() -> None:
    history = HistoryBuilder()
    history.enqueue("a", (0, 1))
    history.dequeue((2, 3), "a", "b", token="x")
    history.end(ops.Done, "a", (4, 5), token="x")
    told = [str(call).partition(" ")[2].rpartition(" (")[0] for call in history.history.calls]
    assert told == ["Enqueue of a ok", "Dequeue of a, b by token x ok", "Done of a by token x ok"]


@pytest.mark.parametrize(("begin", "end", "state"), [(4, 4, "ok"), (10, 11, "FAIL")])
def test_a_loss_window_excuses_only_what_happened_in_it(begin: int, end: int, state: str) -> None:
    history = fine()
    history.dequeue((6, 7), "a", token="later")
    history.end(ops.Done, "a", (8, 9), token="later")
    window = LossWindow(begin=begin * MILLISECOND, end=end * MILLISECOND)
    report = check(history.finish(processed=2), windows=[window])
    assert report.state == state
    assert bool(report.excused) is (state == "ok")


def test_a_window_without_loss_of_acknowledged_operations_excuses_nothing() -> None:
    history = fine()
    history.dequeue((6, 7), "a", token="later")
    history.may_undo(0, 10)
    report = check(history.finish(processed=0))
    assert (report.excused, report.state_of("C8"), report.state_of("C10")) == ((), "FAIL", "FAIL")


@pytest.mark.parametrize(("begin", "end", "state"), [(2430, 9000, "ok"), (3000, 9000, "FAIL")])
def test_a_call_without_an_end_excuses_nothing_before_a_loss_window(begin: int, end: int, state: str) -> None:
    history = scenarios_of_losses.seen_then_gone(HistoryBuilder())
    window = LossWindow(begin=begin * MILLISECOND, end=end * MILLISECOND)
    assert check(history, windows=[window]).state == state


def test_a_loss_window_may_undo_runs_that_were_counted() -> None:
    assert check(fine().finish(processed=0)).state == "FAIL"
    assert check(fine().finish(processed=0), windows=[LossWindow(begin=0, end=1)]).state == "ok"


def test_an_unknown_enqueue_is_resolved_when_its_task_is_seen() -> None:
    history = HistoryBuilder()
    history.enqueue("a", (0, 1), "info")
    history.enqueue("b", (0, 1), "info")
    history.dequeue((2, 3), "a")
    counts = check(history.finish()).counts
    assert (counts["unknown"], counts["unknown resolved"]) == (2, 1)


def test_a_violation_is_shown_with_all_calls_for_its_task() -> None:
    history = fine()
    history.enqueue("b", (3, 4))
    history.call(ops.ExtendLease(lease=delivery("a", "k").lease, duration=9), (3, 4))
    history.recover("a", (3, 4), "info")
    history.dequeue((6, 7), "a", token="later")
    [resurrected] = check(history.history).verdicts["C10"].violations
    shown = spans(history.history, resurrected)
    assert [(span.op, span.marked) for span in shown] == [
        ("Enqueue", False),
        ("Dequeue", False),
        ("ExtendLease", False),
        ("Recover", False),
        ("Done", True),
        ("Dequeue", True),
    ]
    assert (shown[0].start, shown[3].end, shown[4].text) == (0.0, None, "a")


def test_a_violation_is_marked_in_a_loaded_history() -> None:
    history = fine()
    history.dequeue((6, 7), "a", token="later")
    [resurrected] = check(history.history).verdicts["C10"].violations
    again = History(map(evolve, history.calls))
    assert [span.op for span in spans(again, resurrected) if span.marked] == ["Done", "Dequeue"]


@pytest.mark.parametrize(
    ("begin", "end", "outcome"), [(4, 5, EventKind.INFO), (6, 9, EventKind.FAIL), (1, 2, EventKind.FAIL)]
)
def test_a_refused_settlement_counts_as_a_copy_only_during_a_disturbance(
    begin: int, end: int, outcome: EventKind
) -> None:
    done = ops.Done(delivery=delivery("a", "k"))
    refusal = LeaseLostError("q", "a")
    events = [
        HistoryEvent("run", -1, begin * MILLISECOND, EventKind.NOTE, DISTURBANCE, {"phase": "begin"}),
        HistoryEvent("run", -1, end * MILLISECOND, EventKind.NOTE, DISTURBANCE, {"phase": "end"}),
        HistoryEvent("p", 0, 3 * MILLISECOND, EventKind.INVOKE, "Done", done),
        HistoryEvent("p", 0, 5 * MILLISECOND, EventKind.FAIL, "Done", refusal),
    ]
    [call] = History.of(events).calls
    assert (call.outcome, call.responded) == (outcome, 5 * MILLISECOND)
