"""Inspectors: the verbs of `asynq.inspecting`, called or awaited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from asynq import inspecting
from asynq.broker import resolve
from asynq.verbs import awaited, listed, plain, streamed

if TYPE_CHECKING:
    from asynq.broker import Broker


class Inspector:
    """Looks at queues and tasks, and changes them by hand. Usable from any thread, and again after a fork.

    Connects when first used. A broker given as a URL is the inspector's own and closed with it; one given as
    an object is its giver's. Names that are unknown, or states that do not allow what is asked, raise an
    AsynqError that says so, and nothing is changed.
    """

    def __init__(self, broker: Broker | str) -> None:
        self._broker, self._owned = resolve(broker)

    queues = plain(inspecting.queues)
    queue_info = plain(inspecting.queue_info)
    history = plain(inspecting.history)
    groups = listed(inspecting.groups)
    task = plain(inspecting.task)
    tasks = listed(inspecting.tasks)
    servers = plain(inspecting.servers)
    scheduler_entries = plain(inspecting.scheduler_entries)
    enqueue_events = listed(inspecting.enqueue_events)

    run_task = plain(inspecting.run_task)
    archive_task = plain(inspecting.archive_task)
    delete_task = plain(inspecting.delete_task)
    update_payload = plain(inspecting.update_payload)
    cancel = plain(inspecting.cancel)

    run_all = plain(inspecting.run_all)
    archive_all = plain(inspecting.archive_all)
    delete_all = plain(inspecting.delete_all)
    purge = plain(inspecting.purge)

    pause = plain(inspecting.pause)
    unpause = plain(inspecting.unpause)
    delete_queue = plain(inspecting.delete_queue)
    doctor = listed(inspecting.doctor)

    def close(self) -> None:
        """Free what the inspector owns. Using it again connects again."""
        if self._owned:
            self._broker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Inspector({self._broker!r})"


class AsyncInspector:
    """`Inspector`, awaited: the same verbs with the same promises; what lists is for `async for`."""

    def __init__(self, broker: Broker | str) -> None:
        self._broker, self._owned = resolve(broker)

    queues = awaited(inspecting.queues)
    queue_info = awaited(inspecting.queue_info)
    history = awaited(inspecting.history)
    groups = streamed(inspecting.groups)
    task = awaited(inspecting.task)
    tasks = streamed(inspecting.tasks)
    servers = awaited(inspecting.servers)
    scheduler_entries = awaited(inspecting.scheduler_entries)
    enqueue_events = streamed(inspecting.enqueue_events)

    run_task = awaited(inspecting.run_task)
    archive_task = awaited(inspecting.archive_task)
    delete_task = awaited(inspecting.delete_task)
    update_payload = awaited(inspecting.update_payload)
    cancel = awaited(inspecting.cancel)

    run_all = awaited(inspecting.run_all)
    archive_all = awaited(inspecting.archive_all)
    delete_all = awaited(inspecting.delete_all)
    purge = awaited(inspecting.purge)

    pause = awaited(inspecting.pause)
    unpause = awaited(inspecting.unpause)
    delete_queue = awaited(inspecting.delete_queue)
    doctor = streamed(inspecting.doctor)

    async def aclose(self) -> None:
        """Free what the inspector owns for the running event loop. Using it again connects again."""
        if self._owned:
            await self._broker.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"AsyncInspector({self._broker!r})"
