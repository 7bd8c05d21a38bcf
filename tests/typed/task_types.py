"""What type checkers must see of tasks that are defined once. mypy and pyright check it; nothing runs it.

A line with `# type: ignore[...]` must be refused: both checkers report an ignore that suppresses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, assert_type

import attrs
import msgspec
import pydantic

import asynq


@dataclass
class Welcome:
    user_id: int
    lang: str = "en"


@attrs.frozen
class OfAttrs:
    user_id: int


class OfMsgspec(msgspec.Struct):
    user_id: int


class OfPydantic(pydantic.BaseModel):
    user_id: int


@dataclass
class Invoice:
    total: int


@dataclass
class Step:
    done: int


client = asynq.Client("memory://typed")

welcome = asynq.TaskType("email:welcome", Welcome, max_retry=5)
bill = asynq.TaskType("invoice:build", Welcome, result=Invoice)
encode = asynq.TaskType("video:encode", Welcome, result=Invoice, progress=Step)
tidy = asynq.TaskType("tidy")
total = asynq.TaskType("sum", list[int], result=int)
maybe = asynq.TaskType("maybe", Welcome | None, result=Invoice | None)

assert_type(welcome(user_id=42), asynq.Task[None, bytes])
assert_type(welcome(Welcome(42)), asynq.Task[None, bytes])
assert_type(tidy(), asynq.Task[None, bytes])
assert_type(bill(42, "de"), asynq.Task[Invoice, bytes])
assert_type(encode(42), asynq.Task[Invoice, Step])
assert_type(total([1, 2]), asynq.Task[int, bytes])
assert_type(maybe(None), asynq.Task[Any, Any])
assert_type(asynq.Task("t", {"a": 1}), asynq.Task[bytes, bytes])
assert_type(asynq.TaskType("t", result=Invoice)(), asynq.Task[Invoice, bytes])
assert welcome(user_id=42) == asynq.Task("email:welcome", {"user_id": 42})
asynq.TaskType("t", OfAttrs)(user_id=1)
asynq.TaskType("t", OfMsgspec)(user_id=1)
asynq.TaskType("t", OfPydantic)(user_id=1)

welcome()  # type: ignore[call-overload]
welcome(user=42)  # type: ignore[call-overload]
welcome(user_id="42")  # type: ignore[call-overload]
welcome(Invoice(1))  # type: ignore[call-overload]
tidy(1)  # type: ignore[call-overload]
asynq.TaskType("t", OfAttrs)(user_id="1")  # type: ignore[call-overload]
asynq.TaskType("t", OfMsgspec)(user_id="1")  # type: ignore[call-overload]
asynq.TaskType("t", OfPydantic)(user_id="1")  # type: ignore[call-overload]
asynq.TaskType("t", Welcome, max_retries=5)  # type: ignore[call-overload]

info = client.enqueue(bill(user_id=42))
assert_type(info, asynq.TaskInfo[Invoice, bytes])
assert_type(client.wait(info), Invoice)
assert_type(client.wait(info, result=str), str)
assert_type(client.wait(client.enqueue(welcome(user_id=42))), None)
assert_type(client.wait(client.enqueue(asynq.Task("t"))), bytes)
assert_type(client.enqueue_many([bill(1), bill(2)])[0], asynq.TaskInfo[Invoice, bytes] | asynq.AsynqError)

assert_type(bill(1).with_options(then=welcome(1)), asynq.Task[Invoice, bytes])
assert_type(client.enqueue(bill(1), then=[encode(1), tidy()]), asynq.TaskInfo[Invoice, bytes])
assert_type(client.enqueue_join([bill(1), welcome(1)], then=encode(1)), asynq.TaskInfo[Invoice, Step])
assert_type(client.wait(client.enqueue_join([bill(1)], then=total([1]))), int)
client.enqueue(bill(1), then=welcome)  # type: ignore[arg-type]
client.enqueue_join(bill(1), then=tidy())  # type: ignore[arg-type]
client.enqueue_join([bill(1)], then=[tidy()])  # type: ignore[arg-type]
client.enqueue_join([bill(1)])  # type: ignore[call-arg]


assert_type(client.wait(task_id="1"), bytes)
assert_type(client.wait(task_id="1", result=Invoice), Invoice)
assert_type(client.wait(task_id="1", result=bill), Invoice)
assert_type(client.wait(task_id="1", result=welcome), None)
assert_type(client.wait(task_id="1", result=total), int)
assert_type(client.get("1"), asynq.TaskInfo[bytes, bytes])
assert_type(client.get("1", task_type=encode), asynq.TaskInfo[Invoice, Step])
assert_type(client.wait(client.get("1", task_type=bill)), Invoice)
client.get("1", task_type=Invoice)  # type: ignore[call-overload]
for step in client.stream(client.enqueue(encode(user_id=42))):
    assert_type(step, Step)
for step in client.stream(task_id="1", progress=encode):
    assert_type(step, Step)
for written in client.stream(task_id="1", progress=bill):
    assert_type(written, bytes)
for ended in client.as_completed([info]):
    assert_type(ended.result(), Invoice)


async def awaited(client: asynq.AsyncClient) -> None:
    info = await client.enqueue(encode(user_id=42))
    assert_type(await client.wait(info), Invoice)
    assert_type(await client.wait(task_id="1", result=encode), Invoice)
    assert_type(await client.enqueue_join([bill(1)], then=encode(1)), asynq.TaskInfo[Invoice, Step])
    assert_type(await client.get("1", task_type=encode), asynq.TaskInfo[Invoice, Step])
    async for step in client.stream(info):
        assert_type(step, Step)
    async for step in client.stream(task_id="1", progress=encode):
        assert_type(step, Step)
    async for each in client.as_completed([info], result=bill):
        assert_type(each.result(), Invoice)
    async for ended in client.as_completed([info]):
        assert_type(ended.result(), Invoice)


def with_annotations(
    task: asynq.Task,
    some: asynq.TaskType,
    one: asynq.TaskType[Welcome, Invoice],
    info: asynq.TaskInfo[Invoice],
) -> None:
    """Annotations without all type arguments take any task."""
    assert_type(client.enqueue(task), asynq.TaskInfo[Any, Any])
    assert_type(client.enqueue(some()), asynq.TaskInfo[Any, Any])
    assert_type(client.wait(client.enqueue(one(user_id=1))), Invoice)
    assert_type(client.wait(info), Invoice)


with_annotations(bill(user_id=1), bill, bill, info)
with_annotations(welcome(user_id=1), welcome, welcome, info)  # type: ignore[arg-type]
