"""Names nobody should choose: each is refused before anything changes, or carried through like any other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from asynq import AsyncClient, Server, SkipRetry, Task, TaskState
from asynq.protocol.ops import ListQueues, ListTasks
from tests.waiting import aeventually

if TYPE_CHECKING:
    from asynq import Context
    from tests.faults.conftest import Site

NAMES = {
    "braces": "{}",
    "open-brace": "{",
    "closing-brace": "a}b",
    "colons": "a:b::",
    "like-a-key": "asynq:{default}:pending",
    "spaces": "  a  b ",
    "emoji": "\U0001f418\u200d\U0001f525",
    "right-to-left": "\u202eabc\u0301",
    "control": "\x00\x01\x1b[31m\x7f",
    "lines": "a\r\n*1\r\n$8\r\nFLUSHALL\r\n",
    "sql": "'; DROP TABLE tasks; --",
    "sql-like": "%_%",
    "lua": "]] redis.call('FLUSHALL') --[[",
    "lua-pattern": "%d+%",
    "glob": "[a-z]*?",
    "path": "../../etc/passwd",
    "number": "-inf",
    "nothing": "None",
    "format": "%s {0} {x!r} ${y}",
    "html": "<script>alert(1)</script>",
    "long": "a" * (1 << 20),
}

LONGEST_ERROR = 100_000
"""Characters, more than which nobody should have to store."""


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
async def test_a_task_with_hostile_names_is_processed(site: Site, name: str) -> None:
    seen: list[tuple[object, ...]] = []

    async def handler(ctx: Context, task: Task) -> None:
        seen.append((ctx.queue, ctx.task_id, task.type, task.payload.decode(), dict(task.headers)))

    server = Server(site.url, queues=[name, "default"])
    await server.start(handler)
    async with AsyncClient(site.url) as client:
        await client.enqueue(Task(name, name), queue=name, task_id=name, headers={name: name})
        await aeventually(lambda: len(seen) == 1)
        await client.enqueue(Task("t", "innocent"), task_id="t")
        await aeventually(lambda: len(seen) == 2)
    await server.shutdown()
    assert seen == [(name, name, name, name, {name: name}), ("default", "t", "t", "innocent", {})]
    assert site.contents(name).places == site.contents("default").places == {}


@pytest.mark.parametrize("name", [*NAMES.values(), "\ud800"], ids=[*NAMES, "no-text"])
async def test_an_error_with_hostile_text_is_stored(site: Site, name: str) -> None:
    failed = asyncio.Event()

    async def handler(ctx: Context, task: Task) -> None:
        raise SkipRetry(name)

    server = Server(site.url, on_error=lambda error, task, ctx: failed.set())
    await server.start(handler)
    async with AsyncClient(site.url) as client:
        await client.enqueue(Task("t"))
        await failed.wait()
    await server.shutdown()
    [task] = site.broker.execute(ListTasks(queue="default", state=TaskState.ARCHIVED))
    kept = task.message.error
    readable = name.encode(errors="backslashreplace").decode().replace("\0", "\\x00")
    assert kept.startswith(readable[:1000])
    assert len(kept) < LONGEST_ERROR


@pytest.mark.parametrize("name", ["", " ", "\t\n", "\u3000", "\ud800", "a\udfff"])
@pytest.mark.parametrize("option", ["type", "queue", "task_id"])
async def test_blank_and_non_text_names_are_refused_before_any_change(
    site: Site, option: str, name: str
) -> None:
    named: dict[str, Any] = {} if option == "type" else {option: name}
    async with AsyncClient(site.url) as client:
        with pytest.raises(ValueError, match=option):
            await client.enqueue(Task(name if option == "type" else "t"), **named)
    assert site.broker.execute(ListQueues()) == ()
