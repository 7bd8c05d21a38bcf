"""Tasks selected by type, payload, error and age, and changed together, on every broker."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from asynq import AsyncInspector, Client, Inspector, Task, TaskFilter, TaskState
from asynq.errors import QueueNotFoundError
from asynq.info import TaskInfo
from asynq.protocol.ops import Archive, Dequeue, Retry
from tests.brokers import KINDS, broker_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asynq import Broker
    from asynq.protocol.message import Delivery

NOW = datetime(2026, 1, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
MANY = 130
"""More than fits into a first page."""


@pytest.fixture(params=KINDS)
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    with broker_of(request, tmp_path) as made:
        yield made


@pytest.fixture
def inspector(broker: Broker) -> Inspector:
    return Inspector(broker)


def info(**fields: Any) -> TaskInfo:
    return TaskInfo(**{"id": "1", "queue": "q", "type": "email:send", "state": TaskState.ARCHIVED, **fields})


@pytest.mark.parametrize(
    ("where", "fields", "selected"),
    [
        (TaskFilter(), {}, True),
        (TaskFilter(type="email:*"), {}, True),
        (TaskFilter(type="email"), {}, False),
        (TaskFilter(type="EMAIL:*"), {}, False),
        (TaskFilter(payload="é"), {"payload": '{"name": "é"}'.encode()}, True),
        (TaskFilter(payload="é"), {"payload": b"\xff"}, False),
        (TaskFilter(error="time"), {"last_err": "Timeout after 3 s"}, True),
        (TaskFilter(error="time"), {}, False),
        (TaskFilter(older_than=HOUR), {"since": NOW - 2 * HOUR}, True),
        (TaskFilter(older_than=HOUR), {"since": NOW - HOUR}, False),
        (TaskFilter(newer_than=HOUR), {"since": NOW - HOUR}, True),
        (TaskFilter(newer_than=HOUR), {"since": NOW - 2 * HOUR}, False),
        (TaskFilter(older_than=HOUR, newer_than=3 * HOUR), {"since": NOW - 2 * HOUR}, True),
        (TaskFilter(newer_than=HOUR), {"since": None}, False),
        (TaskFilter(type="email:*", error="x"), {"last_err": "y"}, False),
    ],
)
def test_a_task_is_selected_if_it_meets_every_condition(
    where: TaskFilter, fields: dict[str, Any], selected: bool
) -> None:
    assert where.matches(info(**fields), NOW) is selected


@pytest.mark.parametrize("condition", [{"type": 1}, {"payload": b"x"}, {"error": 1}, {"older_than": 3}])
def test_a_condition_of_the_wrong_type_is_refused(condition: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=next(iter(condition))):
        TaskFilter(**condition)


def test_a_negative_age_is_refused() -> None:
    with pytest.raises(ValueError, match="newer_than"):
        TaskFilter(newer_than=-HOUR)


def enqueue(broker: Broker, kind: str, count: int = 1, **options: Any) -> list[str]:
    """Enqueue tasks of a type. Returns their ids in order."""
    tasks = [Task(kind, {"n": number}, task_id=f"{kind}-{number:04d}", **options) for number in range(count)]
    return [made.id for made in Client(broker).enqueue_many(tasks) if not isinstance(made, Exception)]


def ids(inspector: Inspector, state: str, where: TaskFilter | None = None) -> list[str]:
    return [task.id for task in inspector.tasks("default", state, where=where)]


def take(broker: Broker) -> Delivery:
    """Dequeue the next task."""
    (delivery,) = broker.execute(Dequeue(orders=(("default",),), token=uuid4().hex, lease=30_000))
    return delivery


def fail(broker: Broker, error: str, *, retry: bool) -> None:
    """Let the next task fail."""
    delivery = take(broker)
    broker.execute(
        Retry(delivery=delivery, error=error, delay=3_600_000)
        if retry
        else Archive(delivery=delivery, error=error)
    )


def test_tasks_are_listed_by_type(broker: Broker, inspector: Inspector) -> None:
    enqueue(broker, "a", MANY)
    chosen = enqueue(broker, "b", MANY)
    assert ids(inspector, "pending", TaskFilter(type="b")) == chosen


def test_tasks_are_listed_by_error(broker: Broker, inspector: Inspector) -> None:
    enqueue(broker, "a", 2)
    fail(broker, "no such user", retry=False)
    fail(broker, "timeout", retry=False)
    assert ids(inspector, "archived", TaskFilter(error="Timeout")) == ["a-0001"]


@pytest.mark.parametrize("retry", [True, False])
def test_the_age_of_a_failed_task_counts_from_its_failure(
    broker: Broker, inspector: Inspector, retry: bool
) -> None:
    enqueue(broker, "a")
    fail(broker, "e", retry=retry)
    state = "retry" if retry else "archived"
    (task,) = inspector.tasks("default", state)
    assert task.since
    assert ids(inspector, state, TaskFilter(newer_than=HOUR)) == ["a-0000"]
    assert ids(inspector, state, TaskFilter(older_than=HOUR)) == []


def test_only_selected_tasks_are_archived_and_progress_is_told(broker: Broker, inspector: Inspector) -> None:
    kept, chosen = enqueue(broker, "a", MANY), enqueue(broker, "b", MANY)
    told: list[int] = []
    where = TaskFilter(type="b")
    assert inspector.archive_all("default", "pending", where=where, progress=told.append) == MANY
    assert told == sorted(told)
    assert told[-1] == MANY
    assert ids(inspector, "pending") == kept
    assert sorted(ids(inspector, "archived")) == chosen


def test_only_selected_tasks_are_run_and_deleted(broker: Broker, inspector: Inspector) -> None:
    enqueue(broker, "a", 3, process_in=HOUR)
    enqueue(broker, "b", 3, process_in=HOUR)
    assert inspector.run_all("default", "scheduled", where=TaskFilter(type="a")) == 3
    assert inspector.delete_all("default", "scheduled", where=TaskFilter(payload='"n":1')) == 1
    assert ids(inspector, "scheduled") == ["b-0000", "b-0002"]
    assert len(ids(inspector, "pending")) == 3


def test_a_filter_reaches_the_tasks_of_every_group(broker: Broker, inspector: Inspector) -> None:
    enqueue(broker, "a", 2, group="g")
    enqueue(broker, "b", 2, group="h")
    assert inspector.delete_all("default", "aggregating", where=TaskFilter(type="?")) == 4


def test_only_selected_tasks_are_rescheduled(broker: Broker, inspector: Inspector) -> None:
    enqueue(broker, "a", 2, process_in=HOUR)
    enqueue(broker, "b", 2, process_in=HOUR)
    assert (
        inspector.reschedule_all("default", "scheduled", process_in=24 * HOUR, where=TaskFilter(type="a"))
        == 2
    )
    assert ids(inspector, "scheduled") == ["b-0000", "b-0001", "a-0000", "a-0001"]


def test_only_selected_tasks_are_cancelled(broker: Broker, inspector: Inspector) -> None:
    enqueue(broker, "a")
    enqueue(broker, "b")
    take(broker)
    take(broker)
    assert inspector.cancel_all("default", where=TaskFilter(type="b")) == 1
    assert inspector.cancel_all("default") == 2


def test_a_queue_that_does_not_exist_is_an_error(inspector: Inspector) -> None:
    with pytest.raises(QueueNotFoundError):
        inspector.run_all("none", "archived", where=TaskFilter(type="a"))
    with pytest.raises(QueueNotFoundError):
        inspector.cancel_all("none")


def test_states_that_do_not_fit_are_refused(broker: Broker, inspector: Inspector) -> None:
    enqueue(broker, "a")
    with pytest.raises(ValueError, match="state"):
        inspector.run_all("default", "pending", where=TaskFilter())
    with pytest.raises(ValueError, match="state"):
        inspector.reschedule_all("default", "archived", process_in=HOUR)
    with pytest.raises(ValueError, match="process_in"):
        inspector.reschedule_all("default", "scheduled")
    assert ids(inspector, "pending") == ["a-0000"]


async def test_the_async_inspector_does_the_same(broker: Broker) -> None:
    Client(broker).enqueue(Task("a"))
    inspector = AsyncInspector(broker)
    assert await inspector.archive_all("default", "pending", where=TaskFilter(type="a")) == 1
    assert [task.type async for task in inspector.tasks("default", "archived", where=TaskFilter())] == ["a"]
    await broker.aclose()
