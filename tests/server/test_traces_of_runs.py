"""OpenTelemetry spans of runs: what they link to, how they end, and what is current in a handler."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.server.spans import Spans, attributes, id_of, instrumented, linked

from opentelemetry import baggage, context  # isort: skip
from opentelemetry.trace import SpanKind, StatusCode, get_current_span  # isort: skip

from asynq import (
    AsyncClient,
    AsyncInspector,
    RateLimited,
    RetryIn,
    RevokeTask,
    ServeMux,
    SkipRetry,
    Task,
    TaskLogFilter,
    TaskState,
)
from tests.server import traced_handlers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from opentelemetry.sdk.trace import ReadableSpan

    from asynq import Context, Next, SyncNext
    from tests.server.conftest import ServerLab


@pytest.fixture
def spans() -> Iterator[Spans]:
    with instrumented(Spans()) as spans:
        yield spans


async def run(lab: ServerLab, spans: Spans, handler: Any, **options: Any) -> ReadableSpan:
    """Enqueue a task and let a server run it once; the span of the run."""
    await AsyncClient(lab.broker).enqueue(Task("t"), **options)
    async with lab.serving(handler):
        [span] = await spans.reach("process default")
    return span


async def test_a_run_is_a_span_that_links_to_its_enqueue(lab: ServerLab, spans: Spans) -> None:
    async def handler(ctx: Context, task: Task) -> None: ...

    span = await run(lab, spans, handler)
    sent = spans.one("send default")
    assert (span.kind, span.parent, linked(span)) == (SpanKind.CONSUMER, None, [id_of(sent)])
    assert attributes(span) == {
        "system": "asynq",
        "operation.name": "process",
        "operation.type": "process",
        "destination.name": "default",
        "message.id": attributes(sent)["message.id"],
        "asynq.task.type": "t",
        "asynq.task.attempt": 1,
        "asynq.outcome": "succeeded",
    }
    assert span.status.status_code is StatusCode.UNSET


async def test_a_run_can_be_a_child_of_its_enqueue(lab: ServerLab) -> None:
    async def handler(ctx: Context, task: Task) -> None: ...

    with instrumented(Spans(), parent=True) as spans:
        span = await run(lab, spans, handler)
    sent = spans.one("send default")
    assert span.parent is not None
    assert (span.parent.span_id, linked(span)) == (id_of(sent), [id_of(sent)])


async def test_a_task_without_a_trace_begins_one(lab: ServerLab, spans: Spans) -> None:
    async def handler(ctx: Context, task: Task) -> None: ...

    await lab.enqueue()
    async with lab.serving(handler):
        [span] = await spans.reach("process default")
    assert (span.parent, linked(span)) == (None, [])


# --- what is current in a handler -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["async", "thread", "sync middleware", "async in thread"])
async def test_spans_of_a_handler_are_children_of_its_run(lab: ServerLab, spans: Spans, kind: str) -> None:
    mux, tenants = ServeMux(), list[object]()

    def work() -> None:
        tenants.append(baggage.get_baggage("tenant"))
        with spans.tracer.start_as_current_span("work"):
            pass

    async def awaited(ctx: Context, task: Task) -> None:
        await asyncio.sleep(0)
        work()

    def plain(ctx: Context, task: Task) -> None:
        work()

    def middleware(ctx: Context, task: Task, next: SyncNext) -> Any:  # noqa: A002
        with spans.tracer.start_as_current_span("middleware"):
            return next(ctx, task)

    if "middleware" in kind or "in" in kind.split():
        mux.middleware(middleware)
    mux.handle("t", awaited if kind.startswith("async") else plain)
    token = context.attach(baggage.set_baggage("tenant", "7"))
    try:
        span = await run(lab, spans, mux)
    finally:
        context.detach(token)
    outer = spans.named("middleware") or [span]
    work_span = spans.one("work")
    assert work_span.parent is not None
    assert work_span.parent.span_id == id_of(outer[0])
    assert outer[0] is span or (outer[0].parent is not None and outer[0].parent.span_id == id_of(span))
    assert tenants == ["7"]


async def test_a_handler_process_continues_the_trace(lab: ServerLab, spans: Spans) -> None:
    mux = ServeMux()
    mux.handle("t", traced_handlers.current, executor="process", middlewares=[traced_handlers.through])

    @mux.middleware
    async def outer(ctx: Context, task: Task, next: Next) -> Any:  # noqa: A002
        with spans.tracer.start_as_current_span("middleware"):
            return await next(ctx, task)

    token = context.attach(baggage.set_baggage("tenant", "7"))
    try:
        info = await AsyncClient(lab.broker).enqueue(Task("t"), retention=timedelta(hours=1))
    finally:
        context.detach(token)
    async with lab.serving(mux):
        stored = await lab.reaches(info.id, TaskState.COMPLETED)
    span = spans.one("middleware")
    expected = [span.get_span_context().trace_id, id_of(span), "7"]  # type: ignore[union-attr]
    assert json.loads(stored.result) == [expected, expected]


async def test_what_a_handler_enqueues_is_a_child_of_its_run(lab: ServerLab, spans: Spans) -> None:
    async def handler(ctx: Context, task: Task) -> None:
        await ctx.client.enqueue(Task("next"), queue="later")

    span = await run(lab, spans, handler)
    sent = spans.one("send later")
    assert sent.parent is not None
    assert sent.parent.span_id == id_of(span)


async def test_logs_of_a_handler_name_the_trace(lab: ServerLab, spans: Spans) -> None:
    records: list[logging.LogRecord] = []

    def handler(ctx: Context, task: Task) -> None:
        record = logging.makeLogRecord({})
        TaskLogFilter().filter(record)
        records.append(record)

    span = await run(lab, spans, handler)
    assert vars(records[0])["span_id"] == f"{id_of(span):016x}"


async def test_nothing_is_current_after_a_run(lab: ServerLab, spans: Spans) -> None:
    def handler(ctx: Context, task: Task) -> None: ...

    await run(lab, spans, handler)
    assert not get_current_span().get_span_context().is_valid


# --- how runs end ---------------------------------------------------------------------------------------


def ending(span: ReadableSpan) -> tuple[Any, Any, StatusCode, list[str]]:
    found = attributes(span)
    names = [event.name for event in span.events]
    return found["asynq.outcome"], found.get("error.type"), span.status.status_code, names


@pytest.mark.parametrize(
    ("error", "outcome", "error_type"),
    [
        (ValueError("bad"), "failed", "ValueError"),
        (SkipRetry("bad"), "failed", "asynq.SkipRetry"),
        (RetryIn(timedelta(hours=1), "bad"), "failed", "asynq.RetryIn"),
        (RevokeTask(), "revoked", None),
        (RateLimited(timedelta(hours=1)), "rate_limited", None),
    ],
)
async def test_the_error_of_a_run_is_recorded_if_it_is_a_failure(
    lab: ServerLab, spans: Spans, error: Exception, outcome: str, error_type: str | None
) -> None:
    async def handler(ctx: Context, task: Task) -> None:
        raise error

    span = await run(lab, spans, handler)
    if error_type is None:
        assert ending(span) == (outcome, None, StatusCode.UNSET, [])
        return
    assert ending(span) == (outcome, error_type, StatusCode.ERROR, ["exception"])
    assert "bad" in (span.status.description or "")
    recorded = span.events[0].attributes or {}
    assert "in handler" in str(recorded["exception.stacktrace"])


async def test_each_attempt_is_a_span_that_links_to_the_enqueue(lab: ServerLab, spans: Spans) -> None:
    async def handler(ctx: Context, task: Task) -> None:
        if not ctx.retried:
            raise ValueError("bad")

    await AsyncClient(lab.broker).enqueue(Task("t"))
    async with lab.serving(handler, retry_delay=timedelta(0)):
        first, second = await spans.reach("process default", 2)
    sent = id_of(spans.one("send default"))
    assert linked(first) == linked(second) == [sent]
    assert [attributes(span)["asynq.task.attempt"] for span in (first, second)] == [1, 2]
    assert [ending(span)[0] for span in (first, second)] == ["failed", "succeeded"]


async def test_a_task_without_a_handler_is_a_failed_run(lab: ServerLab, spans: Spans) -> None:
    span = await run(lab, spans, ServeMux())
    assert ending(span)[:3] == ("failed", "asynq.HandlerNotFoundError", StatusCode.ERROR)


async def test_a_timeout_is_a_failure(lab: ServerLab, spans: Spans) -> None:
    mux = ServeMux()

    @mux.handler("t", timeout=timedelta(milliseconds=20))
    async def handler(ctx: Context, task: Task) -> None:
        await asyncio.Event().wait()

    span = await run(lab, spans, mux)
    assert ending(span)[:3] == ("failed", "asynq.TaskTimeoutError", StatusCode.ERROR)


@asynccontextmanager
async def waiting(lab: ServerLab, **options: Any) -> AsyncIterator[str]:
    """A server that runs a task which does not end by itself; the id of the task."""
    begun = asyncio.Event()

    async def handler(ctx: Context, task: Task) -> None:
        begun.set()
        await asyncio.Event().wait()

    info = await AsyncClient(lab.broker).enqueue(Task("t"))
    async with lab.serving(handler, **options):
        await asyncio.wait_for(begun.wait(), 30)
        yield info.id


async def test_a_cancellation_by_an_operator_is_shown(lab: ServerLab, spans: Spans) -> None:
    async with waiting(lab) as task_id, AsyncInspector(lab.broker) as inspector:
        assert await inspector.cancel(task_id)
        [span] = await spans.reach("process default")
    assert ending(span) == ("cancelled", "cancelled", StatusCode.ERROR, [])


async def test_a_shutdown_is_no_error(lab: ServerLab, spans: Spans) -> None:
    async with waiting(lab, shutdown_timeout=timedelta(0)):
        pass
    assert ending(spans.one("process default")) == ("requeued", None, StatusCode.UNSET, [])


async def test_a_run_whose_handler_does_not_end_has_one_span(lab: ServerLab, spans: Spans) -> None:
    release, begun = threading.Event(), threading.Event()

    def handler(ctx: Context, task: Task) -> None:
        begun.set()
        release.wait(30)

    await AsyncClient(lab.broker).enqueue(Task("t"))
    async with lab.serving(handler, shutdown_timeout=timedelta(0)):
        await asyncio.to_thread(begun.wait, 30)
    release.set()
    assert ending(spans.one("process default"))[0] == "requeued"


# --- groups ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_an_aggregation_links_to_each_task_of_its_group(
    lab: ServerLab, spans: Spans, kind: str
) -> None:
    def merge(group: str, tasks: list[Task]) -> Task:
        with spans.tracer.start_as_current_span("merge"):
            return Task("merged")

    async def amerge(group: str, tasks: list[Task]) -> Task:
        return merge(group, tasks)

    async def handler(ctx: Context, task: Task) -> None: ...

    client = AsyncClient(lab.broker)
    for _ in range(3):
        await client.enqueue(Task("t"), group="g")
    aggregator = merge if kind == "sync" else amerge
    async with lab.serving(handler, aggregator=aggregator, group_max_size=3):
        aggregation, last = await spans.reach("process default", 2)
    *members, merged = spans.named("send default")
    assert sorted(linked(aggregation)) == sorted(map(id_of, members))
    assert (aggregation.kind, aggregation.parent) == (SpanKind.CONSUMER, None)
    assert attributes(aggregation)["batch.message_count"] == 3
    for child in (spans.one("merge"), merged):
        assert child.parent is not None
        assert child.parent.span_id == id_of(aggregation)
    assert linked(last) == [id_of(merged)]


async def test_an_aggregator_that_fails_is_recorded(lab: ServerLab, spans: Spans) -> None:
    def merge(group: str, tasks: list[Task]) -> Task:
        raise ValueError("no paper")

    async def handler(ctx: Context, task: Task) -> None: ...

    await AsyncClient(lab.broker).enqueue(Task("t"), group="g")
    async with lab.serving(handler, aggregator=merge, group_max_size=1):
        [span, *_] = await spans.reach("process default")
    assert attributes(span)["error.type"] == "ValueError"
    assert span.status.status_code is StatusCode.ERROR
