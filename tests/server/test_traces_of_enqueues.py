"""OpenTelemetry spans of what enqueues tasks, and the headers that the tasks carry."""

from __future__ import annotations

import asyncio
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from tests.server.spans import Spans, attributes, id_of, instrumented, linked, traceparent

from opentelemetry import baggage, context, propagate  # isort: skip
from opentelemetry.trace import NoOpTracerProvider, SpanKind, StatusCode  # isort: skip

from asynq import AsyncClient, Client, DuplicateTaskError, Task, TaskIDConflictError
from asynq.client.options import Options
from asynq.clock import FakeClock
from asynq.ids import random_id
from asynq.opentelemetry import AsynqInstrumentor
from asynq.protocol.message import TaskMessage
from asynq.protocol.ops import Enqueue, Unique
from asynq.scheduler.entries import Entry, Registry
from asynq.scheduler.ticker import Ticker, TickHooks
from asynq_sqlite import MemoryBroker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from opentelemetry.sdk.trace import ReadableSpan

    from tests.server.conftest import ServerLab

Call: TypeAlias = "Callable[..., Awaitable[Any]]"

OWN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans() -> Iterator[Spans]:
    with instrumented(Spans()) as spans:
        yield spans


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest, lab: ServerLab) -> Call:
    """Calls a method of a client of either kind."""

    async def call(method: str, *args: Any, **options: Any) -> Any:
        if request.param == "async":
            return await getattr(AsyncClient(lab.broker), method)(*args, **options)
        return await asyncio.to_thread(getattr(Client(lab.broker), method), *args, **options)

    return call


async def test_an_enqueue_is_a_span_that_the_headers_of_the_task_name(
    lab: ServerLab, spans: Spans, call: Call
) -> None:
    with spans.tracer.start_as_current_span("request") as request:
        info = await call("enqueue", Task("email", headers={"mine": "1"}), queue="low")
    sent = spans.one("send low")
    assert (sent.kind, sent.parent, sent.status.status_code) == (
        SpanKind.PRODUCER,
        request.get_span_context(),
        StatusCode.UNSET,
    )
    assert attributes(sent) == {
        "system": "asynq",
        "operation.name": "send",
        "operation.type": "send",
        "destination.name": "low",
        "message.id": info.id,
        "asynq.task.type": "email",
    }
    assert sent.instrumentation_scope is not None
    assert sent.instrumentation_scope.schema_url == "https://opentelemetry.io/schemas/1.44.0"
    stored = await lab.find(info.id, "low")
    assert stored is not None
    assert dict(stored.message.headers) == {"mine": "1", "traceparent": traceparent(sent)}
    assert dict(info.headers) == dict(stored.message.headers)


async def test_headers_of_the_user_win_and_baggage_is_passed_on(
    lab: ServerLab, spans: Spans, call: Call
) -> None:
    token = context.attach(baggage.set_baggage("tenant", "7"))
    try:
        first = await call("enqueue", Task("t", headers={"baggage": "tenant=8"}))
        second = await call("enqueue", Task("t"))
    finally:
        context.detach(token)
    own = await call("enqueue", Task("t", headers={"traceparent": OWN, "mine": "1"}))
    assert first.headers["baggage"] == "tenant=8"
    assert second.headers["baggage"] == "tenant=7"
    assert dict(own.headers) == {"traceparent": OWN, "mine": "1"}
    sent = spans.named("send default")[2]
    assert (sent.kind, linked(sent)) == (SpanKind.CLIENT, [0xB7AD6B7169203331])


async def test_a_batch_has_a_span_for_each_task_and_one_for_the_call(
    lab: ServerLab, spans: Spans, call: Call
) -> None:
    tasks = [Task("t"), Task("t", headers={"traceparent": OWN}), Task("t")]
    infos = await call("enqueue_many", tasks)
    created, sent = spans.named("create default"), spans.one("send default")
    assert [span.kind for span in created] == [SpanKind.PRODUCER] * 2
    assert [attributes(span)["message.id"] for span in created] == [infos[0].id, infos[2].id]
    assert sent.kind is SpanKind.CLIENT
    assert linked(sent) == [id_of(created[0]), 0xB7AD6B7169203331, id_of(created[1])]
    assert attributes(sent) == {
        "system": "asynq",
        "operation.name": "send",
        "operation.type": "send",
        "destination.name": "default",
        "batch.message_count": 3,
    }
    named = [dict(info.headers) for info in infos]
    assert named == [
        {"traceparent": each} for each in (traceparent(created[0]), OWN, traceparent(created[1]))
    ]


async def test_a_batch_for_several_queues_names_none(lab: ServerLab, spans: Spans) -> None:
    await AsyncClient(lab.broker).enqueue_many([Task("t", queue="a"), Task("t", queue="b")])
    assert "destination.name" not in attributes(spans.one("send"))
    assert spans.one("create a").parent == spans.one("create b").parent is None
    assert await AsyncClient(lab.broker).enqueue_many([]) == []
    assert len(spans.named("send")) == 1


async def test_without_spans_of_each_task_all_name_the_batch(lab: ServerLab) -> None:
    with instrumented(Spans(), create_spans=False) as spans:
        infos = await AsyncClient(lab.broker).enqueue_many(
            [Task("t"), Task("t", headers={"traceparent": OWN})]
        )
    sent = spans.one("send default")
    assert (sent.kind, linked(sent)) == (SpanKind.PRODUCER, [0xB7AD6B7169203331])
    named = [info.headers["traceparent"] for info in infos if not isinstance(info, Exception)]
    assert named == [traceparent(sent), OWN]
    assert spans.named("create default") == []


# --- what is refused, and what must be recognised -------------------------------------------------------


def failure(span: ReadableSpan) -> tuple[Any, StatusCode]:
    return attributes(span).get("error.type"), span.status.status_code


async def test_a_unique_task_is_recognised_whatever_its_trace_is(
    lab: ServerLab, spans: Spans, call: Call
) -> None:
    await call("enqueue", Task("t", 1), unique=timedelta(hours=1))
    with pytest.raises(DuplicateTaskError):
        await call("enqueue", Task("t", 1), unique=timedelta(hours=1))
    first, second = spans.named("send default")
    assert failure(first) == (None, StatusCode.UNSET)
    assert failure(second) == ("asynq.DuplicateTaskError", StatusCode.ERROR)
    assert [event.name for event in second.events] == ["exception"]


async def test_an_id_is_recognised_whatever_the_trace_is(lab: ServerLab, spans: Spans, call: Call) -> None:
    await call("enqueue", Task("t"), task_id="one")
    with pytest.raises(TaskIDConflictError):
        await call("enqueue", Task("t"), task_id="one")
    answers = await call("enqueue_many", [Task("t", task_id="one"), Task("t")])
    assert isinstance(answers[0], TaskIDConflictError)
    batch = spans.named("send default")[2]
    assert failure(batch) == ("asynq.TaskIDConflictError", StatusCode.ERROR)
    assert batch.status.description == "1 of 2 tasks were refused"


async def test_a_copy_of_a_request_is_recognised_whatever_its_trace_is(lab: ServerLab) -> None:
    def copy(number: int) -> Enqueue:
        headers = {"traceparent": f"00-{number:032x}-{number:016x}-01"}
        message = TaskMessage(id="one", type="t", queue="default", headers=headers, unique_key="k")
        return Enqueue(message=message, enqueue_id="e", unique=Unique(ttl=60_000))

    for number in (1, 2):
        await lab.broker.aexecute(copy(number))
    stored = await lab.find("one")
    assert stored is not None
    assert stored.message.headers["traceparent"] == f"00-{1:032x}-{1:016x}-01"


async def test_a_debounced_task_replaces_the_one_before(lab: ServerLab, spans: Spans, call: Call) -> None:
    infos = [await call("enqueue", Task("t", n), debounce=timedelta(hours=1), key="k") for n in (1, 2)]
    sent = spans.named("send default")
    assert await lab.find(infos[0].id) is None
    stored = await lab.find(infos[1].id)
    assert stored is not None
    assert stored.message.headers["traceparent"] == traceparent(sent[1])


# --- followers, joins, schedules ------------------------------------------------------------------------


async def test_followers_continue_the_trace_of_their_parent(lab: ServerLab, spans: Spans, call: Call) -> None:
    async def handler(ctx: Any, task: Task) -> None: ...

    await call("enqueue", Task("first"), then=Task("second", queue="low", then=Task("third", queue="high")))
    async with lab.serving(handler, queues={"default": 1, "low": 1, "high": 1}):
        [last] = await spans.reach("process high")
    first, second, third = (spans.one(f"send {queue}") for queue in ("default", "low", "high"))
    assert second.parent is not None
    assert third.parent is not None
    assert (second.parent.span_id, third.parent.span_id) == (id_of(first), id_of(second))
    assert linked(last) == [id_of(third)]


async def test_the_tasks_of_a_join_and_the_one_that_follows_are_a_batch(
    lab: ServerLab, spans: Spans, call: Call
) -> None:
    async def handler(ctx: Any, task: Task) -> None: ...

    await call("enqueue_join", [Task("a"), Task("b")], then=Task("c", queue="low"))
    async with lab.serving(handler, queues={"default": 1, "low": 1}):
        [last] = await spans.reach("process low")
    assert attributes(spans.one("send"))["batch.message_count"] == 3
    assert linked(last) == [id_of(spans.one("create low"))]


async def test_a_tick_is_one_span_however_many_schedulers_there_are(spans: Spans) -> None:
    clock = FakeClock()
    broker = MemoryBroker(clock=clock)
    tickers = []
    for _ in range(2):
        registry = Registry()
        registry.add(Entry.of("@every 1m", Task("t"), Options(), UTC))
        tickers.append(Ticker(broker, registry, catch_up=0, hooks=TickHooks(), new_id=random_id))
    for _ in range(3):
        for ticker in tickers:
            await ticker.step()
        clock.advance(60_000)
    sent = spans.named("send default")
    assert len(sent) == 2
    assert {span.parent for span in sent} == {None}


# --- without it ----------------------------------------------------------------------------------------


async def test_nothing_is_traced_without_the_instrumentation(lab: ServerLab, call: Call) -> None:
    with instrumented(Spans()) as spans:
        pass
    with spans.tracer.start_as_current_span("request"):
        info = await call("enqueue", Task("t"))
        infos = await call("enqueue_many", [Task("t")])
    assert [dict(each.headers) for each in (info, *infos)] == [{}, {}]
    assert spans.named("send default") == []


async def test_a_program_without_an_sdk_passes_the_context_of_its_caller_on(lab: ServerLab) -> None:
    AsynqInstrumentor().instrument(tracer_provider=NoOpTracerProvider())
    token = context.attach(propagate.extract({"traceparent": OWN}))
    try:
        info = await AsyncClient(lab.broker).enqueue(Task("t"))
    finally:
        context.detach(token)
        bare = await AsyncClient(lab.broker).enqueue(Task("t"))
        AsynqInstrumentor().uninstrument()
    assert dict(info.headers) == {"traceparent": OWN}
    assert dict(bare.headers) == {}


class FailingSampler:
    def should_sample(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("no sample")

    def get_description(self) -> str:
        return "fails"


async def test_a_sampler_that_fails_stops_neither_enqueues_nor_runs(
    lab: ServerLab, caplog: pytest.LogCaptureFixture
) -> None:
    ran = asyncio.Event()

    async def handler(ctx: Any, task: Task) -> None:
        ran.set()

    with instrumented(Spans(sampler=FailingSampler())):
        await AsyncClient(lab.broker).enqueue(Task("t"))
        async with lab.serving(handler):
            await asyncio.wait_for(ran.wait(), 10)
    said = {record.getMessage() for record in caplog.records if record.name == "asynq.traces"}
    assert said == {"cannot trace tasks that are enqueued", "cannot trace a run"}
