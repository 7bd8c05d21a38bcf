"""The lifespan of a server: what it yields is the state of all handlers, and it surrounds all their runs."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, assert_type

import pytest

from asynq import Client, Context, Inspector, MemoryBroker, ServeMux, Server, ServerStateError, Task
from asynq.worker import lifespan as lifespans
from tests.unit.process_handlers import reads_state, sends_two
from tests.waiting import aeventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass
class State:
    server: Server
    seen: list[str]


async def ignore(ctx: Context, task: Task) -> None:
    return None


def recording(seen: list[str]) -> Any:
    @asynccontextmanager
    async def lifespan(server: Server) -> AsyncIterator[State]:
        seen.append("begin")
        yield State(server, seen)
        seen.append("end")

    return lifespan


async def test_handlers_get_what_the_lifespan_yields_and_it_ends_after_them() -> None:
    mux, seen = ServeMux(), list[str]()
    begun, release = asyncio.Event(), asyncio.Event()

    @mux.handler("waits")
    async def wait(ctx: Context[State], task: Task) -> None:
        assert_type(ctx.state, State)
        begun.set()
        await release.wait()
        ctx.state.seen.append("ran")

    @mux.handler("sync")
    def call(ctx: Context[State], task: Task) -> None:
        ctx.state.seen.append("called")

    broker = MemoryBroker()
    server = Server(broker, handler=mux, lifespan=recording(seen), concurrency=2)
    with Client(broker) as client:
        client.enqueue_many([Task("sync"), Task("waits")])
    await server.start()
    await begun.wait()
    await aeventually(lambda: "called" in seen)
    ending = asyncio.create_task(server.shutdown())
    await aeventually(lambda: server.state == "stopped")
    release.set()
    await ending
    assert seen == ["begin", "called", "ran", "end"]


async def test_hooks_and_middlewares_see_the_state() -> None:
    mux, found = ServeMux(), list[object]()

    @mux.middleware
    async def look(ctx: Context[str], task: Task, next: Any) -> Any:  # noqa: A002 - a middleware
        found.append(ctx.state)
        return await next(ctx, task)

    @asynccontextmanager
    async def lifespan(server: Server) -> AsyncIterator[str]:
        yield "state"

    mux.handle("t", ignore)
    broker = MemoryBroker()
    server = Server(
        broker, handler=mux, lifespan=lifespan, on_success=lambda task, ctx: found.append(ctx.state)
    )
    with Client(broker) as client:
        client.enqueue(Task("t"))
    await server.start()
    await aeventually(lambda: len(found) == 2)
    await server.shutdown()
    assert found == ["state", "state"]


async def test_without_a_lifespan_the_state_is_none() -> None:
    found: list[object] = []

    async def handle(ctx: Context, task: Task) -> None:
        found.append(ctx.state)

    broker = MemoryBroker()
    with Client(broker) as client:
        client.enqueue(Task("t"))
    server = Server(broker, handler=handle)
    await server.start()
    await aeventually(lambda: found == [None])
    await server.shutdown()


async def test_an_error_at_its_start_is_that_of_the_server() -> None:
    @asynccontextmanager
    async def lifespan(server: Server) -> AsyncIterator[None]:
        raise LookupError("no database")
        yield

    server = Server(MemoryBroker(), handler=ignore, lifespan=lifespan)
    with pytest.raises(LookupError, match="no database") as raised:
        await server.start()
    assert raised.value.__notes__ == ["raised by the lifespan of the server at its start"]
    assert (server.state, server.started) == ("closed", False)


async def test_an_error_at_its_end_is_raised_when_the_server_is_closed() -> None:
    @asynccontextmanager
    async def lifespan(server: Server) -> AsyncIterator[None]:
        yield
        raise LookupError("still in use")

    server = Server(MemoryBroker(), handler=ignore, lifespan=lifespan)
    await server.start()
    with pytest.raises(LookupError, match="still in use"):
        await server.shutdown()
    assert server.state == "closed"


async def test_a_cancelled_start_ends_the_lifespan() -> None:
    entered, ended = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def lifespan(server: Server) -> AsyncIterator[None]:
        entered.set()
        try:
            await asyncio.Event().wait()
            yield
        finally:
            ended.set()

    server = Server(MemoryBroker(), handler=ignore, lifespan=lifespan)
    serving = asyncio.create_task(server.serve())
    await entered.wait()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert ended.is_set()
    assert server.state == "closed"


async def test_a_shutdown_during_its_start_ends_it_afterwards() -> None:
    entered, release, seen = asyncio.Event(), asyncio.Event(), list[str]()

    @asynccontextmanager
    async def lifespan(server: Server) -> AsyncIterator[None]:
        entered.set()
        await release.wait()
        yield
        seen.append("end")

    server = Server(MemoryBroker(), handler=ignore, lifespan=lifespan)
    starting = asyncio.create_task(server.start())
    await entered.wait()
    await server.shutdown()
    release.set()
    with pytest.raises(ServerStateError):
        await starting
    assert seen == ["end"]


async def test_a_lifespan_that_fails_while_the_server_runs_shuts_it_down() -> None:
    fail = asyncio.Event()

    async def background() -> None:
        await fail.wait()
        raise LookupError("lost")

    @asynccontextmanager
    async def lifespan(server: Server) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            group.create_task(background())
            yield

    server = Server(MemoryBroker(), handler=ignore, lifespan=lifespan)
    await server.start()
    fail.set()
    await aeventually(lambda: server.state == "closed")
    with pytest.raises(ExceptionGroup):
        await server.shutdown()


async def test_a_forced_shutdown_does_not_wait_for_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifespans, "FORCED_EXIT_TIMEOUT", 0.01)
    leaving, cancelled = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def enter() -> AsyncIterator[None]:
        yield
        leaving.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    lifespan = lifespans.Lifespan(enter, on_crash=lambda: None)
    await lifespan.enter()
    ending = asyncio.create_task(lifespan.leave())
    await leaving.wait()
    lifespan.force()
    await ending
    assert cancelled.is_set()


async def not_a_context(server: Server) -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize("given", [5, not_a_context, ignore, lambda: None])
def test_what_is_not_a_lifespan_is_refused_at_once(given: Any) -> None:
    with pytest.raises(TypeError, match="lifespan"):
        Server(MemoryBroker(), lifespan=given)


async def test_handlers_enqueue_through_the_broker_of_their_server() -> None:
    mux = ServeMux()

    @mux.handler("async")
    async def first(ctx: Context, task: Task) -> None:
        await ctx.client.enqueue(Task("next"), queue="later")

    @mux.handler("sync")
    def second(ctx: Context, task: Task) -> None:
        ctx.client_sync.enqueue(Task("next"), queue="later")

    mux.handle("process", sends_two, executor="process")
    broker = MemoryBroker()
    with Client(broker) as client:
        client.enqueue_many([Task("async"), Task("sync"), Task("process")])
    server = Server(broker, handler=mux)
    await server.start()
    with Inspector(broker) as inspector:
        await aeventually(
            lambda: "later" in inspector.queues() and inspector.queue_info("later").pending == 4
        )
    await server.shutdown()


async def test_a_handler_process_has_no_state() -> None:
    broker = MemoryBroker()
    errors: asyncio.Queue[Exception] = asyncio.Queue()
    mux = ServeMux()
    mux.handle("t", reads_state, executor="process")
    server = Server(
        broker,
        handler=mux,
        lifespan=recording([]),
        on_error=lambda error, task, ctx: errors.put_nowait(error),
    )
    with Client(broker) as client:
        client.enqueue(Task("t", max_retry=0))
    await server.start()
    error = await errors.get()
    await server.shutdown()
    assert isinstance(error, RuntimeError)
    assert "executor='process'" in str(error)
