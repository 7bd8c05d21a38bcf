"""A task with every option that both languages have arrives as it was given."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from tests.interop.conftest import slot_of
from tests.interop.lines import PeerError
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.interop.sides import Shown, Side

PAYLOAD = bytes(range(256))
HEADERS = {"traceparent": "00-4bf9-01", "naïve": "日本語", "empty": ""}
SLACK = 5.0
"""Seconds between an enqueue and the start of the run that a busy machine may take."""


def whole(info: Shown) -> Shown:
    """What both inspectors show alike: Go shows the current time for a pending task."""
    return evolve(info, next_process_at=0)


def test_all_options_arrive_at_the_handler_of_the_other_language(here: Side, there: Side) -> None:
    worker = there.worker(queues={"critical": 1})
    deadline = float(int(time.time()) + 3600)
    enqueued = time.time()
    here.enqueue(
        "ok:options",
        PAYLOAD,
        headers=HEADERS,
        queue="critical",
        task_id="order-7",
        max_retry=7,
        timeout=90,
        deadline=deadline,
        unique=60,
        retention=600,
    )
    [run] = eventually(lambda: worker.runs("order-7"))
    assert (run.type, run.payload, run.headers) == ("ok:options", PAYLOAD, HEADERS)
    assert (run.queue, run.retried, run.max_retry) == ("critical", 0, 7)
    assert enqueued + 90 - 1 <= run.deadline <= run.at + 90 + 1

    done = eventually(lambda: [one for one in here.tasks("critical", "completed") if one.id == "order-7"])[0]
    assert done == there.task("critical", "order-7") == here.task("critical", "order-7")
    assert (done.state, done.retention, done.max_retry, done.timeout) == ("completed", 600, 7, 90)
    assert (done.deadline, done.headers, done.payload) == (deadline, HEADERS, PAYLOAD)
    assert abs(done.completed_at - time.time()) < SLACK


def test_both_inspectors_show_a_waiting_task_alike(here: Side, there: Side) -> None:
    enqueued = here.enqueue(
        "ok:shown", PAYLOAD, headers=HEADERS, task_id="a", max_retry=0, timeout=45, retention=30, unique=60
    )
    shown = there.task("default", "a")
    assert whole(shown) == whole(here.task("default", "a")) == whole(enqueued)
    assert [whole(one) for one in there.tasks("default", "pending")] == [whole(shown)]


def test_the_earlier_of_deadline_and_timeout_ends_the_run(here: Side, there: Side) -> None:
    worker = there.worker()
    deadline = float(int(time.time()) + 60)
    here.enqueue("ok", task_id="a", timeout=3600, deadline=deadline)
    [run] = eventually(lambda: worker.runs("a"))
    assert run.deadline == deadline


def test_a_task_without_options_has_the_defaults_of_both(here: Side, there: Side) -> None:
    info = here.enqueue("ok")
    shown = there.task("default", info.id)
    assert (shown.queue, shown.max_retry, shown.timeout, shown.deadline) == ("default", 25, 1800, 0)
    assert (shown.retention, shown.group, shown.headers) == (0, "", {})


@pytest.mark.parametrize("option", ["process_at", "process_in"])
def test_a_task_for_later_is_forwarded_by_the_other_language(here: Side, there: Side, option: str) -> None:
    due = time.time() + 2.4
    if option == "process_at":
        here.enqueue("ok", task_id="later", process_at=due)
    else:
        here.enqueue("ok", task_id="later", process_in=2.4)
    shown = there.task("default", "later")
    assert shown.state == "scheduled"
    # Go rounds the due time down to the second, this library up.
    assert int(due) - 1 <= shown.next_process_at <= due + 2
    worker = there.worker()
    [run] = eventually(lambda: worker.runs("later"))
    assert run.at >= shown.next_process_at
    if here.name == "python":
        assert run.at >= due


def test_a_task_id_that_is_taken_is_refused_on_both_sides(here: Side, there: Side) -> None:
    here.enqueue("ok", task_id="a")
    with pytest.raises(PeerError, match="conflict"):
        there.enqueue("ok", task_id="a")
    there.enqueue("ok", task_id="a", queue="other")


def test_queues_on_all_primaries_of_a_cluster_are_served(here: Side, there: Side) -> None:
    queues = {f"q{number}": 1 for number in range(12)}
    assert len({slot_of(queue) * 3 // 16384 for queue in queues}) == 3
    worker = there.worker(queues=queues)
    ids = {here.enqueue("ok", queue=queue).id for queue in queues}
    eventually(lambda: {run.task for run in worker.runs()} == ids)
    assert here.queues() == there.queues() == sorted(queues)
