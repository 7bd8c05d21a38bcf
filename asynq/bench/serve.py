"""A worker with an aggregator, which `asynq worker` has not: `python -m asynq.bench.serve CONCURRENCY`."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import TYPE_CHECKING

import asynq
from asynq.bench.app import mux
from asynq.bench.drivers.harness import PAYLOAD, broker_url
from asynq.bench.names import NOOP

if TYPE_CHECKING:
    from asynq import Task


def merge(group: str, tasks: list[Task]) -> Task:  # noqa: ARG001 - the shape of an aggregator
    """One task in place of those of a group."""
    return asynq.Task(NOOP, PAYLOAD)


if __name__ == "__main__":
    asynq.Server(
        broker_url(),
        concurrency=int(sys.argv[1]),
        aggregator=merge,
        group_grace_period=timedelta(hours=1),
    ).run(mux)
