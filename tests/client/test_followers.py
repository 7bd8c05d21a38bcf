"""The option `then`: what a client makes of it, and what an inspector shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from asynq import AsyncClient, Client, Inspector, MemoryBroker, Task, TaskState, TaskType
from asynq.client.options import Options
from asynq.protocol.followers import FOLLOWERS_HEADER, MAX_FOLLOWERS
from asynq.testing import run_until_idle

HOUR = timedelta(hours=1)
DUE = datetime(2040, 1, 1, tzinfo=UTC)


def ids(number: int = 0) -> Any:
    """Ids t1, t2, ..."""

    def new_id() -> str:
        nonlocal number
        number += 1
        return f"t{number}"

    return new_id


def test_an_inspector_shows_what_follows() -> None:
    broker = MemoryBroker()
    with Client(broker, new_id=ids()) as client, Inspector(broker) as inspector:
        last = Task("last", queue="low")
        info = client.enqueue(Task("first"), then=[Task("second", then=last), Task("third")], retention=HOUR)
        second, third = info.then
        assert (second.type, second.queue, third.type) == ("second", "default", "third")
        assert [(each.id, each.queue, each.type) for each in second.then] == [("t3", "low", "last")]
        assert len({info.id, second.id, third.id, "t3"}) == 4
        shown = inspector.task("default", info.id)
        assert (shown.then, shown.retention) == (info.then, HOUR)
        assert client.enqueue(Task("plain")).then == ()


def test_followers_are_enqueued_with_their_options_when_the_task_has_succeeded() -> None:
    broker = MemoryBroker()
    follower = Task(
        "second",
        b"\xff\x00",
        headers={"trace": "x"},
        queue="low",
        task_id="mine",
        max_retry=3,
        timeout=HOUR,
        deadline=DUE,
        retention=2 * HOUR,
        process_at=DUE,
    )
    with Client(broker) as client, Inspector(broker) as inspector:
        client.enqueue(Task("first"), then=follower)
        run_until_idle(broker, lambda _ctx, _task: b"done")
        info = inspector.task("low", "mine")
        assert (info.type, info.payload, info.headers["trace"]) == ("second", b"\xff\x00", "x")
        assert (info.max_retry, info.timeout, info.deadline, info.retention) == (3, HOUR, DUE, 2 * HOUR)
        assert (info.state, info.next_process_at) == (TaskState.SCHEDULED, DUE)
        assert inspector.queue_info("default").size == 0


def test_the_options_of_a_call_replace_the_followers_of_the_task() -> None:
    with Client(MemoryBroker()) as client:
        task = Task("first", then=Task("a"))
        assert [each.type for each in client.enqueue(task).then] == ["a"]
        assert [each.type for each in client.enqueue(task, then=Task("b")).then] == ["b"]
        assert client.enqueue(task, then=[]).then == ()


def test_with_options_overrides_the_options_of_a_typed_task() -> None:
    report: TaskType[None, None, bytes, []] = TaskType("report", queue="low", headers={"a": "1"})
    task = report().with_options(queue="high", headers={"b": "2"}, then=Task("next"))
    assert (task.options.queue, dict(task.headers)) == ("high", {"a": "1", "b": "2"})
    assert report().options.queue == "low"
    assert task.result_types == report().result_types
    assert not task.has_payload
    with pytest.raises(TypeError, match=r"with_options\(\) got an unexpected option 'queu'"):
        task.with_options(queu="x")  # type: ignore[call-arg]


def test_the_task_of_a_handler_has_no_followers() -> None:
    """A handler that enqueues its task once more does not enqueue what follows it twice."""
    broker = MemoryBroker()
    seen: list[Task] = []
    with Client(broker) as client:
        client.enqueue(Task("first", headers={"k": "v"}), then=Task("second"))
        run_until_idle(broker, lambda _ctx, task: seen.append(task))
        assert [(task.type, FOLLOWERS_HEADER in task.headers) for task in seen] == [
            ("first", False),
            ("second", False),
        ]
        assert client.enqueue(seen[0]).then == ()


def test_followers_are_enqueued_only_after_success() -> None:
    broker = MemoryBroker()

    def fail(_ctx: object, _task: Task) -> None:
        raise ValueError("no")

    with Client(broker) as client, Inspector(broker) as inspector:
        info = client.enqueue(Task("first"), then=Task("second"), max_retry=0)
        run_until_idle(broker, fail, raise_errors=False)
        assert inspector.task("default", info.id).state is TaskState.ARCHIVED
        assert inspector.queue_info("default").size == 1
        inspector.run_task("default", info.id)
        runs = run_until_idle(broker, lambda _ctx, _task: None)
        assert [run.task.type for run in runs] == ["first", "second"]


@pytest.mark.parametrize(
    "options",
    [
        {"unique": HOUR},
        {"debounce": HOUR},
        {"throttle": HOUR},
        {"on_conflict": "reject"},
        {"group": "g"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_what_a_follower_cannot_have_is_refused(options: dict[str, Any]) -> None:
    broker = MemoryBroker()
    with Client(broker) as client, Inspector(broker) as inspector:
        name = next(iter(options))
        with pytest.raises(ValueError, match=rf"then\[1\]: .* cannot have {name}"):
            client.enqueue(Task("t"), then=[Task("a"), Task("b", **options)])
        with pytest.raises(ValueError, match=rf"then\[0\]: .* cannot have {name}"):
            client.enqueue(Task("t"), then=Task("a", then=Task("b", **options)))
        assert inspector.queues() == ()


def test_invalid_followers_are_refused() -> None:
    with Client(MemoryBroker()) as client:
        with pytest.raises(ValueError, match="then has no meaning with group"):
            client.enqueue(Task("t"), then=Task("a"), group="g")
        with pytest.raises(TypeError, match=r"then must be an asynq.Task or several, not str"):
            client.enqueue(Task("t"), then="a")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"then\[1\] must be an asynq.Task, not int"):
            client.enqueue(Task("t"), then=[Task("a"), 1])  # type: ignore[list-item]
        with pytest.raises(ValueError, match="sequence cannot have process_in"):
            client.enqueue(Task("t"), then=Task("a", sequence="s", process_in=HOUR))
        with pytest.raises(ValueError, match="the header asynq-then is reserved"):
            client.enqueue(Task("t"), headers={FOLLOWERS_HEADER: "{}"})
        with pytest.raises(TypeError, match="then"):
            TaskType("t", then=Task("a"))  # type: ignore[call-overload]


def test_the_number_of_followers_is_limited() -> None:
    with Client(MemoryBroker()) as client:
        most = [Task("a")] * (MAX_FOLLOWERS - 1)
        assert len(client.enqueue(Task("t"), then=Task("first", then=most)).then[0].then) == MAX_FOLLOWERS - 1
        with pytest.raises(ValueError, match="at most 100 tasks can follow a task"):
            client.enqueue(Task("t"), then=Task("first", then=[*most, Task("b")]))
        chain = Task("end")
        for _ in range(5000):
            chain = Task("link", then=chain)
        with pytest.raises(ValueError, match="at most 100 tasks can follow a task"):
            client.enqueue(chain)


def test_a_retention_of_more_than_fifty_years_is_refused() -> None:
    Options(retention=timedelta(days=50 * 365))
    with pytest.raises(ValueError, match="retention must not be longer than 18250 days"):
        Options(retention=timedelta(days=50 * 365, seconds=1))


async def test_a_task_without_a_retention_of_its_own_cannot_be_waited_for() -> None:
    async with AsyncClient(MemoryBroker()) as client:
        info = await client.enqueue(Task("t"), then=Task("a"))
        with pytest.raises(ValueError, match="retention"):
            await client.wait(info)
        with pytest.raises(ValueError, match="retention"):
            await client.wait(queue="default", task_id=info.id)
