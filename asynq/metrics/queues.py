"""`QueueCollector`: what Prometheus is told about queues and servers.

Names and labels of the metrics that begin with `asynq_tasks_` and `asynq_queue_` are those of Go asynq's
exporter, so that its dashboards work; see `docs/metrics.md` for which ones are ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from asynq.errors import AsynqError, BrokerUnavailable, UnsupportedOperationError
from asynq.protocol.ops import GetMemory, GetQueueStats, ListQueues, ListServers
from asynq.runtime.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from prometheus_client.core import Metric

    from asynq.protocol.broker import Broker
    from asynq.protocol.message import QueueStats

log = get_logger("asynq.metrics")

STATES = ("active", "pending", "scheduled", "retry", "archived", "completed", "aggregating")
MAX_QUEUES = 500
"""Queues with time series of their own, by default."""
OTHER = "_other"
"""The label of the queues beyond this number, together."""


class QueueCollector(Collector):
    """Reads all queues from the broker at each scrape.

    A queue that cannot be read is left out and counted; the others are reported. If the broker cannot be
    reached, `asynq_up` is 0 and nothing else is reported.

    Args:
        broker: The broker.
        max_queues: How many queues have time series of their own: the first ones by name. All others are
            summed up in the queue "_other".
        memory: Whether the memory of queues is estimated, which takes longer than all the rest.
    """

    def __init__(self, broker: Broker, *, max_queues: int = MAX_QUEUES, memory: bool = True) -> None:
        self._broker = broker
        self._max_queues = max_queues
        self._memory = memory and broker.capabilities.supports(GetMemory)

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering this collector must not read from the broker."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Read the broker. Raises no AsynqError."""
        up = GaugeMetricFamily("asynq_up", "Whether the broker answers.")
        try:
            families = self._read()
        except AsynqError as error:
            log.warning("the broker could not be read for metrics: %s", error)
            up.add_metric((), 0)
            return [up]
        up.add_metric((), 1)
        return [up, *families]

    def _read(self) -> list[Metric]:
        names = self._broker.execute(ListQueues())
        stats, failed = self._stats(names)
        memory = self._estimates(names) if self._memory else {}
        return [
            *_queue_families(self._bounded(stats), self._bounded_memory(memory)),
            _errors(failed),
            *self._server_families(),
        ]

    def _stats(self, names: Sequence[str]) -> tuple[list[QueueStats], int]:
        """The statistics of the queues that can be read, and the number of the others."""
        answers = self._broker.execute_many([GetQueueStats(queue=name) for name in names])
        failed = 0
        stats: list[QueueStats] = []
        for name, answer in zip(names, answers, strict=True):
            if isinstance(answer, AsynqError):
                log.warning("queue %r could not be read for metrics: %s", name, answer)
                failed += 1
            else:
                stats.append(answer)
        return stats, failed

    def _estimates(self, names: Sequence[str]) -> dict[str, int]:
        try:
            answers = self._broker.execute_many([GetMemory(queue=name) for name in names])
        except BrokerUnavailable as error:
            log.warning("the memory of the queues could not be read for metrics: %s", error)
            return {}
        pairs = zip(names, answers, strict=True)
        return {name: answer for name, answer in pairs if not isinstance(answer, AsynqError)}

    def _bounded(self, stats: Sequence[QueueStats]) -> dict[str, list[QueueStats]]:
        """Statistics by label."""
        labelled = {each.queue: [each] for each in stats[: self._max_queues]}
        if rest := list(stats[self._max_queues :]):
            labelled[OTHER] = rest
        return labelled

    def _bounded_memory(self, memory: dict[str, int]) -> dict[str, int]:
        items = list(memory.items())
        labelled = dict(items[: self._max_queues])
        if rest := items[self._max_queues :]:
            labelled[OTHER] = sum(size for _, size in rest)
        return labelled

    def _server_families(self) -> list[Metric]:
        try:
            servers = self._broker.execute(ListServers())
        except UnsupportedOperationError:
            return []
        gauges = (
            ("asynq_servers", "Servers that are online.", len(servers)),
            (
                "asynq_slots",
                "Tasks that the servers can run at the same time.",
                sum(server.concurrency for server in servers),
            ),
            ("asynq_slots_busy", "Tasks that they run.", sum(len(server.workers) for server in servers)),
        )
        return [GaugeMetricFamily(name, text, value=value) for name, text, value in gauges]


def _queue_families(stats: dict[str, list[QueueStats]], memory: dict[str, int]) -> list[Metric]:
    tasks = GaugeMetricFamily(
        "asynq_tasks_enqueued_total", "Tasks in a queue by state.", labels=("queue", "state")
    )
    size = GaugeMetricFamily("asynq_queue_size", "Tasks in a queue.", labels=("queue",))
    latency = GaugeMetricFamily(
        "asynq_queue_latency_seconds", "How long the oldest pending task has waited.", labels=("queue",)
    )
    used = GaugeMetricFamily(
        "asynq_queue_memory_usage_approx_bytes", "Estimate of the memory of a queue.", labels=("queue",)
    )
    processed = CounterMetricFamily(
        "asynq_tasks_processed_total", "Runs that ended, failures included.", labels=("queue",)
    )
    failed = CounterMetricFamily("asynq_tasks_failed_total", "Runs that failed.", labels=("queue",))
    paused = GaugeMetricFamily("asynq_queue_paused_total", "1 if the queue is paused.", labels=("queue",))
    groups = GaugeMetricFamily("asynq_queue_groups", "Groups that contain tasks.", labels=("queue",))
    for queue, each in stats.items():
        for state in STATES:
            tasks.add_metric((queue, state), sum(getattr(one, state) for one in each))
        size.add_metric((queue,), sum(one.size for one in each))
        latency.add_metric((queue,), max(one.latency for one in each) / 1000)
        processed.add_metric((queue,), sum(one.processed_total for one in each))
        failed.add_metric((queue,), sum(one.failed_total for one in each))
        paused.add_metric((queue,), max(one.paused for one in each))
        groups.add_metric((queue,), sum(one.groups for one in each))
    for queue, bytes_used in memory.items():
        used.add_metric((queue,), bytes_used)
    return [tasks, size, latency, used, processed, failed, paused, groups]


def _errors(failed: int) -> Metric:
    return GaugeMetricFamily(
        "asynq_queues_unreadable", "Queues that could not be read in this scrape.", value=failed
    )
