from __future__ import annotations

import inspect
import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path  # noqa: TC003
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import pydantic
import pytest

from asynq import (
    Client,
    Context,
    MemoryBroker,
    PayloadError,
    Scheduler,
    ServeMux,
    Server,
    Task,
    TaskFunction,
    TaskState,
    TaskType,
)
from asynq.handlers.outcome import Failed, Succeeded
from asynq.protocol.ops import GetTask
from asynq.testing import assert_enqueued, run_until_idle
from tests.unit import process_tasks
from tests.unit.handler_runs import delivery

if TYPE_CHECKING:
    from tests.unit.handler_runs import Runs


@dataclass
class Address:
    street: str


class Model(pydantic.BaseModel):
    number: int


mux = ServeMux()
ran: list[Any] = []


@mux.task("email:welcome", max_retry=5, queue="mail", retention=timedelta(hours=1))
async def welcome(ctx: Context, user_id: int, lang: str = "en") -> str:
    """Welcome a user."""
    ran.append((ctx.max_retry, user_id, lang))
    return f"welcome {user_id}"


@mux.task("move")
def move(user_id: int, /, to: Address, *, at: datetime | None = None, tags: list[str] = ["a"]) -> None:  # noqa: B006
    ran.append((user_id, to, at, tags, threading.current_thread() is threading.main_thread()))


@mux.task("count")
def count() -> int:
    return 1


@mux.task("plain")
def plain(ctx, a, b=2):  # type: ignore[no-untyped-def]
    ran.append((ctx.task_id, a, b))


@pytest.fixture(autouse=True)
def _none_ran() -> None:
    ran.clear()


def test_a_call_makes_a_task_of_its_arguments_by_name() -> None:
    assert welcome(42) == Task(
        "email:welcome",
        b'{"user_id":42,"lang":"en"}',
        max_retry=5,
        queue="mail",
        retention=timedelta(hours=1),
    )
    assert welcome(user_id=42, lang="de").payload == welcome(42, "de").payload
    assert ran == []


def test_the_function_itself_is_called_by_its_name() -> None:
    assert inspect.iscoroutinefunction(welcome.fn)
    move.fn(1, Address("x"))
    assert ran == [(1, Address("x"), None, ["a"], True)]


def test_it_shows_the_call_that_makes_a_task() -> None:
    assert str(inspect.signature(welcome)).startswith("(user_id: 'int', lang: 'str' = 'en')")
    assert inspect.getdoc(welcome) == "Welcome a user."
    assert repr(welcome).startswith("TaskFunction('email:welcome', ")


def test_the_function_runs_with_the_arguments_of_the_call() -> None:
    broker = MemoryBroker()
    instant = datetime(2030, 1, 1, tzinfo=UTC)
    with Client(broker) as client:
        client.enqueue_many(
            [
                welcome(42),
                move(1, Address("x"), at=instant),
                move(2, to=Address("y"), tags=[]),
                count(),
                plain(1),
            ]
        )
        runs = run_until_idle(broker, mux)
    assert [run.error for run in runs] == [None] * 5
    assert (5, 42, "en") in ran
    assert (1, Address("x"), instant, ["a"], False) in ran
    assert (2, Address("y"), None, [], False) in ran
    assert [each[1:] for each in ran if len(each) == 3 and each[1:] == (1, 2)]


def test_wait_decodes_the_result_to_the_annotated_type() -> None:
    broker = MemoryBroker()
    with Client(broker) as client:
        infos = [
            client.enqueue(task, retention=timedelta(hours=1))
            for task in (welcome(1), count(), move(1, Address("x")), plain(1))
        ]
        run_until_idle(broker, mux)
        assert [client.wait(info) for info in infos] == ["welcome 1", 1, None, b""]


def test_go_sends_arguments_as_an_object_and_leaves_out_defaults() -> None:
    broker = MemoryBroker()
    with Client(broker) as client:
        client.enqueue(Task("email:welcome", b'{"lang": "de", "user_id": 7, "more": true}'))
        client.enqueue(Task("email:welcome", b'{"user_id": 8}'))
        client.enqueue(Task("count"))
        run_until_idle(broker, mux)
    assert [each[1:] for each in ran] == [(7, "de"), (8, "en")]


@pytest.mark.parametrize("payload", [b"[]", b'{"user_id":"7"}', b"{}", b"", b"no json"])
def test_a_task_with_other_arguments_is_archived_at_once_with_the_reason(payload: bytes) -> None:
    broker = MemoryBroker()
    with Client(broker) as client:
        info = client.enqueue(Task("email:welcome", payload))
        [run] = run_until_idle(broker, mux, raise_errors=False)
    assert isinstance(run.error, PayloadError)
    stored = broker.execute(GetTask(queue="default", task_id=info.id))
    assert stored.state is TaskState.ARCHIVED
    assert "email:welcome" in stored.message.error


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: f(), "missing a required argument: 'user_id'"),
        (lambda f: f(1, "en", 3), "too many positional arguments"),
        (lambda f: f(1, user_id=1), "multiple values for argument 'user_id'"),
        (lambda f: f(1, language="en"), "unexpected keyword argument 'language'"),
        (lambda f: f("1"), "Expected `int`, got `str` - at `[$].user_id`"),
        (lambda f: f(True), "Expected `int`, got `bool` - at `[$].user_id`"),
        (lambda f: f(1, object()), "object"),
    ],
)
def test_wrong_arguments_are_a_type_error(call: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call(welcome)


def test_positional_only_arguments_are_not_passed_by_name() -> None:
    function: Any = move
    with pytest.raises(TypeError, match="user_id"):
        function(user_id=1, to=Address("x"))


def test_models_and_constraints_are_checked() -> None:
    mux = ServeMux()

    @mux.task("t")
    def take(model: Model, number: Annotated[int, msgspec.Meta(ge=1)] = 1) -> None: ...

    assert json.loads(take(Model(number=1)).payload) == {"model": {"number": 1}, "number": 1}
    with pytest.raises(TypeError, match="number"):
        take(Model(number=1), 0)
    with pytest.raises(TypeError, match="model"):
        take({"number": "x"})  # type: ignore[arg-type]


def of_var(*numbers: int) -> None: ...
def of_keywords(**numbers: int) -> None: ...
def of_path(path: Path) -> None: ...
def of_any(first: Any) -> None: ...
def of_object(first: object) -> None: ...
def of_untyped(first, second: int) -> None: ...  # type: ignore[no-untyped-def]
def of_unknown(first: Unknown) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def of_late_context(number: int, ctx: Context) -> None: ...


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (of_var, "of_var: a task has named arguments, not .numbers"),
        (of_keywords, "of_keywords: a task has named arguments"),
        (of_path, "of_path: an argument cannot be decoded: .*Path"),
        (of_any, "of_any: annotate 'first' more precisely"),
        (of_object, "of_object: annotate 'first' more precisely"),
        (of_untyped, "of_untyped: annotate 'first', or name the first parameter 'ctx'"),
        (of_unknown, "of_unknown: name 'Unknown' is not defined; annotations are evaluated"),
        (of_late_context, "of_late_context: an argument cannot be decoded: .*Context"),
        (Address, "mux.task decorates functions"),
    ],
)
def test_a_function_that_cannot_be_a_task_is_refused(function: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        ServeMux().task("t")(function)


def test_invalid_uses_of_the_decorator_are_refused() -> None:
    mux: Any = ServeMux()
    with pytest.raises(TypeError, match=r"write @mux\.task"):
        mux.task(of_path)
    with pytest.raises(TypeError, match=r"mux\.task\(\) got .* did you mean 'max_retry'"):
        mux.task("t", max_retries=1)(count.fn)
    with pytest.raises(TypeError, match=r"options are queue, .* retry_delay, retry_on"):
        mux.task("t", keep_result=1)(count.fn)
    with pytest.raises(ValueError, match="executor is for sync functions; welcome is async"):
        mux.task("t", executor="thread")(welcome.fn)
    with pytest.raises(ValueError, match="payload is declared by the arguments"):
        mux.handle("t", count, payload=int)
    with pytest.raises(TypeError, match=r"progress=.*object"):
        mux.task("t", progress=object)(count.fn)


def test_tasks_of_nested_muxes_run() -> None:
    billing, outer, broker = ServeMux(), ServeMux(), MemoryBroker()
    build = TaskType("billing:build", Address, result=str)

    @billing.task("billing:send")
    def send(number: int) -> None:
        ran.append(number)

    @billing.handler(build)
    async def built(ctx: Context, address: Address) -> str:
        ran.append(address)
        return address.street

    outer.handle("billing:", billing)
    with Client(broker) as client:
        client.enqueue_many([send(7), build(street="x")])
        run_until_idle(broker, outer)
    assert ran == [7, Address("x")]


def test_a_task_type_declares_the_payload_of_its_handler() -> None:
    mux, broker = ServeMux(), MemoryBroker()
    tidy = TaskType("tidy")

    @mux.handler(tidy)
    def tidied(ctx: Context, task: Task) -> None:
        ran.append(task.type)

    with pytest.raises(ValueError, match="payload is declared by the TaskType 't'"):
        mux.handle(TaskType("t", Address), tidied, payload=Address)
    with Client(broker) as client:
        client.enqueue(tidy())
        run_until_idle(broker, mux)
    assert ran == ["tidy"]


def test_a_registered_function_can_be_added_to_another_mux() -> None:
    other, broker = ServeMux(), MemoryBroker()
    other.handle("count", count)
    with Client(broker) as client:
        client.enqueue(count(), retention=timedelta(hours=1))
        [run] = run_until_idle(broker, other)
    assert run.result == b"1"


def test_a_function_that_is_a_task_is_no_handler_of_all_tasks() -> None:
    """It would run tasks of other types with their payloads, or archive them."""
    task: Any = welcome
    with pytest.raises(TypeError, match=r"^welcome handles tasks of one type: pass the mux that has it$"):
        Server(MemoryBroker(), handler=task)
    with pytest.raises(TypeError, match=r"^welcome handles tasks of one type: pass the mux that has it$"):
        run_until_idle(MemoryBroker(), task)


def test_a_scheduler_and_the_test_helpers_take_defined_tasks() -> None:
    broker = MemoryBroker()
    assert Scheduler(broker).register("@hourly", welcome(user_id=1))
    with Client(broker) as client:
        client.enqueue(welcome(user_id=1))
    assert_enqueued(broker, welcome.type, payload={"user_id": 1, "lang": "en"}, queue="mail")


async def test_a_function_runs_in_a_process(runs: Runs) -> None:
    from tests.unit.process_handlers import Order

    task = process_tasks.double(Order(21), pid=os.getpid())
    try:
        outcome = await runs.outcome(process_tasks.mux, delivery(payload=task.payload))
        assert outcome == Succeeded(b"id-1: 42")
        outcome = await runs.outcome(process_tasks.mux, delivery(payload=b"{}"))
        assert isinstance(outcome, Failed)
        assert isinstance(outcome.error, PayloadError)
    finally:
        runs.processes.close()


def test_type_arguments_are_accepted_at_run_time() -> None:
    assert str(TaskFunction[Callable[[int], str], [int], str])
