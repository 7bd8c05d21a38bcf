"""Spans of runs and aggregations."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry import context as current
from opentelemetry import propagate, trace
from opentelemetry.trace import INVALID_SPAN, SpanKind

from asynq.errors import RateLimited, RevokeTask
from asynq.handlers.outcome import Cancelled, Failed, Interrupted, Succeeded, wraps
from asynq.opentelemetry.spans import (
    OUTCOME,
    PROCESS,
    batch_attributes,
    creation_context,
    end,
    extracted,
    is_silent,
    links_to,
    message_attributes,
    set_error,
    set_failure,
    span_name,
)
from asynq.runtime.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer, TracerProvider

    from asynq.handlers.outcome import Outcome
    from asynq.protocol.message import Delivery, TaskMessage


log = get_logger("asynq.traces")


class ConsumerTracer:
    """Traces runs: the `asynq.handlers.traces.ConsumerTraces` of OpenTelemetry."""

    def __init__(self, tracer: Tracer, provider: TracerProvider | None, *, parent: bool) -> None:
        self._tracer = tracer
        self._provider = provider
        self._parent = parent

    def run(self, delivery: Delivery) -> SpanOfRun | None:
        """See ConsumerTraces."""
        if not delivery.message.headers and is_silent(self._provider):
            return None  # there is nothing to record, and nothing to pass on
        try:
            return self._run(delivery.message)
        except Exception:
            log.exception("cannot trace a run")
            return None

    def _run(self, message: TaskMessage) -> SpanOfRun:
        context = extracted(message.headers)
        links = links_to([creation_context(context)])
        if not self._parent:
            # What else is in the headers, such as baggage, stays.
            context = trace.set_span_in_context(INVALID_SPAN, context)
        span = self._tracer.start_span(
            span_name(PROCESS, message.queue),
            context=context,
            kind=SpanKind.CONSUMER,
            attributes={
                **message_attributes(PROCESS, message),
                "messaging.asynq.task.attempt": message.retried + 1,
            },
            links=links,
        )
        return SpanOfRun(span, trace.set_span_in_context(span, context))

    @contextmanager
    def aggregation(self, queue: str, messages: Sequence[TaskMessage]) -> Iterator[None]:
        """See ConsumerTraces."""
        span = self._tracer.start_span(
            span_name(PROCESS, queue),
            context=current.Context(),
            kind=SpanKind.CONSUMER,
            attributes=batch_attributes(PROCESS, queue, messages),
            links=links_to([creation_context(extracted(message.headers)) for message in messages]),
        )
        token = current.attach(trace.set_span_in_context(span))
        try:
            yield
        except BaseException as error:
            set_error(span, error)
            raise
        finally:
            current.detach(token)
            end(span)

    def carrier(self) -> Mapping[str, str]:
        """See ConsumerTraces."""
        carrier: dict[str, str] = {}
        propagate.inject(carrier)
        return carrier


class SpanOfRun:
    """The span of one run."""

    def __init__(self, span: Span, context: Context) -> None:
        self._span = span
        self._context = context

    def enter(self) -> None:
        """See RunTrace."""
        current.attach(self._context)

    def end(self, outcome: Outcome) -> None:
        """See RunTrace."""
        span = self._span
        match outcome:
            case Succeeded():
                span.set_attribute(OUTCOME, "succeeded")
            case Failed(error) if wraps(error, RevokeTask):
                span.set_attribute(OUTCOME, "revoked")
            case Failed(error) if wraps(error, RateLimited):
                span.set_attribute(OUTCOME, "rate_limited")
            case Failed(error):
                span.set_attribute(OUTCOME, "failed")
                set_error(span, error)
            case Cancelled():
                span.set_attribute(OUTCOME, "cancelled")
                set_failure(span, "cancelled", "cancelled by an operator")
            case Interrupted("lease_lost"):
                span.set_attribute(OUTCOME, "lease_lost")
                set_failure(span, "lease_lost", "the worker lost its lease: the task runs again")
            case Interrupted():
                span.set_attribute(OUTCOME, "requeued")
        end(span)
