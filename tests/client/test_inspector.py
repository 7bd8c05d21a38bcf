"""Blocking and async inspectors on every broker."""

from __future__ import annotations

import asyncio
import inspect
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from asynq import AsyncInspector, Client, Inspector, Task, TaskState
from asynq.errors import QueueNotFoundError, TaskNotFoundError, TaskStateError
from asynq.inspector.paging import PageSize
from asynq.protocol.message import StoredTask, TaskMessage
from asynq.protocol.ops import Archive, Dequeue
from tests.brokers import KINDS, broker_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from asynq import Broker, TaskInfo

MANY = 450
"""More than fits into a first page, a step or a batch."""


@pytest.fixture(params=KINDS)
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    with broker_of(request, tmp_path) as made:
        yield made


@pytest.fixture
def inspector(broker: Broker) -> Inspector:
    return Inspector(broker)


def enqueue(broker: Broker, count: int = 1, **options: object) -> list[str]:
    """Enqueue tasks. Returns their ids in order."""
    tasks = [Task("t", {"n": number}, task_id=f"{number:04d}", **options) for number in range(count)]  # type: ignore[arg-type]
    return [info.id for info in Client(broker).enqueue_many(tasks) if not isinstance(info, Exception)]


def test_a_queue_is_shown_with_all_its_statistics(broker: Broker, inspector: Inspector) -> None:
    enqueue(broker, 3)
    inspector.pause("default")
    info = inspector.queue_info("default")
    assert inspector.queues() == ("default",)
    assert (info.queue, info.size, info.pending, info.paused) == ("default", 3, 3, True)
    assert info.memory
    assert timedelta(0) <= info.latency < timedelta(minutes=1)
    assert inspector.unpause("default")
    assert not inspector.queue_info("default").paused
    with pytest.raises(QueueNotFoundError):
        inspector.queue_info("unheard-of")


def test_a_broker_describes_its_store(broker: Broker, inspector: Inspector) -> None:
    enqueue(broker)
    info = inspector.broker_info(["default", "none"])
    assert (info.backend, len(info.nodes)) == (broker.capabilities.backend, 1)
    assert (info.nodes[0].memory_used or 0) > 0
    assert [place.queue for place in info.places] == ["default", "none"]
    assert {place.node for place in info.places} == {info.nodes[0].address}
    for wrong, error in (("default", TypeError), (["a", ""], ValueError)):
        with pytest.raises(error):
            inspector.broker_info(wrong)


def test_history_begins_with_today(broker: Broker, inspector: Inspector) -> None:
    enqueue(broker)
    (delivery,) = broker.execute(Dequeue(orders=(("default",),), token="t", lease=30_000))
    broker.execute(Archive(delivery=delivery, error="e"))
    days = inspector.history("default", days=30)
    assert len(days) == 30
    assert (days[0].processed, days[0].failed, days[1].processed) == (1, 1, 0)
    with pytest.raises(ValueError, match="days"):
        inspector.history("default", days=0)


def test_tasks_are_iterated_in_order(broker: Broker, inspector: Inspector) -> None:
    ids = enqueue(broker, MANY)
    assert [task.id for task in inspector.tasks("default", state="pending")] == ids
    assert list(inspector.tasks("default", TaskState.RETRY)) == []


@pytest.mark.parametrize("state", ["pending", "scheduled"])
def test_tasks_can_be_deleted_during_iteration(broker: Broker, inspector: Inspector, state: str) -> None:
    ids = enqueue(broker, MANY, process_in=timedelta(hours=1) if state == "scheduled" else None)
    seen = []
    for task in inspector.tasks("default", state):
        inspector.delete_task("default", task.id)
        seen.append(task.id)
    assert seen == ids
    assert inspector.queue_info("default").size == 0


def test_every_other_task_can_be_moved_during_iteration(broker: Broker, inspector: Inspector) -> None:
    ids = enqueue(broker, MANY)
    seen = []
    for number, task in enumerate(inspector.tasks("default", "pending")):
        if number % 2:
            inspector.archive_task("default", task.id)
        seen.append(task.id)
    assert seen == ids
    assert inspector.queue_info("default").archived == MANY // 2


def test_pages_are_small_if_tasks_are_large() -> None:
    size = PageSize()
    for payload, tasks in ((b"", 1000), (bytes(1_000_000), 4), (bytes(10_000_000), 1)):
        message = TaskMessage(id="a", type="t", queue="q", payload=payload)
        size.adapt([StoredTask(message=message, state=TaskState.PENDING)])
        assert size.tasks == tasks


def test_misuse_of_an_inspector_is_refused_before_any_operation(inspector: Inspector) -> None:
    with pytest.raises(ValueError, match="state must be one of"):
        inspector.tasks("default", "sleeping")
    with pytest.raises(ValueError, match="group"):
        inspector.tasks("default", "aggregating")
    with pytest.raises(ValueError, match="group"):
        AsyncInspector(inspector._broker).tasks("default", "aggregating")
    with pytest.raises(ValueError, match="state"):
        inspector.run_all("default", "pending")
    with pytest.raises(ValueError, match="then"):
        inspector.cancel("t", then="explode")  # type: ignore[arg-type]


def test_single_tasks_can_be_shown_changed_moved_and_deleted(broker: Broker, inspector: Inspector) -> None:
    enqueue(broker)
    inspector.archive_task("default", "0000")
    assert inspector.task("default", "0000").state is TaskState.ARCHIVED
    inspector.update_payload("default", "0000", {"n": 2})
    assert inspector.task("default", "0000").payload == b'{"n":2}'
    inspector.update_payload("default", "0000", None)
    assert inspector.task("default", "0000").payload == b""
    Client(broker).retry("default", "0000")
    assert inspector.task("default", "0000").state is TaskState.PENDING
    with pytest.raises(TaskStateError, match="cannot run task"):
        inspector.run_task("default", "0000")
    inspector.delete_task("default", "0000")
    with pytest.raises(TaskNotFoundError):
        inspector.task("default", "0000")


def test_a_task_is_found_in_all_queues(broker: Broker, inspector: Inspector) -> None:
    assert inspector.find_tasks("0000") == ()
    for queue in ("low", "default"):
        enqueue(broker, queue=queue)
    enqueue(broker, 2, queue="other")
    assert [task.queue for task in inspector.find_tasks("0000")] == ["default", "low", "other"]
    assert [task.queue for task in inspector.find_tasks("0001")] == ["other"]
    assert inspector.find_tasks("000") == ()


def test_a_scheduled_task_can_be_rescheduled_with_a_new_payload(broker: Broker, inspector: Inspector) -> None:
    hours = [timedelta(hours=number) for number in range(4)]
    info = Client(broker).enqueue(Task("t", {"n": 1}), process_in=hours[1], unique=hours[1])
    inspector.reschedule("default", info.id, process_in=hours[3])
    later = inspector.task("default", info.id)
    assert later.next_process_at
    assert info.next_process_at
    assert timedelta(0) <= later.next_process_at - info.next_process_at - hours[2] < timedelta(minutes=1)
    assert (later.state, later.payload) == (TaskState.SCHEDULED, b'{"n":1}')
    inspector.reschedule("default", info.id, process_at=info.next_process_at, payload={"n": 2})
    assert inspector.task("default", info.id).next_process_at == info.next_process_at
    assert inspector.task("default", info.id).payload == b'{"n":2}'
    inspector.reschedule("default", info.id, process_in=hours[1], payload=None)
    assert inspector.task("default", info.id).payload == b""
    inspector.run_task("default", info.id)
    with pytest.raises(TaskStateError, match="cannot update task"):
        inspector.reschedule("default", info.id, process_in=hours[1])


def test_the_new_time_of_a_task_is_given_in_exactly_one_way(inspector: Inspector) -> None:
    with pytest.raises(ValueError, match="process_at or process_in"):
        inspector.reschedule("default", "0000")
    with pytest.raises(ValueError, match="process_at or process_in"):
        inspector.reschedule("default", "0000", process_in=timedelta(0), process_at=datetime.now(UTC))
    with pytest.raises(ValueError, match="process_at"):
        inspector.reschedule("default", "0000", process_at=datetime(2040, 1, 1))  # noqa: DTZ001 - it is refused
    with pytest.raises(ValueError, match="process_in"):
        inspector.reschedule("default", "0000", process_in=timedelta(seconds=-1))


def test_bulk_methods_return_the_number_of_tasks(broker: Broker, inspector: Inspector) -> None:
    enqueue(broker, MANY)
    assert inspector.archive_all("default", "pending") == MANY
    assert inspector.run_all("default", "archived") == MANY
    assert inspector.delete_all("default", "archived") == 0
    assert inspector.delete_all("default", "pending") == MANY


def test_groups_can_be_listed_and_moved(broker: Broker, inspector: Inspector) -> None:
    client = Client(broker)
    for number in range(6):
        client.enqueue(Task("t", {"n": number}), group=f"g{number % 3}")
    assert {(group.name, group.size) for group in inspector.groups("default")} == {
        ("g0", 2),
        ("g1", 2),
        ("g2", 2),
    }
    assert len(list(inspector.tasks("default", "aggregating", group="g1"))) == 2
    assert inspector.run_all("default", "aggregating", group="g1") == 2
    assert inspector.archive_all("default", "aggregating") == 4
    assert list(inspector.groups("default")) == []


def test_purging_keeps_a_queue_and_deleting_removes_it(broker: Broker, inspector: Inspector) -> None:
    enqueue(broker, 5)
    Client(broker).enqueue(Task("t"), process_in=timedelta(hours=1))
    Client(broker).enqueue(Task("t"), group="g")
    assert inspector.purge("default") == 7
    assert inspector.queues() == ("default",)
    enqueue(broker, MANY)
    assert inspector.delete_queue("default", force=True) == MANY
    assert inspector.queues() == ()


def test_the_doctor_finds_nothing_in_a_consistent_store(broker: Broker, inspector: Inspector) -> None:
    enqueue(broker, MANY)
    assert list(inspector.doctor()) == []
    assert list(inspector.doctor(repair=True)) == []


def test_the_async_inspector_behaves_the_same(broker: Broker) -> None:
    ids = enqueue(broker, MANY)

    async def look() -> tuple[list[TaskInfo], int]:
        async with AsyncInspector(broker) as inspector:
            tasks = [task async for task in inspector.tasks("default", "pending")]
            deleted = await inspector.delete_all("default", "pending")
            assert [finding async for finding in inspector.doctor()] == []
            with pytest.raises(TaskNotFoundError):
                await inspector.task("default", ids[0])
            await broker.aclose()
            return tasks, deleted

    tasks, deleted = asyncio.run(look())
    assert ([task.id for task in tasks], deleted) == (ids, MANY)


def test_both_inspectors_have_the_same_methods_with_the_same_signatures() -> None:
    def verbs(cls: type) -> dict[str, str]:
        return {
            name: str(inspect.signature(verb))
            for name, verb in vars(cls).items()
            if hasattr(verb, "__wrapped__")
        }

    of_async = {
        name: shown.replace("AsyncIterator", "Iterator") for name, shown in verbs(AsyncInspector).items()
    }
    assert verbs(Inspector) == of_async
    assert len(verbs(Inspector)) >= 19


def test_an_inspector_with_a_url_connects_and_closes_on_its_own(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'tasks.db'}"
    with Client(url) as client, Inspector(url) as inspector:
        client.enqueue(Task("t"))
        assert inspector.queue_info("default").pending == 1


@pytest.mark.parametrize(
    ("ask", "option"),
    [
        (lambda inspector, bad: inspector.queue_info(bad), "queue"),
        (lambda inspector, bad: inspector.history(bad), "queue"),
        (lambda inspector, bad: list(inspector.groups(bad)), "queue"),
        (lambda inspector, bad: list(inspector.tasks(bad, "pending")), "queue"),
        (lambda inspector, bad: list(inspector.enqueue_events(bad)), "entry_id"),
        (lambda inspector, bad: inspector.task("default", bad), "task_id"),
        (lambda inspector, bad: inspector.run_task("default", bad), "task_id"),
        (lambda inspector, bad: inspector.archive_task(bad, "0000"), "queue"),
        (lambda inspector, bad: inspector.delete_task("default", bad), "task_id"),
        (lambda inspector, bad: inspector.update_payload("default", bad, b""), "task_id"),
        (lambda inspector, bad: inspector.reschedule(bad, "0000", process_in=timedelta(0)), "queue"),
        (lambda inspector, bad: inspector.reschedule("default", bad, process_in=timedelta(0)), "task_id"),
        (lambda inspector, bad: inspector.reschedule("default", "0000", process_in=bad), "process_in"),
        (lambda inspector, bad: inspector.cancel(bad), "task_id"),
        (lambda inspector, bad: inspector.cancel("0000", queue=bad), "queue"),
        (lambda inspector, bad: inspector.cancel("0000", then=bad), "then"),
        (lambda inspector, bad: inspector.run_all(bad, "retry"), "queue"),
        (lambda inspector, bad: inspector.purge(bad), "queue"),
        (lambda inspector, bad: inspector.pause(bad), "queue"),
        (lambda inspector, bad: inspector.unpause(bad), "queue"),
        (lambda inspector, bad: inspector.delete_queue(bad, force=True), "queue"),
        (lambda inspector, bad: inspector.delete_queue("default", force=bad), "force"),
        (lambda inspector, bad: list(inspector.doctor(repair=bad)), "repair"),
    ],
)
@pytest.mark.parametrize("bad", [b"default", " ", 3])
def test_an_invalid_name_is_refused_and_changes_nothing(
    broker: Broker, inspector: Inspector, ask: Callable[[Inspector, object], object], option: str, bad: object
) -> None:
    enqueue(broker, 1)
    with pytest.raises((TypeError, ValueError), match=rf"^{option} must"):
        ask(inspector, bad)
    assert inspector.queues() == ("default",)
    assert (inspector.queue_info("default").pending, inspector.queue_info("default").paused) == (1, False)
