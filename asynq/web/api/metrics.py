"""Series of a Prometheus server, passed on: those that asynqmon shows."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from time import time
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

import msgspec
from msgspec import Meta, Struct

from asynq.web.api.endpoint import endpoint
from asynq.web.api.errors import RequestError

if TYPE_CHECKING:
    from asynq.web.call import WebCall

TIMEOUT = 10
"""Seconds that Prometheus may take."""
MAX_ANSWER = 8 * 1024 * 1024
"""Bytes of one of its answers."""
_DAY = 86_400
_STEPS = ((6 * 3600, 10), (_DAY, 60), (8 * _DAY, 180), (30 * _DAY, 600))
"""Up to so many seconds, a point every so many seconds: as asynqmon."""
_QUERIES = {
    "queue_size": "asynq_queue_size{%s}",
    "queue_latency_seconds": "asynq_queue_latency_seconds{%s}",
    "queue_memory_usage_approx_bytes": "asynq_queue_memory_usage_approx_bytes{%s}",
    "tasks_processed_per_second": "rate(asynq_tasks_processed_total{%s}[5m])",
    "tasks_failed_per_second": "rate(asynq_tasks_failed_total{%s}[5m])",
    "error_rate": "rate(asynq_tasks_failed_total{%s}[5m]) / rate(asynq_tasks_processed_total{%s}[5m])",
    "pending_tasks_by_queue": 'asynq_tasks_enqueued_total{state="pending"%s}',
    "retry_tasks_by_queue": 'asynq_tasks_enqueued_total{state="retry"%s}',
    "archived_tasks_by_queue": 'asynq_tasks_enqueued_total{state="archived"%s}',
}


class MetricsRange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A time, and the queues."""

    duration: Annotated[int, Meta(ge=60, le=30 * _DAY)] = 3600
    """Seconds."""
    endtime: Annotated[int, Meta(ge=0, le=2**33)] | None = None
    """Unix seconds; the present by default."""
    queues: Annotated[str, Meta(max_length=4000)] | None = None
    """Names, with commas between them; all by default."""


class PrometheusSeries(Struct, kw_only=True):
    """The answers of Prometheus to its range queries, each as it gave them."""

    queue_size: dict[str, Any]
    queue_latency_seconds: dict[str, Any]
    queue_memory_usage_approx_bytes: dict[str, Any]
    tasks_processed_per_second: dict[str, Any]
    tasks_failed_per_second: dict[str, Any]
    error_rate: dict[str, Any]
    pending_tasks_by_queue: dict[str, Any]
    retry_tasks_by_queue: dict[str, Any]
    archived_tasks_by_queue: dict[str, Any]


@endpoint("GET", "/metrics", asked=MetricsRange, answer=PrometheusSeries)
async def get_metrics(call: WebCall, asked: MetricsRange) -> PrometheusSeries:
    """Series of the Prometheus server of the settings, if there is one."""
    url = call.web.settings.prometheus_url
    if url is None:
        raise RequestError(501, "no_prometheus", "no Prometheus server is set: use --prometheus URL")
    end = int(time()) if asked.endtime is None else asked.endtime
    step = next(step for longest, step in _STEPS if asked.duration <= longest)
    span = {"start": end - asked.duration, "end": end, "step": step}
    chosen = _selector(asked.queues)
    queries = [_filled(query, chosen) for query in _QUERIES.values()]
    answers = await asyncio.gather(
        *(asyncio.to_thread(_ask, url, {"query": each, **span}) for each in queries)
    )
    return msgspec.convert(dict(zip(_QUERIES, answers, strict=True)), PrometheusSeries)


def check_prometheus(url: str | None) -> str | None:
    """The address of a Prometheus server. ValueError if it is none."""
    if url is not None and not url.startswith(("http://", "https://")):
        raise ValueError("prometheus_url must begin with http:// or https://")
    return url


def _selector(queues: str | None) -> str:
    """The condition of a query; "" for all queues. A name cannot leave its quotes."""
    if not queues:
        return ""
    names = [_escaped(name) for name in queues.split(",") if name]
    return f"queue=~{json.dumps('|'.join(names))}"


def _escaped(name: str) -> str:
    """A name as a regular expression of Prometheus, which matches nothing else."""
    return "".join(each if each.isalnum() or each in "_- :/" else f"\\{each}" for each in name)


def _filled(query: str, chosen: str) -> str:
    after_another = f",{chosen}" if chosen else ""
    return query.replace('"%s}', f'"{after_another}}}').replace("%s", chosen)


def _ask(url: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """One answer of Prometheus. RequestError if it has none; its address is not part of the error."""
    address = f"{url.rstrip('/')}/api/v1/query_range?{urlencode(parameters)}"
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT) as answer:  # noqa: S310 - see `check_prometheus`
            body = answer.read(MAX_ANSWER + 1)
        if len(body) > MAX_ANSWER:
            raise RequestError(502, "prometheus_failed", "the answer of Prometheus is too long")
        return msgspec.json.decode(body, type=dict[str, Any])
    except (OSError, ValueError, msgspec.MsgspecError):
        raise RequestError(502, "prometheus_failed", "Prometheus does not answer, or not with JSON") from None
