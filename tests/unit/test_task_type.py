from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Generic, NamedTuple, TypedDict, TypeVar

import attrs
import msgspec
import pydantic
import pytest

from asynq import AsynqError, Client, MemoryBroker, ResultError, Task, TaskInfo, TaskType
from asynq.protocol.ops import Complete, Dequeue, WriteResult

T = TypeVar("T")


@dataclass
class Welcome:
    user_id: int
    lang: str = "en"


@attrs.frozen
class OfAttrs:
    user_id: int
    lang: str = "en"


class OfMsgspec(msgspec.Struct):
    user_id: int
    lang: str = "en"


class OfPydantic(pydantic.BaseModel):
    user_id: int
    lang: str = "en"


class OfTypedDict(TypedDict):
    user_id: int
    lang: str


class OfNamedTuple(NamedTuple):
    user_id: int
    lang: str = "en"


@dataclass
class Page(Generic[T]):
    items: list[T]


@dataclass
class Invoice:
    total: int


@pytest.mark.parametrize("kind", [Welcome, OfAttrs, OfMsgspec, OfPydantic])
def test_a_call_with_the_fields_of_the_payload_makes_the_task(kind: Any) -> None:
    welcome = TaskType("email:welcome", kind, max_retry=5, headers={"h": "1"})
    task = welcome(user_id=42)
    assert task == Task("email:welcome", kind(user_id=42), max_retry=5, headers={"h": "1"})
    assert json.loads(task.payload) == {"user_id": 42, "lang": "en"}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Welcome, Welcome(42)),
        (OfPydantic, OfPydantic(user_id=42)),
        (OfTypedDict, {"user_id": 42, "lang": "en"}),
        (OfNamedTuple, OfNamedTuple(42)),
        (Page[int], Page([1])),
        (list[int], [1, 2]),
        (dict[str, int], {"a": 1}),
        (int, 5),
        (str, "text"),
        (bytes, b"data"),
        (Welcome | None, Welcome(1)),
        (Annotated[int, msgspec.Meta(ge=1)], 5),
    ],
)
def test_a_call_with_the_payload_itself_makes_the_task(kind: Any, value: Any) -> None:
    assert TaskType("t", kind)(value) == Task("t", value)


@pytest.mark.parametrize("kind", [OfTypedDict, OfNamedTuple, Page[int]])
def test_other_types_with_fields_are_called_with_their_fields_too(kind: Any) -> None:
    fields: dict[str, Any] = {"items": [1]} if kind == Page[int] else {"user_id": 42, "lang": "en"}
    assert TaskType("t", kind)(**fields) == Task("t", kind(**fields))


def test_positional_arguments_are_those_of_the_class() -> None:
    assert TaskType("t", Welcome)(42, "de") == Task("t", Welcome(42, "de"))


def test_a_type_without_a_payload_makes_tasks_without_one() -> None:
    assert TaskType("tidy")() == Task("tidy")
    assert TaskType("maybe", Welcome | None)(None) == Task("maybe")


@pytest.mark.parametrize("kind", [Welcome, OfAttrs, OfMsgspec, OfPydantic])
@pytest.mark.parametrize(
    "arguments", [{}, {"user": 42}, {"user_id": 42, "language": "en"}, {"user_id": "x"}, {"user_id": None}]
)
def test_wrong_arguments_are_a_type_error(kind: Any, arguments: dict[str, Any]) -> None:
    if kind is OfPydantic and "language" in arguments:
        pytest.skip("pydantic models ignore unknown fields by default")
    with pytest.raises(TypeError, match=r"user_id|user|language|argument"):
        TaskType("email:welcome", kind)(**arguments)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (int, "5"),
        (int, True),
        (list[int], ["a"]),
        (Welcome, OfAttrs(1)),
        (Page[int], Page(["a"])),
        (str, b"\xff"),
    ],
)
def test_a_payload_of_another_type_is_a_type_error(kind: Any, value: Any) -> None:
    with pytest.raises(TypeError, match="task 't'"):
        TaskType("t", kind)(value)


def test_a_payload_that_its_handler_would_get_altered_is_a_type_error() -> None:
    @dataclass
    class Longer(Welcome):
        more: int = 1

    with pytest.raises(TypeError, match="the handler would get another payload"):
        TaskType("t", Welcome)(Longer(1))


def test_a_type_without_fields_takes_one_argument() -> None:
    numbers: Any = TaskType("t", list[int])
    with pytest.raises(TypeError, match=r"task 't' takes one argument: its payload, list\[int\]"):
        numbers(1, 2)
    tidy: Any = TaskType("t")
    with pytest.raises(TypeError, match="has no payload"):
        tidy(1)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((" ",), {}, ValueError, "type must not be blank"),
        (("t", Any), {}, TypeError, "payload=.*Any"),
        (("t", Task), {}, TypeError, "leave it out"),
        (("t",), {"result": object}, TypeError, "result=object"),
        (("t",), {"max_retries": 1}, TypeError, "TaskType.* did you mean 'max_retry'"),
        (("t",), {"max_retry": -1}, ValueError, "max_retry"),
        (("t",), {"deadline": datetime.now(UTC)}, TypeError, "deadline is an option of one task"),
        (("t",), {"process_at": datetime.now(UTC)}, TypeError, "process_at is an option of one task"),
    ],
)
def test_invalid_definitions_are_refused(
    arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        TaskType(*arguments, **options)


def test_its_representation_names_type_and_options() -> None:
    assert repr(TaskType("t", Welcome, max_retry=5)) == "TaskType('t', max_retry=5)"


def test_type_arguments_are_accepted_at_run_time() -> None:
    assert [str(kind) for kind in (Task[int], TaskInfo[int, str], TaskType[Welcome, Invoice])]


def test_options_of_a_call_override_those_of_the_type() -> None:
    welcome = TaskType("t", Welcome, queue="mail", max_retry=5, retention=timedelta(hours=1))
    with Client(MemoryBroker()) as client:
        info = client.enqueue(welcome(user_id=1), max_retry=7)
    assert (info.queue, info.max_retry, info.retention) == ("mail", 7, timedelta(hours=1))


def pickled(info: Any) -> Any:
    return pickle.loads(pickle.dumps(info))  # noqa: S301 - from above


def complete(broker: MemoryBroker, result: bytes | None) -> None:
    [delivery] = broker.execute(Dequeue(orders=(("default",),), token="t", lease=60_000))
    broker.execute(Complete(delivery=delivery, result=result))


@pytest.mark.parametrize(
    ("definition", "stored", "result"),
    [
        (TaskType("t", Welcome, result=Invoice), b'{"total":5}', Invoice(5)),
        (TaskType("t", Welcome, result=Invoice | None), None, None),
        (TaskType("t", Welcome, result=str), b"text", "text"),
        (TaskType("t", Welcome, result=bytes), b"data", b"data"),
        (TaskType("t", Welcome), b"last progress", None),
    ],
)
@pytest.mark.parametrize("copied", [lambda info: info, copy.copy, pickled])
def test_wait_decodes_the_result_to_the_declared_type(
    definition: Any, stored: bytes | None, result: Any, copied: Any
) -> None:
    broker = MemoryBroker()
    with Client(broker) as client:
        info = client.enqueue(definition(user_id=1), retention=timedelta(hours=1))
        [many] = client.enqueue_many([definition(user_id=1)], retention=timedelta(hours=1))
        assert not isinstance(many, AsynqError)
        for each in (info, many):
            complete(broker, stored)
            assert client.wait(copied(each)) == result
        assert [ended.result() for ended in client.as_completed([info, many])] == [result, result]


def test_stream_decodes_the_progress_to_the_declared_type() -> None:
    broker = MemoryBroker()
    with Client(broker) as client:
        encode = TaskType("t", result=Invoice, progress=Welcome)
        info = client.enqueue(encode(), retention=timedelta(hours=1))
        [delivery] = broker.execute(Dequeue(orders=(("default",),), token="t", lease=60_000))
        broker.execute(WriteResult(lease=delivery.lease, result=b'{"user_id":7}'))
        steps = client.stream(info)
        assert next(steps) == Welcome(7)
        broker.execute(Complete(delivery=delivery, result=b'{"total":5}'))
        assert (list(steps), client.wait(info)) == ([], Invoice(5))


def test_a_type_given_to_wait_overrides_the_declared_one() -> None:
    broker = MemoryBroker()
    with Client(broker) as client:
        info = client.enqueue(TaskType("t", result=Invoice)(), retention=timedelta(hours=1))
        complete(broker, b"5")
        assert client.wait(info, result=int) == 5
        with pytest.raises(ResultError, match="cannot be decoded"):
            client.wait(info)


def test_the_definition_of_a_task_imports_no_handlers_and_no_pydantic() -> None:
    code = (
        "import sys, asynq, dataclasses\n"
        "@dataclasses.dataclass\nclass P:\n    a: int\n"
        "asynq.TaskType('t', P)(a=1)\n"
        "unwanted = ('asynq.handlers', 'asynq.worker', 'pydantic')\n"
        "sys.exit(any(name.startswith(unwanted) for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
