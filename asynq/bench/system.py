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
    work: Callable[[int, int], Sequence[str]]
    """Command of a worker, by its concurrency and the number of its queues."""
    env: Mapping[str, str] = field(factory=dict)


def _worker(concurrency: int, queues: int) -> list[str]:
    command = [sys.executable, "-m", "asynq", "worker", "asynq.bench.app:mux", "--log-level", "warning"]
    command += ["--concurrency", str(concurrency)]
    for name in queue_names(queues):
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
