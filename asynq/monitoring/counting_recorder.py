"""`CountingRecorder`: counts what a server observes, in memory that its supervisor reads; for Prometheus."""

from __future__ import annotations

import threading
from bisect import bisect_left
from typing import TYPE_CHECKING, get_args

from asynq.monitoring.counters import MAX_LABEL
from asynq.monitoring.recorder import Recorder, RunOutcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asynq.monitoring.counters import RunCounters

OTHER = "_other"
"""The label of the queues, types and pairs of them beyond the limits, together."""
MAX_QUEUES = 100
"""Queues with series of their own: the first ones of which a task runs."""
MAX_TYPES = 100
"""The same for types of tasks."""
MAX_PAIRS = 500
"""The same for pairs of a queue and a type."""

RUN_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
"""Upper bounds of the buckets of waits and runs, in seconds."""
CALL_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
"""The same for calls of the broker."""
OUTCOMES: tuple[RunOutcome, ...] = get_args(RunOutcome)
RECOVERED_TO = ("pending", "retry", "archived")

# A histogram is the numbers of observations in its buckets, the last one without a bound, and their sum.
# The numbers of a pair of queue and type:
IN_PROGRESS = 0
WAITS = 1
RUNS = WAITS + len(RUN_BOUNDS) + 2
SETTLED = RUNS + len(RUN_BOUNDS) + 2
RECOVERED = SETTLED + len(OUTCOMES)
PAIR_WIDTH = RECOVERED + len(RECOVERED_TO)
# The numbers of a kind of call: a histogram, and the calls that failed.
FAILED = len(CALL_BOUNDS) + 2
CALL_WIDTH = FAILED + 1

PAIR, CALL, OPERATION, SERVER = "pair", "call", "operation", "server"
"""The kinds of series."""

_SETTLED_AT = {outcome: SETTLED + number for number, outcome in enumerate(OUTCOMES)}
_RECOVERED_AT = {state: RECOVERED + number for number, state in enumerate(RECOVERED_TO)}


class CountingRecorder(Recorder):
    """Counts into memory of this process, or into memory that outlives it.

    Args:
        counters: the memory. What a process before this one has left in it is continued.
    """

    def __init__(self, counters: RunCounters) -> None:
        self._counters = counters
        self._numbers = counters.numbers
        self._pairs: dict[tuple[str, str], int] = {}
        self._queues: set[str] = {OTHER}
        self._types: set[str] = {OTHER}
        self._labelled = 0
        self._calls: dict[str, int | None] = {}
        self._operations: dict[str, int | None] = {}
        self._lock = threading.Lock()
        """Calls are recorded on any thread."""
        # Reserved before anything else: when the memory is full, everything is counted there.
        self._rest = self._reserve((PAIR, OTHER, OTHER), PAIR_WIDTH)
        self._slots = self._reserve((SERVER,), 1)
        for key, _ in counters.read():
            if key[0] == PAIR:
                self._queues.add(key[1])
                self._types.add(key[2])
                self._labelled += 1
        reset_gauges(counters)

    def server_started(self, concurrency: int) -> None:
        """See Recorder."""
        self._numbers[self._slots] += concurrency

    def server_ended(self) -> None:
        """See Recorder."""
        reset_gauges(self._counters)

    def run_started(self, queue: str, task_type: str, waited: float | None) -> None:
        """See Recorder."""
        start = self._pairs.get((queue, task_type))
        if start is None:
            start = self._pair(queue, task_type)
        numbers = self._numbers
        numbers[start] += 1
        if waited is not None:
            numbers[start + WAITS + bisect_left(RUN_BOUNDS, waited)] += 1
            numbers[start + RUNS - 1] += waited

    def run_ended(self, queue: str, task_type: str, seconds: float) -> None:
        """See Recorder."""
        start = self._pairs.get((queue, task_type))
        if start is None:
            start = self._pair(queue, task_type)
        numbers = self._numbers
        numbers[start] -= 1
        numbers[start + RUNS + bisect_left(RUN_BOUNDS, seconds)] += 1
        numbers[start + SETTLED - 1] += seconds

    def run_settled(self, queue: str, task_type: str, outcome: RunOutcome) -> None:
        """See Recorder."""
        self._numbers[self._pair(queue, task_type) + _SETTLED_AT[outcome]] += 1

    def task_recovered(self, queue: str, task_type: str, to: str) -> None:
        """See Recorder."""
        self._numbers[self._pair(queue, task_type) + _RECOVERED_AT[to]] += 1

    def broker_called(self, call: str, operations: Mapping[str, int], seconds: float, error: str) -> None:
        """See Recorder."""
        numbers = self._numbers
        with self._lock:
            if (start := self._series(self._calls, CALL, call, CALL_WIDTH)) is not None:
                numbers[start + bisect_left(CALL_BOUNDS, seconds)] += 1
                numbers[start + FAILED - 1] += seconds
                numbers[start + FAILED] += bool(error)
            for operation, number in operations.items():
                if (at := self._series(self._operations, OPERATION, operation, 1)) is not None:
                    numbers[at] += number

    def _pair(self, queue: str, task_type: str) -> int:
        """Where the numbers of a queue and a type are."""
        pair = (queue, task_type)
        start = self._pairs.get(pair)
        if start is None:
            start = self._new_pair(queue[:MAX_LABEL], task_type[:MAX_LABEL])
            if len(self._pairs) < 10 * MAX_PAIRS:  # more of them are looked up each time
                self._pairs[pair] = start
        return start

    def _new_pair(self, queue: str, task_type: str) -> int:
        queue = _bounded(queue, self._queues, MAX_QUEUES)
        task_type = _bounded(task_type, self._types, MAX_TYPES)
        with self._lock:
            key = (PAIR, queue, task_type)
            start = self._counters.find(key)
            if start is None and self._labelled <= MAX_PAIRS:
                start = self._counters.series(key, PAIR_WIDTH)
                self._labelled += 1
        return self._rest if start is None else start

    def _series(self, known: dict[str, int | None], kind: str, name: str, width: int) -> int | None:
        if name not in known:
            known[name] = self._counters.series((kind, name), width)
        return known[name]

    def _reserve(self, key: tuple[str, ...], width: int) -> int:
        start = self._counters.series(key, width)
        if start is None:
            raise RuntimeError("the memory for counters is full")
        return start


def reset_gauges(counters: RunCounters) -> None:
    """Nothing is in progress any more: the process that counted has ended."""
    for key, start in counters.starts():
        if key[0] in (PAIR, SERVER):
            counters.numbers[start] = 0


def _bounded(label: str, labels: set[str], most: int) -> str:
    """The label, or OTHER if there are too many others."""
    if label not in labels:
        if len(labels) > most:
            return OTHER
        labels.add(label)
    return label
