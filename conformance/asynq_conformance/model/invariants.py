"""Invariants of a broker that hold at every instant, expressed through the protocol only."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from asynq.protocol.transfer import PARKED
from asynq.task_state import TaskState
from asynq_conformance.model.records import FINISHED

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq_conformance.model.snapshot import Snapshot

    Invariant = Callable[["Snapshot | None", "Snapshot"], None]

_WHOLE_SECONDS = (TaskState.SCHEDULED, TaskState.RETRY, TaskState.ARCHIVED, TaskState.COMPLETED)
_IN_DUE_ORDER = _WHOLE_SECONDS


def a_task_is_in_one_place(before: Snapshot | None, after: Snapshot) -> None:
    """A task is in exactly one list of its queue, once, and its state matches that list."""
    del before
    for queue in after.stats:
        found = [(place, task) for place, task in after.of_queue(queue)]
        ids = Counter(task.message.id for _, task in found)
        assert [task_id for task_id, times in ids.items() if times > 1] == [], f"listed twice in {queue!r}"
        for (state, _), task in found:
            assert task.state in (state, TaskState.AGGREGATING if state == "held" else state)


def numbers_are_those_of_the_lists(before: Snapshot | None, after: Snapshot) -> None:
    """The counts of a queue equal the number of tasks in its lists."""
    del before
    for queue, stats in after.stats.items():
        shown = Counter(
            "aggregating" if place[0] == "held" else place[0] for place, _ in after.of_queue(queue)
        )
        assert {state: getattr(stats, state) for state in TaskState} == {
            state: shown[state] for state in TaskState
        }, f"counts of {queue!r}"
        assert stats.groups == len(after.groups.get(queue, {})), f"groups of {queue!r}"


def groups_are_those_of_their_tasks(before: Snapshot | None, after: Snapshot) -> None:
    """A group is listed exactly while tasks wait in it, with their number; tasks of a set are in no group."""
    del before
    for queue in after.stats:
        waiting = {
            place[1]: len(tasks)
            for (name, place), tasks in after.tasks.items()
            if name == queue and place[0] == TaskState.AGGREGATING
        }
        listed = {name: group.size for name, group in after.groups.get(queue, {}).items()}
        assert listed == waiting, f"groups of {queue!r}"


def an_active_task_has_a_lease(before: Snapshot | None, after: Snapshot) -> None:
    """An active task has a lease, and is reported as orphaned exactly when that lease has expired."""
    del before
    for queue in after.stats:
        for task in after.of_state(queue, TaskState.ACTIVE):
            assert task.due_at > 0, f"no lease: {task}"
            assert task.orphaned is (task.due_at <= after.now), f"orphaned: {task}"


def a_lease_never_gets_shorter(before: Snapshot | None, after: Snapshot) -> None:
    """While a task stays active, its lease expiry never moves backwards."""
    for queue in after.stats if before else ():
        assert before is not None
        was = {task.message.id: task.due_at for task in before.of_state(queue, TaskState.ACTIVE)}
        for task in after.of_state(queue, TaskState.ACTIVE):
            assert task.due_at >= was.get(task.message.id, 0), f"shorter lease: {task}"


def a_sequence_has_one_head(before: Snapshot | None, after: Snapshot) -> None:
    """Of the unfinished tasks of a sequence, all but at most one wait for their turn."""
    del before
    for queue in after.stats:
        heads = Counter(
            task.message.sequence
            for _, task in after.of_queue(queue)
            if task.message.sequence
            and not task.waiting
            and task.due_at != PARKED
            and task.state not in FINISHED
        )
        assert [name for name, count in heads.items() if count > 1] == [], f"several heads in {queue!r}"


def a_pending_task_is_due(before: Snapshot | None, after: Snapshot) -> None:
    """A pending task has no due time, and the time since which it is pending is in the past."""
    del before
    for queue in after.stats:
        for task in after.of_state(queue, TaskState.PENDING):
            assert task.due_at == 0, f"due: {task}"
            assert 0 < task.pending_since <= after.now, f"pending since: {task}"


def times_are_whole_seconds(before: Snapshot | None, after: Snapshot) -> None:
    """Due times, retention ends and archive times are whole seconds."""
    del before
    for queue in after.stats:
        for state in _WHOLE_SECONDS:
            assert all(task.due_at % 1000 == 0 for task in after.of_state(queue, state)), f"{queue!r} {state}"


def lists_are_in_order(before: Snapshot | None, after: Snapshot) -> None:
    """Scheduled and retried tasks are sorted by due time, completed and archived ones oldest first."""
    del before
    for queue in after.stats:
        for state in _IN_DUE_ORDER:
            times = [task.due_at for task in after.of_state(queue, state)]
            assert times == sorted(times), f"order of {queue!r} {state}"


def counters_only_grow(before: Snapshot | None, after: Snapshot) -> None:
    """Failed runs are also processed runs; totals include today and never decrease while a queue exists."""
    for queue, stats in after.stats.items():
        assert 0 <= stats.failed <= stats.processed <= stats.processed_total, f"counters of {queue!r}"
        assert stats.failed <= stats.failed_total <= stats.processed_total, f"counters of {queue!r}"
        was = before.stats.get(queue) if before else None
        if was is not None:
            assert stats.processed_total >= was.processed_total, f"processed of {queue!r}"
            assert stats.failed_total >= was.failed_total, f"failed of {queue!r}"


def latency_is_a_wait(before: Snapshot | None, after: Snapshot) -> None:
    """The latency of a queue lies between the wait of its next pending task and that of its oldest one."""
    del before
    for queue, stats in after.stats.items():
        waits = [after.now - task.pending_since for task in after.of_state(queue, TaskState.PENDING)]
        if waits:
            assert waits[0] <= stats.latency <= max(waits), f"latency of {queue!r}: {stats.latency}, {waits}"
        else:
            assert stats.latency == 0, f"latency of {queue!r}"


def every_task_is_in_a_listed_queue(before: Snapshot | None, after: Snapshot) -> None:
    """A queue that holds tasks is listed."""
    del before
    holding = {queue for queue, _ in after.tasks} | {*after.groups}
    assert holding <= {*after.listed}, "a queue that holds tasks is not listed"


INVARIANTS: tuple[Invariant, ...] = (
    a_task_is_in_one_place,
    every_task_is_in_a_listed_queue,
    numbers_are_those_of_the_lists,
    groups_are_those_of_their_tasks,
    an_active_task_has_a_lease,
    a_lease_never_gets_shorter,
    a_sequence_has_one_head,
    a_pending_task_is_due,
    times_are_whole_seconds,
    lists_are_in_order,
    counters_only_grow,
    latency_is_a_wait,
)
"""Each receives the snapshot before the step (None at the beginning) and the one after it."""


def check(before: Snapshot | None, after: Snapshot) -> None:
    """Check all invariants. Raises AssertionError with the name of the first that does not hold."""
    for invariant in INVARIANTS:
        try:
            invariant(before, after)
        except AssertionError as broken:
            raise AssertionError(f"{invariant.__doc__} {broken}") from None
