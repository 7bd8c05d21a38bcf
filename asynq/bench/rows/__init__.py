"""The rows of the benchmark. One module for each thing that is measured."""

from __future__ import annotations

from asynq.bench.rows import drain, enqueue, pickup

ALL_ROWS = (*drain.ROWS, *enqueue.ROWS, *pickup.ROWS)
"""In the order of the table."""
