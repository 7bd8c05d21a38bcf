"""Where traces of runs come from: an instrumentation, such as `asynq.opentelemetry`, or none."""

from __future__ import annotations

import sys
import threading
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from asynq.handlers.outcome import Outcome
    from asynq.protocol.message import Delivery, TaskMessage


class RunTrace(Protocol):
    """The trace of one run, from its start to its outcome."""

    def enter(self) -> None:
        """Make it current, for the rest of the context of the handler."""
        ...

    def end(self, outcome: Outcome) -> None:
        """The run has this outcome. Called once."""
        ...


class ConsumerTraces(Protocol):
    """Traces of runs and aggregations."""

    def run(self, delivery: Delivery) -> RunTrace | None:
        """A run starts. None: it is not traced."""
        ...

    def aggregation(self, queue: str, messages: Sequence[TaskMessage]) -> AbstractContextManager[object]:
        """Trace the aggregation of these tasks while the context is entered."""
        ...

    def carrier(self) -> Mapping[str, str]:
        """The current trace, as headers."""
        ...


FLUSH_TIME: Final = 1.0
"""Seconds that a process which is about to end waits for the export of its spans."""

consumer: ConsumerTraces | None = None
"""The instrumentation in use."""


def aggregation(queue: str, messages: Sequence[TaskMessage]) -> AbstractContextManager[object]:
    """Trace the aggregation of these tasks, if there is an instrumentation."""
    return nullcontext() if consumer is None else consumer.aggregation(queue, messages)


def carrier() -> Mapping[str, str]:
    """The current trace as headers, for a process that continues it. Empty without an instrumentation."""
    return {} if consumer is None else consumer.carrier()


@contextmanager
def continued(headers: Mapping[str, str]) -> Iterator[None]:
    """Continue in this process the trace that another one passed on in headers."""
    if not headers:
        yield
        return
    from opentelemetry import context, propagate

    token = context.attach(propagate.extract(headers))
    try:
        yield
    finally:
        context.detach(token)


def is_recorded() -> bool:
    """Whether this process has an SDK of OpenTelemetry, which may have spans to export."""
    return _export() is not None


def flush(wait: float) -> None:
    """Let the SDK, if this process has one, export what it has recorded. Waits so many seconds for it."""
    export = _export()
    if export is not None:
        # In a thread, because it has no time limit of its own.
        thread = threading.Thread(target=export, name="asynq-flush", daemon=True)
        thread.start()
        thread.join(wait)


def _export() -> Callable[[], object] | None:
    trace = sys.modules.get("opentelemetry.trace")
    return None if trace is None else getattr(trace.get_tracer_provider(), "force_flush", None)
