"""Whether work goes on: a caller that asks each queue for one round of it, again and again."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Self

from asynq.errors import AsynqError
from asynq.protocol import ops
from asynq.protocol.message import TaskMessage
from asynq_conformance.histories.recorder import HistoryRecorder, RecordingBroker

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

    from asynq_conformance.histories.plan import Source

_LEASE: Final = 10_000
_PAUSE: Final = 0.02


class Probe:
    """Part of the record like any other caller: what it makes and runs is judged too."""

    def __init__(self, source: Source, record: Path) -> None:
        self._recorder = HistoryRecorder(record, "probe")
        self._inner = source.open()
        self._broker = RecordingBroker(self._inner, self._recorder)
        self._numbers = itertools.count()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inner.close()
        self._recorder.close()

    def wait_flow(self, queues: Iterable[str], patience: float) -> dict[str, float]:
        """Seconds until a new task was enqueued, and some task handed out, in each queue.

        AssertionError when that does not come.
        """
        began = time.monotonic()
        with ThreadPoolExecutor() as callers:
            waits = {queue: callers.submit(self._wait, queue, began, patience) for queue in queues}
        return {queue: wait.result() for queue, wait in waits.items()}

    def _wait(self, queue: str, began: float, patience: float) -> float:
        trouble: Any = "it is empty"
        enqueued = False
        while time.monotonic() - began < patience:
            try:
                if not enqueued:
                    self._broker.execute(self._enqueue(queue))
                    enqueued = True
                if self._run_one(queue):
                    return time.monotonic() - began
            except AsynqError as error:
                trouble = error
            time.sleep(_PAUSE)
        raise AssertionError(f"queue {queue!r} did not flow within {patience:.0f} s: {trouble}")

    def _fresh(self) -> str:
        return f"probe-{next(self._numbers)}"

    def _enqueue(self, queue: str) -> ops.Enqueue:
        message = TaskMessage(id=self._fresh(), type="probe", queue=queue)
        return ops.Enqueue(message=message, enqueue_id=self._fresh())

    def _run_one(self, queue: str) -> bool:
        """Run the task at the head of the queue; when others were faster, make another for the next try."""
        deliveries = self._broker.execute(ops.Dequeue(orders=((queue,),), token=self._fresh(), lease=_LEASE))
        for delivery in deliveries:
            self._broker.execute(ops.Done(delivery=delivery))
        if not deliveries:
            self._broker.execute(self._enqueue(queue))
        return bool(deliveries)
