"""Enqueues that tasks of one event loop execute at the same time, and share requests for."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynq.errors import BrokerUnavailable, TaskIDConflictError
from asynq.protocol.message import TaskMessage
from asynq.protocol.ops import Enqueue, ListTasks, Unique
from asynq.task_state import TaskState
from asynq_redis import RedisBroker
from asynq_redis.shared_calls import SharedCalls
from asynq_topologies.proxy import Proxy
from tests.redis.custom_operations import enqueue
from tests.waiting import aeventually

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.servers import RedisServer

MANY = 100
NONE = timedelta(0)


def script_calls(server: RedisServer) -> int:
    """Number of scripts the server has run."""
    calls = server.client.info("commandstats")
    return sum(calls.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("eval", "evalsha"))


async def pending(broker: RedisBroker) -> list[str]:
    found = await broker.aexecute(ListTasks(queue="q", state=TaskState.PENDING, limit=1000))
    return [task.message.id for task in found]


async def test_concurrent_enqueues_share_script_calls(own_server: RedisServer) -> None:
    broker = RedisBroker(own_server.url)
    answers = await asyncio.gather(*(broker.aexecute(enqueue(str(n))) for n in range(MANY)))
    assert [answer.state for answer in answers] == [TaskState.PENDING] * MANY
    assert script_calls(own_server) <= 1 + MANY / 50 + 1
    assert own_server.client.llen("asynq:{q}:pending") == MANY
    await broker.aclose()


async def test_enough_operations_do_not_wait_for_the_call_under_way() -> None:
    calls, answered = list[int](), asyncio.Event()

    async def send(ops: Sequence[Any]) -> list[Any]:
        calls.append(len(ops))
        await answered.wait()
        return list(ops)

    shared = SharedCalls()
    ops = [enqueue(str(number)) for number in range(240)]
    callers = [asyncio.create_task(shared.execute(op, send)) for op in ops]
    await aeventually(lambda: len(calls) >= 3)
    assert calls[:3] == [1, 50, 50]  # the rest follows after MAX_WAIT
    answered.set()
    assert await asyncio.gather(*callers) == ops
    assert sum(calls) == len(ops)


async def test_each_caller_gets_its_own_answer(redis_server: RedisServer) -> None:
    broker = RedisBroker(redis_server.url)
    await broker.aexecute(enqueue("taken"))
    copies = [Enqueue(message=enqueue("taken").message, enqueue_id=str(n)) for n in range(3)]
    answers = await asyncio.gather(
        *(broker.aexecute(op) for op in (enqueue("a"), copies[0], enqueue("b"), copies[1], copies[2])),
        return_exceptions=True,
    )
    conflicts = [answer for answer in answers if isinstance(answer, TaskIDConflictError)]
    assert [type(answer).__name__ for answer in answers] == [
        *("Enqueued", "TaskIDConflictError", "Enqueued", "TaskIDConflictError", "TaskIDConflictError")
    ]
    assert len({id(conflict) for conflict in conflicts}) == 3
    assert len({id(conflict.__traceback__) for conflict in conflicts}) == 3
    await broker.aclose()


async def test_an_invalid_operation_fails_alone(redis_server: RedisServer) -> None:
    broker = RedisBroker(redis_server.url)
    invalid = Enqueue(
        message=TaskMessage(id="x", type="t", queue="q"), enqueue_id="x", unique=Unique(ttl=60_000)
    )
    answers: list[Any] = await asyncio.gather(
        *(broker.aexecute(op) for op in (enqueue("a"), enqueue("b"), invalid, enqueue("c"))),
        return_exceptions=True,
    )
    assert isinstance(answers[2], ValueError)
    assert [answer.state for answer in (answers[0], answers[1], answers[3])] == [TaskState.PENDING] * 3
    assert redis_server.client.llen("asynq:{q}:pending") == 3
    await broker.aclose()


@pytest.mark.parametrize("cancelled", range(4))
async def test_a_cancelled_caller_does_not_take_the_others_along(
    own_server: RedisServer, cancelled: int
) -> None:
    broker = RedisBroker(own_server.url)
    await broker.aexecute(enqueue("first"))
    own_server.pause()
    calls = [asyncio.create_task(broker.aexecute(enqueue(str(n)))) for n in range(4)]
    await asyncio.sleep(0)  # the first is under way, the others wait for it
    calls[cancelled].cancel()
    own_server.resume()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(answers.pop(cancelled), asyncio.CancelledError)
    assert [answer.state for answer in answers] == [TaskState.PENDING] * 3  # type: ignore[union-attr]
    others = {str(n) for n in range(4)} - {str(cancelled)}
    assert others <= set(await pending(broker))
    await broker.aclose()


async def test_a_caller_cancelled_while_its_shared_call_is_under_way_is_cancelled_alone(
    own_server: RedisServer,
) -> None:
    with Proxy(own_server.port) as proxy:
        broker = RedisBroker(proxy.url, budget=timedelta(seconds=20))
        await broker.aexecute(enqueue("first"))
        proxy.lose_replies(2, to=b"call for shared")
        calls = [asyncio.create_task(broker.aexecute(enqueue(f"shared-{n}"))) for n in range(5)]
        await aeventually(lambda: proxy.lost >= 1)
        calls[3].cancel()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(answers.pop(3), asyncio.CancelledError)
        assert [answer.state for answer in answers] == [TaskState.PENDING] * 4  # type: ignore[union-attr]
        await broker.aclose()


async def test_a_connection_lost_during_a_shared_call_is_an_error_of_each_caller(
    own_server: RedisServer,
) -> None:
    with Proxy(own_server.port) as proxy:
        broker = RedisBroker(proxy.url, budget=NONE)
        await broker.aexecute(enqueue("first"))
        proxy.lose_replies(2, to=b"call for shared")
        answers: list[Any] = await asyncio.gather(
            *(broker.aexecute(enqueue(f"shared-{n}")) for n in range(5)), return_exceptions=True
        )
        assert {type(answer) for answer in answers} == {BrokerUnavailable}
        assert all(answer.maybe_applied for answer in answers)
        assert len({id(answer) for answer in answers}) == 5
        # They were applied, and copies with the same enqueue id say so.
        again = await asyncio.gather(*(broker.aexecute(enqueue(f"shared-{n}")) for n in range(5)))
        assert {answer.state for answer in again} == {TaskState.PENDING}
        assert len(await pending(broker)) == 6
        await broker.aclose()


async def test_a_call_in_trouble_does_not_hold_up_later_ones(own_server: RedisServer) -> None:
    with Proxy(own_server.port) as proxy:
        broker = RedisBroker(proxy.url, budget=timedelta(seconds=60))
        await broker.aexecute(enqueue("first"))
        proxy.lose_replies(10_000, to=b"call for stuck")
        stuck = asyncio.create_task(broker.aexecute(enqueue("stuck")))
        await aeventually(lambda: proxy.lost > 0)
        answers = await asyncio.gather(*(broker.aexecute(enqueue(str(n))) for n in range(10)))
        assert [answer.state for answer in answers] == [TaskState.PENDING] * 10
        assert not stuck.done()
        proxy.lose_replies(0, to=b"-")
        assert (await stuck).state is TaskState.PENDING
        await broker.aclose()


def test_threads_share_a_broker_for_enqueues(redis_server: RedisServer) -> None:
    broker = RedisBroker(redis_server.url)
    errors: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for n in range(200):
                broker.execute(enqueue(f"{name}-{n}"))
        except BaseException as error:  # noqa: BLE001 - asserted below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert redis_server.client.llen("asynq:{q}:pending") == 400
    broker.close()
