"""Handlers that processes run, and that say which span is current."""

from __future__ import annotations

from typing import Any

from opentelemetry import baggage, trace

from asynq.client.task import Task  # noqa: TC001 - the process imports it anyway


def current(ctx: Any, task: Task) -> Any:
    """Ids of the current trace and span, and the baggage."""
    found = trace.get_current_span().get_span_context()
    return [found.trace_id, found.span_id, baggage.get_baggage("tenant")]


def through(ctx: Any, task: Task, next: Any) -> Any:  # noqa: A002
    """A middleware that sees the same."""
    return [current(ctx, task), next(ctx, task)]
