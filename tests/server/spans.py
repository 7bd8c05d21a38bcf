"""Spans that tests read: an exporter in memory, and the instrumentation that fills it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.waiting import aeventually

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from asynq.opentelemetry import AsynqInstrumentor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace import ReadableSpan


class Spans:
    """The spans that have ended."""

    def __init__(self, **provider: Any) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(**provider)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("test")

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        [span] = self.named(name)
        return span

    async def reach(self, name: str, number: int = 1) -> list[ReadableSpan]:
        """Wait for so many spans of this name."""
        await aeventually(lambda: len(self.named(name)) >= number)
        return self.named(name)


@contextmanager
def instrumented(spans: Spans, **options: Any) -> Iterator[Spans]:
    """Trace into these spans."""
    AsynqInstrumentor().instrument(tracer_provider=spans.provider, **options)
    try:
        yield spans
    finally:
        AsynqInstrumentor().uninstrument()


def linked(span: ReadableSpan) -> list[int]:
    """Ids of the spans that a span links to."""
    return [link.context.span_id for link in span.links]


def id_of(span: ReadableSpan) -> int:
    """Its id."""
    context = span.get_span_context()
    assert context is not None
    return context.span_id


def traceparent(span: ReadableSpan) -> str:
    """The header that names a span."""
    context = span.get_span_context()
    assert context is not None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """Its attributes, without the long prefix of most."""
    return {name.removeprefix("messaging."): value for name, value in (span.attributes or {}).items()}
