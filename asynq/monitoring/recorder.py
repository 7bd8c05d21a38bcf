"""`Recorder`: receives what a server observes of its runs and of its broker, for metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from asynq.runtime.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

log = get_logger("asynq.monitoring")

RunOutcome = Literal[
    "done",
    "retried",
    "postponed",
    "archived",
    "skipped",
    "revoked",
    "cancelled",
    "requeued",
    "lease_lost",
    "unrecorded",
]
"""What became of a run:

- done: the handler returned;
- retried: it failed, and the task runs again;
- postponed: the task runs again, and this does not count as a failure, for example because of a rate limit;
- archived: it failed for the last time, or after its deadline;
- skipped: the handler raised SkipRetry;
- revoked: the handler raised RevokeTask;
- cancelled: an operator cancelled it;
- requeued: a shutdown returned the task to its queue;
- lease_lost: another worker may run the task, and the outcome was not recorded;
- unrecorded: the broker refused every outcome.
"""


class Recorder:
    """Receives observations of a server. Override the methods that you need.

    They are called on the event loop of the server and must not block it; `broker_called` is called on any
    thread. Times are in seconds. An error that a method raises is logged once and has no other effect.
    """

    def server_started(self, concurrency: int) -> None:
        """The server takes tasks, as many at a time."""

    def server_ended(self) -> None:
        """The server has ended."""

    def run_started(self, queue: str, task_type: str, waited: float | None) -> None:
        """A run starts. `waited`: how long its task was pending; None if it is not known."""

    def run_ended(self, queue: str, task_type: str, seconds: float) -> None:
        """A run has ended, which took so long. Its outcome is not recorded yet."""

    def run_settled(self, queue: str, task_type: str, outcome: RunOutcome) -> None:
        """The broker has recorded what became of a run, or it can no longer be recorded."""

    def task_recovered(self, queue: str, task_type: str, to: str) -> None:
        """This server found a task whose worker was lost. `to`: where it is now: pending, retry, archived."""

    def broker_called(self, call: str, operations: Mapping[str, int], seconds: float, error: str) -> None:
        """A call of the broker has ended.

        Args:
            call: the kind of the call: "exchange" for settlements together with a dequeue, "settle" for
                settlements, the name of an operation such as "forward", or "several".
            operations: the number of operations in the call, by their names.
            seconds: how long it took.
            error: the class of the error that the call raised; "" for none.
        """


class Recorders(Recorder):
    """Passes observations on to several recorders, and keeps their errors away from the server.

    Args:
        recorders: the recorders.
    """

    def __init__(self, recorders: Sequence[Recorder]) -> None:
        for name in vars(Recorder):
            if not name.startswith("_"):
                overriding = [
                    each for each in recorders if getattr(type(each), name) is not getattr(Recorder, name)
                ]
                setattr(self, name, _passing([getattr(each, name) for each in overriding], name))


def _passing(methods: Sequence[Callable[..., None]], name: str) -> Callable[..., None]:
    """A function that calls all these methods, and logs the first error of each."""
    failed: set[int] = set()

    def call(*arguments: Any) -> None:
        for number, method in enumerate(methods):
            try:
                method(*arguments)
            except Exception:
                if number not in failed:
                    failed.add(number)
                    log.exception("%s of a recorder failed; further errors are not logged", name)

    return call
