"""Spans of requests that enqueue tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from msgspec.structs import replace
from opentelemetry import context as current
from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind

from asynq.client.traces import Untraced
from asynq.errors import AsynqError
from asynq.opentelemetry.spans import (
    CREATE,
    SEND,
    batch_attributes,
    creation_context,
    end,
    extracted,
    is_silent,
    kind_of,
    links_to,
    message_attributes,
    set_error,
    set_failure,
    span_name,
)
from asynq.protocol.ops import Enqueue, EnqueueTick, FinishAggregation, Op, Ticked
from asynq.runtime.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer, TracerProvider

    from asynq.client.traces import Sending
    from asynq.protocol.message import TaskMessage

log = get_logger("asynq.traces")

T = TypeVar("T", bound="Op[Any]")


class ProducerTracer:
    """Traces enqueues: the `asynq.client.traces.ProducerTraces` of OpenTelemetry."""

    def __init__(self, tracer: Tracer, provider: TracerProvider | None, *, create_spans: bool) -> None:
        self._tracer = tracer
        self._provider = provider
        self._create_spans = create_spans

    def sending(
        self, requests: Sequence[T], *, batch: bool, causes: Sequence[Mapping[str, str]]
    ) -> AbstractContextManager[Sending[T]]:
        """See ProducerTraces."""
        if not current.get_current() and not causes and is_silent(self._provider):
            return Untraced(requests)  # there is nothing to record, and nothing to pass on
        try:
            if batch:
                return _Batch(self._tracer, requests, create_spans=self._create_spans)
            return _Single(self._tracer, requests, causes)
        except Exception:
            log.exception("cannot trace tasks that are enqueued")
            return Untraced(requests)


class _Single(Generic[T]):
    """Each request by itself: its span is the creation context of its task."""

    def __init__(self, tracer: Tracer, requests: Sequence[T], causes: Sequence[Mapping[str, str]]) -> None:
        self.requests: list[T] = []
        self._spans: list[Span | None] = []
        for position, request in enumerate(requests):
            context = extracted(causes[position]) if causes else None
            traced, span = _sent(tracer, request, context)
            self.requests.append(traced)
            self._spans.append(span)

    def __enter__(self) -> Self:
        [first, *others] = self._spans
        self._token = None
        if first is not None and not others:
            self._token = current.attach(trace.set_span_in_context(first))
        return self

    def answered(self, answers: Sequence[object]) -> None:
        for position, answer in enumerate(answers):
            span = self._spans[position]
            if span is None:
                continue
            if isinstance(answer, AsynqError):
                set_error(span, answer)
            elif isinstance(answer, Ticked) and answer.enqueued is None:
                # Another scheduler has enqueued it, or will. A span that does not end is not exported.
                self._spans[position] = None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if self._token is not None:
            current.detach(self._token)
        for span in self._spans:
            if span is not None:
                if error is not None:
                    set_error(span, error)
                end(span)


def _sent(tracer: Tracer, request: T, context: Context | None) -> tuple[T, Span | None]:
    """The request with the creation context of its task, and the span of its sending; None if it has none."""
    message = _message_of(request)
    if message is None:
        return request, None
    own = _own_context(message)
    span = tracer.start_span(
        span_name(SEND, message.queue),
        context=context,
        kind=SpanKind.PRODUCER if own is None else SpanKind.CLIENT,
        attributes=message_attributes(SEND, message),
        links=links_to([None if own is None else creation_context(own)]),
    )
    if own is None:
        request = _with_context(request, message, trace.set_span_in_context(span, context))
    return request, span


class _Batch(Generic[T]):
    """All requests in one span, which links to the creation contexts of their tasks."""

    def __init__(self, tracer: Tracer, requests: Sequence[T], *, create_spans: bool) -> None:
        messages = [message for request in requests if (message := _message_of(request)) is not None]
        queues = {message.queue for message in messages}
        queue = queues.pop() if len(queues) == 1 else None
        attributes = batch_attributes(SEND, queue, messages)
        name = span_name(SEND, queue)
        if create_spans:
            created = [_created(tracer, request) for request in requests]
            self.requests = [request for request, _ in created]
            links = links_to([creation_context(context) for _, context in created])
            self._span = tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes, links=links)
            return
        own = [_own_context(message) for message in messages]
        links = links_to([creation_context(context) for context in own if context is not None])
        self._span = tracer.start_span(name, kind=SpanKind.PRODUCER, attributes=attributes, links=links)
        context = trace.set_span_in_context(self._span)
        self.requests = [_with_missing_context(request, context) for request in requests]

    def __enter__(self) -> Self:
        self._token = current.attach(trace.set_span_in_context(self._span))
        return self

    def answered(self, answers: Sequence[object]) -> None:
        errors = [answer for answer in answers if isinstance(answer, AsynqError)]
        if errors:
            kinds = {kind_of(error) for error in errors}
            kind = kinds.pop() if len(kinds) == 1 else "_OTHER"
            set_failure(self._span, kind, f"{len(errors)} of {len(answers)} tasks were refused")

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        current.detach(self._token)
        if error is not None:
            set_error(self._span, error)
        end(self._span)


def _created(tracer: Tracer, request: T) -> tuple[T, Context]:
    """The request with the creation context of its task, and that context."""
    message = _message_of(request)
    if message is None:
        return request, current.Context()
    own = _own_context(message)
    if own is not None:
        return request, own
    span = tracer.start_span(
        span_name(CREATE, message.queue),
        kind=SpanKind.PRODUCER,
        attributes=message_attributes(CREATE, message),
    )
    end(span)
    context = trace.set_span_in_context(span)
    return _with_context(request, message, context), context


def _message_of(request: Op[Any]) -> TaskMessage | None:
    match request:
        case Enqueue(message=message):
            return message
        case EnqueueTick(enqueue=enqueue) | FinishAggregation(enqueue=enqueue):
            return enqueue.message
    return None


def _own_context(message: TaskMessage) -> Context | None:
    """The context that the user gave the task; it stays."""
    if not message.headers:
        return None
    context = extracted(message.headers)
    return None if creation_context(context) is None else context


def _with_missing_context(request: T, context: Context) -> T:
    message = _message_of(request)
    if message is None or _own_context(message) is not None:
        return request
    return _with_context(request, message, context)


def _with_context(request: T, message: TaskMessage, context: Context) -> T:
    """The request with the context in the headers of its task. Headers of the user win."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier, context)
    if not carrier:
        return request
    message = replace(message, headers={**carrier, **message.headers})
    if isinstance(request, EnqueueTick | FinishAggregation):
        return replace(request, enqueue=replace(request.enqueue, message=message))
    return replace(request, message=message)
