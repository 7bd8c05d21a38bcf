"""The rows of the benchmark. One module for each thing that is measured."""

from __future__ import annotations

from asynq.bench.rows import drain, enqueue, growth, idle, latency, memory, pickup, sqlite, startup

ALL_ROWS = (
    *drain.ROWS,
    *enqueue.ROWS,
    *pickup.ROWS,
    *idle.ROWS,
    *growth.ROWS,
    *latency.ROWS,
    *memory.ROWS,
    *sqlite.ROWS,
    *startup.ROWS,
)
"""In the order of the table."""
