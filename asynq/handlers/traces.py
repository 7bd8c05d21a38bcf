"""Where traces of runs come from: an instrumentation, such as `asynq.opentelemetry`, or none."""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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
