"""Inspectors: the verbs of `asynq.inspector.inspect`, called or awaited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from asynq.inspector import doctor, inspect
from asynq.protocol.connect import resolve
from asynq.runtime.sync_async import awaited, listed, plain, streamed

if TYPE_CHECKING:
    from asynq.protocol.broker import Broker


class Inspector:
    """Looks at queues and tasks, and changes them by hand. Usable from any thread, and again after a fork.

    Connects when first used. A broker given as a URL is the inspector's own and closed with it; one given as
    an object is its giver's. Names that are unknown, or states that do not allow what is asked, raise an
    AsynqError that says so, and nothing is changed.
    """

    def __init__(self, broker: Broker | str) -> None:
        self._broker, self._owned = resolve(broker)

    queues = plain(inspect.queues)
    queue_info = plain(inspect.queue_info)
    history = plain(inspect.history)
    groups = listed(inspect.groups)
    task = plain(inspect.task)
    tasks = listed(inspect.tasks)
    servers = plain(inspect.servers)
    scheduler_entries = plain(inspect.scheduler_entries)
    enqueue_events = listed(inspect.enqueue_events)

    run_task = plain(inspect.run_task)
    archive_task = plain(inspect.archive_task)
    delete_task = plain(inspect.delete_task)
    update_payload = plain(inspect.update_payload)
    cancel = plain(inspect.cancel)

    run_all = plain(inspect.run_all)
    archive_all = plain(inspect.archive_all)
    delete_all = plain(inspect.delete_all)
    purge = plain(inspect.purge)

    pause = plain(inspect.pause)
    unpause = plain(inspect.unpause)
    delete_queue = plain(inspect.delete_queue)
    doctor = listed(doctor.doctor)

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

    queues = awaited(inspect.queues)
    queue_info = awaited(inspect.queue_info)
    history = awaited(inspect.history)
    groups = streamed(inspect.groups)
    task = awaited(inspect.task)
    tasks = streamed(inspect.tasks)
    servers = awaited(inspect.servers)
    scheduler_entries = awaited(inspect.scheduler_entries)
    enqueue_events = streamed(inspect.enqueue_events)

    run_task = awaited(inspect.run_task)
    archive_task = awaited(inspect.archive_task)
    delete_task = awaited(inspect.delete_task)
    update_payload = awaited(inspect.update_payload)
    cancel = awaited(inspect.cancel)

    run_all = awaited(inspect.run_all)
    archive_all = awaited(inspect.archive_all)
    delete_all = awaited(inspect.delete_all)
    purge = awaited(inspect.purge)

    pause = awaited(inspect.pause)
    unpause = awaited(inspect.unpause)
    delete_queue = awaited(inspect.delete_queue)
    doctor = streamed(doctor.doctor)

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
