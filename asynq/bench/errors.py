"""The error of a benchmark that cannot go on."""

from __future__ import annotations

from asynq.errors import AsynqError


class BenchError(AsynqError):
    """A measurement failed: a program of it ended or did not answer in time, or a tool is missing."""
