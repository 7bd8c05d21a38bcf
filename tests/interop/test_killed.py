"""Workers of one language killed with tasks in hand, which the other language recovers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.interop.waits import in_state
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.interop.conftest import Place
    from tests.interop.go_side import GoSide
    from tests.interop.lines import LineProgram
    from tests.interop.python_side import PythonSide
    from tests.interop.sides import Side

IN_GO = 130.0
"""Seconds in which Go recovers a task: 30 s of lease, 30 s of grace, a check each minute, a retry."""
LEASE = 30.0
"""Seconds until a lease ends that nobody extends."""
TAKEN_OVER = 65.0
"""Seconds after which this library has taken over a task of Go whose lease is not extended."""
IN_PYTHON = 75.0
"""Seconds in which this library recovers a task of Go: the same lease and grace, and no more."""


def killed_in_hand(victim: Side, queue: str) -> float:
    """Kill a worker that holds two tasks of a queue: one that may be retried, one that may not; when."""
    worker = victim.worker(queues={queue: 1})
    victim.enqueue("hold", task_id=f"{queue}-again", queue=queue, max_retry=5)
    victim.enqueue("hold", task_id=f"{queue}-last", queue=queue, max_retry=0)
    eventually(lambda: len(worker.runs()) == 2)
    worker.kill()
    return time.time()


def recovered(rescuer: LineProgram, queue: str, within: float) -> float:
    """Wait until the rescuer runs the task that may be retried; when it does."""
    [run] = eventually(lambda: rescuer.runs(f"{queue}-again"), within)
    assert run.retried == 1
    return run.at


@pytest.mark.slow
def test_the_tasks_of_a_killed_worker_are_recovered_by_the_other_language(
    go: GoSide, python: PythonSide, report: Callable[..., None]
) -> None:
    of_python = killed_in_hand(python, "python")
    of_go = killed_in_hand(go, "go")
    rescuers: dict[str, LineProgram] = {
        "go": python.worker(queues={"go": 1}),
        "python": go.worker(queues={"python": 1}),
    }
    report(seconds_until_python_ran_the_task_of_go=recovered(rescuers["go"], "go", IN_PYTHON) - of_go)
    report(seconds_until_go_ran_the_task_of_python=recovered(rescuers["python"], "python", IN_GO) - of_python)
    for queue in ("go", "python"):
        shown = in_state(python, "archived", f"{queue}-last", queue=queue)
        assert shown.last_err
        assert shown == go.task(queue, f"{queue}-last")


@pytest.mark.slow
def test_a_living_worker_keeps_its_task_from_the_other_language(
    go: GoSide, python: PythonSide, place: Place
) -> None:
    owners = [side.worker(queues={side.name: 1}) for side in (go, python)]
    for side in (go, python):
        side.enqueue("hold", task_id=side.name, queue=side.name)
    eventually(lambda: all(owner.runs() for owner in owners))
    others = [go.worker(queues={"python": 1}), python.worker(queues={"go": 1})]
    began = time.time()

    def extended(queue: str) -> bool:
        lease = f"asynq:{{{queue}}}:lease"
        ends = place.client_of(lease).zscore(lease, queue)
        return ends is not None and float(str(ends)) >= began + LEASE + TAKEN_OVER

    eventually(lambda: extended("go") and extended("python"), 150)
    for queue in ("go", "python"):
        shown = python.task(queue, queue)
        assert (shown.state, shown.retried, shown.orphaned) == ("active", 0, False)
    assert [other.runs() for other in others] == [[], []]
    for owner in owners:
        owner.ask("release")
    eventually(lambda: python.queue("go")["size"] == python.queue("python")["size"] == 0)
    assert [len(owner.runs()) for owner in owners] == [1, 1]
