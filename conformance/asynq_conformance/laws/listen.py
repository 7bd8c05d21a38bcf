"""Laws of the events of a broker: `Broker.listener`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

import pytest

from asynq.protocol import ops
from asynq.protocol.broker import CancelRequested, Wake
from asynq.task_state import TaskState
from asynq_conformance.lab import HOUR, SECOND, Lab
from asynq_conformance.laws import Laws
from asynq_conformance.laws.watch import WATCH_TIMEOUT, require_push
from asynq_conformance.promises import promise

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.protocol.broker import Event, Listener


async def _until(last: type[Event], listener: Listener) -> list[Event]:
    """The events up to and including the first one of this kind."""
    events: list[Event] = []
    try:
        async with asyncio.timeout(WATCH_TIMEOUT):
            while not events or not isinstance(events[-1], last):
                events.append(await listener.next())
    except TimeoutError:
        pytest.fail(f"no {last.__name__} within {WATCH_TIMEOUT:g} s, only {events}")
    return events


def received(
    lab: Lab, change: Callable[[], object], *, armed: bool = True, last: type[Event] = CancelRequested
) -> list[Event]:
    """Events that a listener for queue "q" receives from the change up to a `last` one, which must come."""
    require_push(lab)

    async def listen() -> list[Event]:
        listener = lab.broker.listener()
        try:
            await listener.arm(["q"])
            async with asyncio.timeout(WATCH_TIMEOUT):
                assert await listener.next() == Wake()
            if not armed:
                await listener.disarm()
            telling = asyncio.create_task(_until(last, listener))
            await asyncio.to_thread(change)
            return await telling
        finally:
            await listener.aclose()

    return asyncio.run(listen())


def _parked(lab: Lab) -> None:
    lab.enqueue("t")
    lab.execute(ops.ExportTask(queue="q", task_id="t", park=True))


def _paused(lab: Lab) -> None:
    lab.enqueue("t")
    lab.execute(ops.PauseQueue(queue="q"))


READY: dict[str, tuple[Callable[[Lab], object], ops.Op[Any]]] = {
    "run": (
        lambda lab: lab.bring(TaskState.ARCHIVED),
        ops.RunTask(queue="q", task_id="t"),
    ),
    "moved": (
        lambda lab: lab.bring(TaskState.RETRY),
        ops.MoveTasks(queue="q", state=TaskState.RETRY, to="pending"),
    ),
    "rescheduled": (
        lambda lab: lab.enqueue("t", delay=HOUR),
        ops.UpdateTask(queue="q", task_id="t", process_in=SECOND),
    ),
    "unpaused": (_paused, ops.UnpauseQueue(queue="q")),
    "released": (_parked, ops.ReleaseTask(queue="q", task_id="t", to="restored")),
}
"""By what makes a task run that did not wait in the queue: what comes before, and the operation."""


def cancel(lab: Lab, op: ops.CancelTask) -> None:
    """Cancel a running task."""
    assert lab.execute(op) is True


@promise("G9")
class ListenLaws(Laws):
    """A worker is notified of a cancellation at once, and is not woken without a reason."""

    @pytest.mark.parametrize("queue", ["q", None])
    @pytest.mark.parametrize("then", ["archive", "retry"])
    def test_a_listener_receives_a_cancellation(
        self, lab: Lab, queue: str | None, then: Literal["archive", "retry"]
    ) -> None:
        lab.enqueue("t")
        lab.take()
        *_, event = received(lab, lambda: cancel(lab, ops.CancelTask(task_id="t", queue=queue, then=then)))
        assert isinstance(event, CancelRequested)
        assert (event.task_id, event.then) == ("t", then)
        assert event.queue in ("q", None)

    @pytest.mark.parametrize("armed", [True, False])
    def test_a_listener_receives_a_cancellation_by_another_broker(self, lab: Lab, armed: bool) -> None:
        lab.enqueue("t")
        lab.take()
        assert lab.execute(ops.CancelTask(task_id="missing")) is False
        other = lab.harness.reopen(lab.clock)
        try:
            cancel = ops.CancelTask(task_id="t", queue="q", then="archive")
            *_, event = received(lab, lambda: other.execute(cancel), armed=armed)
        finally:
            other.close()
        assert event == CancelRequested("t", "q", "archive")

    def test_a_listener_receives_an_event_for_each_cancelled_run(self, lab: Lab) -> None:
        lab.enqueue("t")
        for _ in range(2):
            delivery = lab.take()
            *_, event = received(
                lab, lambda: cancel(lab, ops.CancelTask(task_id="t", queue="q", then="retry"))
            )
            assert event == CancelRequested("t", "q", "retry")
            lab.execute(ops.Retry(delivery=delivery, delay=SECOND, error="e"))
            lab.advance(2 * SECOND)
            lab.execute(ops.Forward(queue="q"))

    @pytest.mark.parametrize("change", READY)
    def test_a_listener_is_woken_when_a_task_is_made_to_run(self, lab: Lab, change: str) -> None:
        prepare, op = READY[change]
        prepare(lab)
        (event,) = received(lab, lambda: lab.execute(op), last=Wake)
        assert isinstance(event, Wake)
        assert event.queue in ("q", None)

    def test_maintenance_without_changes_sends_no_event(self, lab: Lab) -> None:
        lab.enqueue("t", delay=HOUR)
        lab.enqueue("u")
        lab.take()
        found_nothing = (
            ops.Forward(queue="q"),
            ops.ListLostLeases(queue="q"),
            ops.AdoptOrphans(queue="q", grace=SECOND),
            ops.PurgeCompleted(queue="q"),
            ops.TrimArchive(queue="q"),
        )

        def keep_up() -> None:
            for op in found_nothing:
                lab.execute(op)
            lab.execute(ops.CancelTask(task_id="u", queue="q"))

        assert received(lab, keep_up) == [CancelRequested("u", "q", "archive")]
