"""Traces with OpenTelemetry: a span for each enqueue and each run, linked through the headers of the task.

It follows the semantic conventions for messaging, version 1.44.0. Their status is "development": names may
change with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from asynq import __version__
from asynq.client import traces as client_traces
from asynq.handlers import traces as handler_traces
from asynq.opentelemetry.consumer import ConsumerTracer
from asynq.opentelemetry.producer import ProducerTracer

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

__all__ = ["AsynqInstrumentor"]

SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"


class AsynqInstrumentor:
    """Switches traces on and off for all clients, servers and schedulers of this process.

    `opentelemetry-instrument` uses it as the instrumentations of other libraries.
    """

    def instrument(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        parent: bool = False,
        create_spans: bool = True,
        **_: Any,
    ) -> None:
        """Trace from now on. A further call replaces the options of the one before.

        Args:
            tracer_provider: provider of the tracer; by default the global one.
            parent: make the span of a run a child of the span that enqueued its task, in one trace. By
                default it begins a trace of its own, and is linked.
            create_spans: give each task of a batch a span of its own. False: all of them are linked to the
                one span of the batch.
            **_: what `opentelemetry-instrument` passes to all instrumentations.
        """
        tracer = trace.get_tracer("asynq", __version__, tracer_provider, schema_url=SCHEMA_URL)
        client_traces.producer = ProducerTracer(tracer, tracer_provider, create_spans=create_spans)
        handler_traces.consumer = ConsumerTracer(tracer, tracer_provider, parent=parent)

    def uninstrument(self, **_: Any) -> None:
        """Trace no longer. Spans that have begun end as usual."""
        client_traces.producer = None
        handler_traces.consumer = None
