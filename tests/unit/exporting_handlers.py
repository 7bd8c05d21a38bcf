"""A handler whose process exports spans to a file, and only when it is told to."""

from __future__ import annotations

import os
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

FILE = "ASYNQ_TEST_SPANS"

if FILE in os.environ:
    out = open(os.environ[FILE], "a")  # noqa: PTH123, SIM115 - for the life of the process
    provider = TracerProvider()
    exporter = ConsoleSpanExporter(out=out, formatter=lambda span: f"{span.name}\n")
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=3_600_000))
    trace.set_tracer_provider(provider)


def work(ctx: Any, task: Any) -> None:
    """Record a span."""
    with trace.get_tracer("test").start_as_current_span("work"):
        pass
