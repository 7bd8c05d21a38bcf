"""`enqueue_join`: tasks, and a task that follows all of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from asynq import AsyncClient, BrokerUnavailable, Client, Inspector, MemoryBroker, Task, TaskFilter, TaskState
from asynq.errors import PayloadTooLargeError, ResultError, TaskIDConflictError, TaskStateError
from asynq.protocol import ops
from asynq.protocol.followers import MAX_MEMBERS
from asynq.protocol.sequences import MEMBERS_HEADER
from asynq.testing import run_until_idle

HOUR = timedelta(hours=1)


def add(ctx: Any, task: Task) -> Any:
    """A handler of "number", "sum" and "show" tasks."""
    if task.type == "number":
        return task.json()
    return sum(ctx.passed_results(int))


def test_the_last_task_runs_once_with_all_results_in_order() -> None:
    broker = MemoryBroker()
    seen: list[list[int]] = []

    def handler(ctx: Any, task: Task) -> Any:
        if task.type == "all":
            seen.append(ctx.passed_results(int))
        return task.json()

    with Client(broker) as client, Inspector(broker) as inspector:
        tasks = [Task("number", number, queue="low" if number % 2 else "default") for number in range(7)]
        info = client.enqueue_join(tasks, then=Task("all", queue="last"))
        assert (info.state, info.waiting, info.queue, len(info.awaits)) == (
            TaskState.SCHEDULED,
            True,
            "last",
            7,
        )
        assert [queue for queue, _ in info.awaits] == [task.options.queue or "default" for task in tasks]
        run_until_idle(broker, handler, queues=["low"])
        assert seen == []
        left = inspector.task("last", info.id).awaits
        assert left == tuple(each for each in info.awaits if each[0] == "default")
        run_until_idle(broker, handler)
        assert seen == [[*range(7)]]
        assert [inspector.queue_info(queue).size for queue in ("default", "low", "last")] == [0, 0, 0]


async def test_async_clients_enqueue_joins_too() -> None:
    from asynq.testing import arun_until_idle

    broker = MemoryBroker()
    async with AsyncClient(broker) as client:
        then = Task("sum", retention=HOUR)
        info = await client.enqueue_join((Task("number", number) for number in (1, 2, 3)), then=then)
        await arun_until_idle(broker, add)
        assert await client.wait(info, result=int) == 6


def test_joins_and_chains_can_be_combined() -> None:
    broker = MemoryBroker()
    types: list[str] = []

    def handler(_ctx: Any, task: Task) -> None:
        types.append(task.type)

    with Client(broker) as client:
        members = [Task("a", then=Task("after a")), Task("b")]
        info = client.enqueue_join(members, then=Task("both", then=Task("end")))
        assert [each.type for each in info.then] == ["end"]
        run_until_idle(broker, handler)
    assert sorted(types) == ["a", "after a", "b", "both", "end"]
    assert types.index("both") > max(types.index("a"), types.index("b"))
    assert types.index("end") > types.index("both")


def test_a_member_that_fails_for_good_is_awaited() -> None:
    broker = MemoryBroker()

    def handler(_ctx: Any, task: Task) -> None:
        if task.type == "bad":
            raise ValueError("no")

    with Client(broker) as client, Inspector(broker) as inspector:
        members = [Task("good"), Task("bad", max_retry=0, queue="low")]
        info = client.enqueue_join(members, then=Task("both"))
        run_until_idle(broker, handler, raise_errors=False)
        [(queue, task_id)] = inspector.task("default", info.id).awaits
        assert inspector.task(queue, task_id).state is TaskState.ARCHIVED
        inspector.run_task(queue, task_id)
        runs = run_until_idle(broker, lambda _ctx, _task: None)
        assert [run.task.type for run in runs] == ["bad", "both"]


def test_a_waiting_task_that_is_run_by_hand_lacks_results() -> None:
    broker = MemoryBroker()
    errors: list[str] = []

    def handler(ctx: Any, _task: Task) -> None:
        try:
            ctx.passed_results()
        except ResultError as error:
            errors.append(str(error))

    with Client(broker) as client, Inspector(broker) as inspector:
        info = client.enqueue_join([Task("a"), Task("b")], then=Task("both", queue="last"))
        inspector.run_task("last", info.id)
        run_until_idle(broker, handler, queues=["last"])
        assert f"task {info.awaits[0][1]!r} of queue 'default' has not succeeded" in errors[0]
        run_until_idle(broker, lambda _ctx, _task: None)
        assert inspector.queue_info("last").size == 0


@pytest.mark.parametrize(
    ("tasks", "then", "named"),
    [
        ([], {}, "tasks: from 1 to 500, not 0"),
        ([{}] * (MAX_MEMBERS + 1), {}, "tasks: from 1 to 500, not 501"),
        ([{}, {"unique": HOUR}], {}, r"tasks\[1\]: a task of a join cannot have unique"),
        ([{"task_id": "x"}], {}, r"tasks\[0\]: a task of a join cannot have task_id"),
        ([{"group": "g"}], {}, r"tasks\[0\]: a task of a join cannot have group"),
        ([{}], {"process_in": HOUR}, "then: a task that follows several cannot have process_in"),
        ([{}], {"sequence": "s"}, "then: a task that follows several cannot have sequence"),
        ([{}], {"debounce": HOUR}, "then: a task that follows several cannot have debounce"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_has_no_meaning_in_a_join_is_refused(
    tasks: list[dict[str, Any]], then: dict[str, Any], named: str
) -> None:
    broker = MemoryBroker()
    with Client(broker) as client, Inspector(broker) as inspector:
        with pytest.raises(ValueError, match=named):
            client.enqueue_join([Task("t", **options) for options in tasks], then=Task("all", **then))
        assert inspector.queues() == ()


def test_other_mistakes_are_refused_before_anything_is_enqueued() -> None:
    broker = MemoryBroker(max_value_bytes=2000)
    with Client(broker) as client, Inspector(broker) as inspector:
        with pytest.raises(TypeError, match="Task"):
            client.enqueue_join([Task("t"), "t"], then=Task("all"))  # type: ignore[list-item]
        with pytest.raises(ValueError, match=f"the header {MEMBERS_HEADER} is reserved"):
            client.enqueue(Task("t"), headers={MEMBERS_HEADER: "[]"})
        with pytest.raises(PayloadTooLargeError):
            client.enqueue_join([Task("t"), Task("t", bytes(2000))], then=Task("all"))
        assert inspector.queues() == ()


def test_an_id_that_is_taken_leaves_nothing_enqueued() -> None:
    broker = MemoryBroker()
    with Client(broker) as client, Inspector(broker) as inspector:
        client.enqueue(Task("other", task_id="mine"))
        with pytest.raises(TaskIDConflictError):
            client.enqueue_join([Task("t")], then=Task("all", task_id="mine"))
        assert inspector.queue_info("default").size == 1


class Breaking(MemoryBroker):
    """Loses the connection before several operations."""

    def execute_many(self, operations: Any, /) -> Any:
        if len(operations) > 1:
            raise BrokerUnavailable("gone")
        return super().execute_many(operations)


def test_nothing_waits_for_members_that_are_not_enqueued() -> None:
    broker = Breaking()
    with Client(broker) as client:
        with pytest.raises(BrokerUnavailable):
            client.enqueue_join([Task("t"), Task("t")], then=Task("all"))
        assert broker.execute(ops.GetQueueStats(queue="default")).size == 0


def test_the_task_of_a_handler_can_be_enqueued_once_more() -> None:
    broker = MemoryBroker()
    seen: list[Task] = []
    with Client(broker) as client:
        client.enqueue_join([Task("a")], then=Task("all"))
        run_until_idle(broker, lambda _ctx, task: seen.append(task))
        assert [task.type for task in seen] == ["a", "all"]
        assert [client.enqueue(task).waiting for task in seen] == [False, False]


@pytest.mark.parametrize("where", [None, TaskFilter(type="*")], ids=["all", "selected"])
def test_changes_of_all_scheduled_tasks_leave_a_join_that_waits(where: TaskFilter | None) -> None:
    broker = MemoryBroker()
    with Client(broker) as client, Inspector(broker) as inspector:
        info = client.enqueue_join([Task("number", 1)], then=Task("sum"))
        client.enqueue(Task("later"), process_in=HOUR)
        assert inspector.reschedule_all("default", "scheduled", process_in=2 * HOUR, where=where) == 1
        assert inspector.run_all("default", "scheduled", where=where) == 1
        assert inspector.task("default", info.id).waiting
        with pytest.raises(TaskStateError):
            inspector.reschedule("default", info.id, process_in=HOUR)
        assert inspector.task("default", info.id).waiting
