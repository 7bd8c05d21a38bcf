"""What callers held whose call failed is freed with its error, not when the garbage collector comes."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynq import AsyncInspector, Client, Inspector, Task
from asynq.errors import AsynqError, BrokerUnavailable, DuplicateTaskError, TaskNotFoundError
from asynq.protocol.ops import GetTask
from asynq.task_state import TaskState
from asynq.testing import arun_until_idle, run_until_idle
from asynq_sqlite import MemoryBroker, SQLiteBroker
from tests.server.conftest import ServerLab
from tests.server.failing_handlers import ALIVE, FAILING, Big, fails, fails_in_a_thread, without_collector
from tests.waiting import aeventually, eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


# --- helpers for tests ------------------------------------------------------------------------------------


@pytest.mark.parametrize("handler", FAILING, ids=lambda handler: handler.__name__)
@pytest.mark.parametrize("raise_errors", [True, False])
def test_the_locals_of_a_failed_run_until_idle_are_freed(
    handler: Callable[..., Any], raise_errors: bool
) -> None:
    broker = MemoryBroker()
    client = Client(broker)
    with without_collector():
        for _ in range(3):
            client.enqueue(Task("t"))
            with suppress(Exception):
                run_until_idle(broker, handler, raise_errors=raise_errors)
            eventually(lambda: not ALIVE)
    client.close()
    broker.close()


async def test_the_locals_of_a_failed_async_run_until_idle_are_freed() -> None:
    broker = MemoryBroker()
    with without_collector():
        for handler in (fails, fails_in_a_thread):
            with Client(broker) as client:
                client.enqueue(Task("t"))
            with pytest.raises(ValueError, match="1048576"):
                await arun_until_idle(broker, handler)
            eventually(lambda: not ALIVE)
    await broker.aclose()
    broker.close()


# --- errors of the library --------------------------------------------------------------------------------


def test_errors_of_calls_free_the_locals_of_their_callers(lab: ServerLab) -> None:
    client, inspector = Client(lab.broker), Inspector(lab.broker)
    task = Task("t", b"1", unique=timedelta(hours=1))
    client.enqueue(task)

    def refused(call: Callable[[], object], kind: type[AsynqError]) -> None:
        big = Big()
        assert big
        try:
            call()
        except kind:
            return
        raise AssertionError("it was not refused")

    with without_collector():
        for _ in range(2):
            refused(lambda: client.enqueue(task), DuplicateTaskError)
            refused(lambda: inspector.task("default", "nobody"), TaskNotFoundError)
            refused(lambda: list(inspector.tasks("nowhere", TaskState.PENDING)), AsynqError)
            eventually(lambda: not ALIVE)


async def test_errors_of_awaited_calls_free_the_locals_of_their_callers(lab: ServerLab) -> None:
    inspector = AsyncInspector(lab.broker)

    async def refused() -> None:
        big = Big()
        assert big
        try:
            await inspector.task("default", "nobody")
        except TaskNotFoundError:
            return
        raise AssertionError("it was not refused")

    with without_collector():
        for _ in range(2):
            await refused()
            await aeventually(lambda: not ALIVE)


async def test_an_unavailable_store_leaves_no_reference_cycles(tmp_path: Path) -> None:
    broker = SQLiteBroker(tmp_path / "nowhere" / "tasks.db", budget=timedelta(0))

    async def refused() -> None:
        big = Big()
        assert big
        with suppress(AsynqError):
            await broker.aexecute(GetTask(queue="q", task_id="1"))
        with suppress(AsynqError):
            broker.execute(GetTask(queue="q", task_id="1"))

    with without_collector():
        await refused()
        await aeventually(lambda: not ALIVE)
    broker.close()


async def test_a_server_with_an_unavailable_broker_leaves_no_reference_cycles(memory: ServerLab) -> None:
    class Away(MemoryBroker):
        away = 0

        async def aexecute_many(self, ops: Any) -> Any:
            if self.away:
                self.away -= 1
                raise BrokerUnavailable("away")
            return await super().aexecute_many(ops)

    broker = Away()
    with without_collector():
        async with ServerLab(broker).serving(fails):
            broker.away = 5
            await aeventually(lambda: not broker.away)
    broker.close()
