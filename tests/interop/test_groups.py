"""Groups that one language fills and the other aggregates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.interop.waits import is_gone
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.interop.go_side import GoSide
    from tests.interop.lines import LineProgram
    from tests.interop.python_side import PythonSide
    from tests.interop.sides import Side

LONG = 3600.0


def aggregated(worker: LineProgram) -> list[list[bytes]]:
    """For each run of an aggregated task: the group's name, then the payloads in order."""
    runs = [run for run in worker.runs() if run.type == "ok:aggregated"]
    parts = [run.payload.split(b"|") for run in runs]
    return [[part[0], *sorted(part[1:])] for part in parts]


def test_a_group_of_the_other_language_becomes_one_task(here: Side, there: Side) -> None:
    for payload in (b"1", b"2", b"3"):
        here.enqueue("ok", payload, task_id=payload.decode(), group="Größe:ä")
    assert here.groups("default") == there.groups("default") == {"Größe:ä": 3}
    worker = there.worker(aggregate=True)
    eventually(lambda: aggregated(worker))
    assert aggregated(worker) == [["Größe:ä".encode(), b"1", b"2", b"3"]]
    eventually(lambda: here.queue("default")["size"] == 0)
    assert is_gone(here, "1")
    assert here.groups("default") == there.groups("default") == {}


def test_both_languages_fill_one_group(here: Side, there: Side) -> None:
    here.enqueue("ok", b"1", group="g")
    there.enqueue("ok", b"2", group="g")
    # Go rounds the time at which a task joins down to the second, this library up: the order is open.
    for side in (here, there):
        assert {one.payload for one in side.tasks("default", "aggregating", "g")} == {b"1", b"2"}
    worker = there.worker(aggregate=True)
    eventually(lambda: aggregated(worker) == [[b"g", b"1", b"2"]])


def test_a_full_group_of_the_other_language_does_not_wait(here: Side, there: Side) -> None:
    for number in range(4):
        here.enqueue("ok", str(number).encode(), group="g")
    worker = there.worker(aggregate=True, group_size=2, group_grace=LONG)
    eventually(lambda: len(aggregated(worker)) == 2)
    assert sorted(part for parts in aggregated(worker) for part in parts[1:]) == [b"0", b"1", b"2", b"3"]


def test_a_grouped_task_keeps_its_options_until_it_runs_by_hand(here: Side, there: Side) -> None:
    here.enqueue("ok", b"x", task_id="a", group="g", max_retry=4, timeout=77, headers={"k": "v"})
    shown = there.task("default", "a")
    assert (shown.state, shown.group, shown.max_retry, shown.timeout) == ("aggregating", "g", 4, 77)
    there.one("run", "default", "a")
    worker = there.worker()
    [run] = eventually(lambda: worker.runs("a"))
    assert (run.max_retry, run.headers) == (4, {"k": "v"})


def test_go_aggregates_a_task_that_python_scheduled_for_a_group(go: GoSide, python: PythonSide) -> None:
    python.enqueue("ok", b"1", group="g", process_in=1)
    worker = go.worker(aggregate=True)
    eventually(lambda: aggregated(worker) == [[b"g", b"1"]])


def test_a_task_that_go_scheduled_for_a_group_runs_alone(go: GoSide, python: PythonSide) -> None:
    """Go forgets the group of a scheduled task; see "Differences" in docs/compatibility.md."""
    go.enqueue("ok", b"1", task_id="a", group="g", process_in=1)
    worker = python.worker(aggregate=True)
    eventually(lambda: [run.payload for run in worker.runs("a")] == [b"1"])
    assert aggregated(worker) == []
