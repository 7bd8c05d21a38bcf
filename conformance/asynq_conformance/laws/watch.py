"""Laws of watching individual tasks: `Broker.watcher`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from asynq.protocol import ops
from asynq.protocol.message import Lease
from asynq_conformance.lab import SECOND, Lab
from asynq_conformance.laws import Laws
from asynq_conformance.promises import promise

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.protocol.message import Delivery
    from asynq.protocol.ops import Op

WATCH_TIMEOUT = 10.0
"""Seconds after which a missing notification counts as lost."""


def written(delivery: Delivery) -> Op[None]:
    """The operation that stores a result during the run."""
    return ops.WriteResult(lease=Lease("q", "t", delivery.token), result=b"half")


CHANGES: dict[str, Callable[[Delivery], Op[None]]] = {
    "done": lambda delivery: ops.Done(delivery=delivery),
    "completed": lambda delivery: ops.Complete(delivery=delivery, result=b"r"),
    "archived": lambda delivery: ops.Archive(delivery=delivery, error="e"),
    "retried": lambda delivery: ops.Retry(delivery=delivery, delay=SECOND, error="e"),
    "requeued": lambda delivery: ops.Requeue(delivery=delivery),
    "written": written,
}


def require_push(lab: Lab) -> None:
    """Skip the law if the broker does not push events: it is polled."""
    # Not a fixture of the class below: the suite combines all classes of laws, so it would apply to each law.
    if lab.broker.capabilities.wakeup != "push":
        pytest.skip("this broker does not push events")


def notifies(lab: Lab, *changes: Callable[[], object]) -> bool:
    """Whether a watch on task "t" of queue "q" reports each of these successive changes."""
    require_push(lab)

    async def watch() -> bool:
        watcher = lab.broker.watcher()
        try:
            for change in changes:
                changed = await watcher.watch("q", "t")
                await asyncio.to_thread(change)
                await asyncio.wait([changed], timeout=WATCH_TIMEOUT)
                if not changed.done():
                    return False
            return True
        finally:
            await watcher.aclose()

    return asyncio.run(watch())


@promise("G9")
class WatchLaws(Laws):
    """Callers that wait for a task are notified of its changes."""

    @pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
    def test_a_watcher_receives_the_end_of_a_run(
        self, lab: Lab, change: Callable[[Delivery], Op[None]]
    ) -> None:
        lab.enqueue(lab.message("t", retention=3600))
        delivery = lab.take()
        assert notifies(lab, lambda: lab.execute(change(delivery)))

    def test_a_watcher_receives_successive_changes(self, lab: Lab) -> None:
        lab.enqueue(lab.message("t", retention=3600))
        lease: list[Delivery] = []
        assert notifies(
            lab,
            lambda: lease.append(lab.take()),
            lambda: lab.execute(written(lease[0])),
            lambda: lab.execute(ops.Complete(delivery=lease[0])),
        )

    def test_a_task_can_be_watched_before_it_exists(self, lab: Lab) -> None:
        lab.enqueue("other")
        assert notifies(lab, lambda: lab.enqueue("t"))

    def test_a_watcher_receives_changes_by_another_broker(self, lab: Lab) -> None:
        lab.enqueue("t")
        other = lab.harness.reopen(lab.clock)
        try:
            assert notifies(
                lab, lambda: other.execute(ops.Dequeue(orders=(("q",),), token="a", lease=SECOND))
            )
        finally:
            other.close()

    def test_closing_a_watcher_notifies_all_waiting_callers(self, lab: Lab) -> None:
        require_push(lab)

        async def watch() -> bool:
            watcher = lab.broker.watcher()
            changed = await watcher.watch("q", "t")
            await watcher.aclose()
            return changed.done()

        assert asyncio.run(watch())
