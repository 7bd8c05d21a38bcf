"""A task queue under test: the programs that produce and process its tasks."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from attrs import field, frozen

import asynq
from asynq.bench.names import queue_names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@frozen(kw_only=True)
class WorkerOptions:
    """What a scenario wants of a worker. Other task queues serve one queue and do not aggregate."""

    concurrency: int
    queues: int = 1
    aggregates: bool = False


@frozen(kw_only=True)
class MeasuredSystem:
    """How to run one task queue. Its programs find the broker in ASYNQ_BENCH_BROKER."""

    name: str
    version: str
    options: str
    """The options of its worker and client, for people."""
    produce: tuple[str, ...]
    """Command of the producer, which answers as `asynq.bench.drivers.harness.serve` does."""
    modes: frozenset[str] = frozenset()
    """The modes of its producer that scenarios may use. Ours has all of them."""
    work: Callable[[WorkerOptions], Sequence[str]]
    """Command of a worker."""
    env: Mapping[str, str] = field(factory=dict)
    fewer: int = 1
    """How many times fewer tasks it is measured with, because it is slower."""


def _worker(options: WorkerOptions) -> list[str]:
    if options.aggregates:
        return [sys.executable, "-m", "asynq.bench.serve", str(options.concurrency)]
    command = [sys.executable, "-m", "asynq", "worker", "asynq.bench.app:mux", "--log-level", "warning"]
    command += ["--concurrency", str(options.concurrency)]
    for name in queue_names(options.queues):
        command += ["--queue", name]
    return command


OURS = MeasuredSystem(
    name="asynq-py",
    version=asynq.__version__,
    options="one `asynq worker` process, all options at their defaults",
    produce=(sys.executable, "-m", "asynq.bench.producer"),
    work=_worker,
)
"""This library."""
