"""Charts of the series that a Prometheus server has."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

import msgspec
from attrs import frozen
from msgspec import Struct

from asynq.web.api.errors import RequestError
from asynq.web.api.http import call_of
from asynq.web.api.metrics import MetricsRange, get_metrics
from asynq.web.pages.asking import given
from asynq.web.pages.rendering import page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

SPANS = {"1h": 3600, "6h": 6 * 3600, "1d": 86_400, "7d": 7 * 86_400, "30d": 30 * 86_400}
TITLES = {
    "queue_size": "Tasks",
    "queue_latency_seconds": "Latency in seconds",
    "tasks_processed_per_second": "Runs per second",
    "tasks_failed_per_second": "Failed runs in a second",
    "error_rate": "Share of failed runs",
    "pending_tasks_by_queue": "Pending tasks",
    "retry_tasks_by_queue": "Tasks to be retried",
    "archived_tasks_by_queue": "Archived tasks",
    "queue_memory_usage_approx_bytes": "Memory in bytes",
}
LINES = 8
"""Queues that one chart shows: those with the highest values."""


class _Series(Struct):
    metric: dict[str, str]
    values: list[tuple[float, str]]


class _Data(Struct):
    result: list[_Series]


class _Answer(Struct):
    data: _Data


@frozen
class Line:
    """The values of one queue."""

    queue: str
    values: tuple[float, ...]


async def series_page(request: Request) -> Response:
    """The page."""
    call = call_of(request)
    asked = given(request)
    span = asked.get("span", "1h") if asked.get("span") in SPANS else "1h"
    queue = asked.get("queue") or None
    found = await get_metrics(call, MetricsRange(duration=SPANS[span], queues=queue))
    charts = [(title, _lines(getattr(found, name))) for name, title in TITLES.items()]
    return page(request, call, "series.html", charts_of=charts, span=span, spans=list(SPANS), queue=queue)


def _lines(answer: dict[str, Any]) -> list[Line]:
    """The lines of one answer of Prometheus, highest first."""
    try:
        series = msgspec.convert(answer, _Answer).data.result
        lines = [
            Line(each.metric.get("queue", ""), tuple(_number(value) for _, value in each.values))
            for each in series
        ]
    except (msgspec.ValidationError, ValueError):
        raise RequestError(502, "prometheus_failed", "the answer of Prometheus is not understood") from None
    return sorted(lines, key=lambda line: -max(line.values, default=0.0))[:LINES]


def _number(text: str) -> float:
    """A value; what is no number, such as a share of nothing, is 0."""
    value = float(text)
    return value if isfinite(value) else 0.0
