"""`WorkerCollector`: what Prometheus is told about the runs of a worker, and of its processes together."""

from __future__ import annotations

from itertools import accumulate
from operator import add
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from asynq.monitoring import counting_recorder as counted
from asynq.monitoring.http_listener import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from prometheus_client.core import Metric

    from asynq.monitoring.counters import Key, RunCounters


class WorkerCollector(Collector):
    """Adds up the counters of worker processes at each scrape.

    Args:
        counters: the counters of each process.
        processes: returns how many processes run, and how many were started in place of others.
    """

    def __init__(
        self, counters: Sequence[RunCounters], processes: Callable[[], tuple[int, int]] = lambda: (1, 0)
    ) -> None:
        self._counters = counters
        self._processes = processes

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering this collector need not read anything."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Read the counters."""
        series: dict[Key, Sequence[float]] = {}
        for each in self._counters:
            for key, numbers in each.read():
                before = series.get(key)
                series[key] = numbers if before is None else list(map(add, before, numbers))
        yield from self._gauges(series)
        yield from _pair_families(_labelled(series, counted.PAIR))
        yield from _call_families(_labelled(series, counted.CALL), _labelled(series, counted.OPERATION))

    def _gauges(self, series: Mapping[Key, Sequence[float]]) -> Iterator[Metric]:
        running, replaced = self._processes()
        slots = sum(series.get((counted.SERVER,), ()))
        yield GaugeMetricFamily("asynq_worker_processes", "Worker processes that run.", value=running)
        yield CounterMetricFamily(
            "asynq_worker_process_restarts", "Worker processes started in place of others.", value=replaced
        )
        yield GaugeMetricFamily(
            "asynq_worker_slots", "Tasks that the worker can run at the same time.", value=slots
        )


def metrics_page(collector: WorkerCollector) -> Callable[[Mapping[str, str]], Page]:
    """The page for Prometheus."""
    registry = CollectorRegistry()
    registry.register(collector)

    def page(headers: Mapping[str, str]) -> Page:
        encode, content_type = choose_encoder(headers.get("Accept", ""))
        return Page(encode(registry), content_type)

    return page


def _labelled(
    series: Mapping[Key, Sequence[float]], kind: str
) -> list[tuple[tuple[str, ...], Sequence[float]]]:
    """The series of a kind, with their labels."""
    return sorted((key[1:], numbers) for key, numbers in series.items() if key[0] == kind)


def _pair_families(series: Iterable[tuple[tuple[str, ...], Sequence[float]]]) -> list[Metric]:
    labels = ("queue", "type")
    running = GaugeMetricFamily("asynq_worker_runs_in_progress", "Runs in progress.", labels=labels)
    waits = HistogramMetricFamily(
        "asynq_worker_wait_seconds", "How long tasks were pending before they ran.", labels=labels
    )
    runs = HistogramMetricFamily("asynq_worker_run_seconds", "How long runs took.", labels=labels)
    settled = CounterMetricFamily(
        "asynq_worker_runs", "What became of runs that have ended.", labels=(*labels, "outcome")
    )
    recovered = CounterMetricFamily(
        "asynq_worker_recovered_tasks", "Tasks of lost workers, by where they went.", labels=(*labels, "to")
    )
    for pair, numbers in series:
        if not any(numbers):
            continue
        running.add_metric(pair, numbers[counted.IN_PROGRESS])
        waits.add_metric(pair, *_histogram(counted.RUN_BOUNDS, numbers[counted.WAITS : counted.RUNS]))
        runs.add_metric(pair, *_histogram(counted.RUN_BOUNDS, numbers[counted.RUNS : counted.SETTLED]))
        for outcome, number in zip(counted.OUTCOMES, numbers[counted.SETTLED :], strict=False):
            settled.add_metric((*pair, outcome), number)
        for state, number in zip(counted.RECOVERED_TO, numbers[counted.RECOVERED :], strict=True):
            recovered.add_metric((*pair, state), number)
    return [running, waits, runs, settled, recovered]


def _call_families(
    calls: Iterable[tuple[tuple[str, ...], Sequence[float]]],
    operations: Iterable[tuple[tuple[str, ...], Sequence[float]]],
) -> list[Metric]:
    times = HistogramMetricFamily(
        "asynq_worker_broker_call_seconds", "How long calls of the broker took.", labels=("call",)
    )
    failed = CounterMetricFamily(
        "asynq_worker_broker_call_failures", "Calls of the broker that raised an error.", labels=("call",)
    )
    counts = CounterMetricFamily(
        "asynq_worker_broker_operations", "Operations in calls of the broker.", labels=("operation",)
    )
    for call, numbers in calls:
        times.add_metric(call, *_histogram(counted.CALL_BOUNDS, numbers[: counted.FAILED]))
        failed.add_metric(call, numbers[counted.FAILED])
    for operation, numbers in operations:
        counts.add_metric(operation, numbers[0])
    return [times, failed, counts]


def _histogram(bounds: Sequence[float], numbers: Sequence[float]) -> tuple[list[tuple[str, float]], float]:
    """Buckets and sum as the client library wants them: each bucket contains those below it."""
    *buckets, total = numbers
    names = [*(str(float(bound)) for bound in bounds), "+Inf"]
    return list(zip(names, accumulate(buckets), strict=True)), total
