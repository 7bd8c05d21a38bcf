"""The option `sequence`, from a client to an inspector."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynq import Client, Inspector, MemoryBroker, Task, TaskFilter, TaskState
from asynq.client.go_options import option_texts
from asynq.client.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterator

SECOND = timedelta(seconds=1)


def test_an_inspector_shows_the_sequence_and_who_waits() -> None:
    broker = MemoryBroker()
    with Client(broker) as client, Inspector(broker) as inspector:
        first = client.enqueue(Task("t", sequence="s", headers={"k": "v"}))
        second = client.enqueue(Task("t"), sequence="s")
        plain = client.enqueue(Task("t"))
        assert (first.sequence, first.state, first.waiting) == ("s", TaskState.PENDING, False)
        assert first.headers["k"] == "v"
        assert (second.state, second.waiting, second.next_process_at) == (TaskState.SCHEDULED, True, None)
        assert (plain.sequence, plain.waiting) == ("", False)
        shown = inspector.task("default", second.id)
        assert (shown.sequence, shown.waiting, shown.next_process_at) == ("s", True, None)
        assert inspector.run_all("default", "scheduled") == 0
        inspector.delete_task("default", first.id)
        assert inspector.task("default", second.id).state is TaskState.PENDING


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"group": "g"}, "group"),
        ({"process_in": SECOND}, "process_in"),
        ({"process_at": datetime(2040, 1, 1, tzinfo=UTC)}, "process_at"),
        ({"unique": SECOND, "keep_unique": True}, "keep_unique"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_has_no_meaning_in_a_sequence_is_refused(options: dict[str, Any], named: str) -> None:
    with Client(MemoryBroker()) as client, pytest.raises(ValueError, match=f"sequence cannot have {named}"):
        client.enqueue(Task("t"), sequence="s", **options)


def test_go_shows_the_sequence_of_a_periodic_task() -> None:
    assert option_texts(Options(sequence="s")) == ('Header(["asynq-sequence","s"])',)


@pytest.fixture
def queue_with_sequences() -> Iterator[Inspector]:
    """Two sequences of three tasks, of which one task each can run, and one task that is due in an hour."""
    broker = MemoryBroker()
    with Client(broker) as client, Inspector(broker) as inspector:
        for number in range(6):
            client.enqueue(Task("t"), sequence=f"s{number % 2}")
        client.enqueue(Task("t"), process_in=timedelta(hours=1))
        yield inspector


def waiting(inspector: Inspector) -> int:
    return sum(task.waiting for task in inspector.tasks("default", "scheduled"))


@pytest.mark.parametrize("where", [None, TaskFilter(type="t")], ids=["all", "selected"])
def test_all_scheduled_tasks_are_run_but_those_that_wait(
    queue_with_sequences: Inspector, where: TaskFilter | None
) -> None:
    assert queue_with_sequences.run_all("default", "scheduled", where=where) == 1
    assert waiting(queue_with_sequences) == 4


def test_all_scheduled_tasks_are_rescheduled_but_those_that_wait(queue_with_sequences: Inspector) -> None:
    assert queue_with_sequences.reschedule_all("default", "scheduled", process_in=SECOND) == 1
    assert waiting(queue_with_sequences) == 4


@pytest.mark.parametrize("where", [None, TaskFilter(type="t")], ids=["all", "selected"])
@pytest.mark.parametrize("remove", ["archive_all", "delete_all"])
def test_all_scheduled_tasks_are_removed_with_those_that_wait(
    queue_with_sequences: Inspector, remove: str, where: TaskFilter | None
) -> None:
    assert getattr(queue_with_sequences, remove)("default", "scheduled", where=where) == 5
    assert len([*queue_with_sequences.tasks("default", "pending")]) == 2


def test_a_purge_leaves_no_task_of_a_sequence(queue_with_sequences: Inspector) -> None:
    assert queue_with_sequences.purge("default") == 7
    assert all(not [*queue_with_sequences.tasks("default", state)] for state in ("pending", "scheduled"))
