"""Inspectors: the verbs of the modules beside this one, called or awaited."""

from __future__ import annotations

from asynq.inspector import bulk, doctor, inspect, listing
from asynq.inspector import overview as overviews
from asynq.protocol.broker_owner import AsyncBrokerOwner, BrokerOwner
from asynq.runtime.sync_async import awaited, called, iterated, streamed


class Inspector(BrokerOwner):
    """Looks at queues and tasks, and changes them by hand. Usable from any thread, and again after a fork.

    Connects when first used. A broker given as a URL is the inspector's own and closed with it; one given as
    an object is its giver's. Names that are unknown, or states that do not allow what is asked, raise an
    AsynqError that says so, and nothing is changed.
    """

    overview = called(overviews.overview)
    queues = called(listing.queues)
    queue_info = called(inspect.queue_info)
    history = called(inspect.history)
    groups = iterated(listing.groups)
    task = called(inspect.task)
    find_tasks = called(inspect.find_tasks)
    tasks = iterated(listing.tasks)
    broker_info = called(inspect.broker_info)
    servers = called(inspect.servers)
    scheduler_entries = called(inspect.scheduler_entries)
    enqueue_events = iterated(inspect.enqueue_events)

    run_task = called(inspect.run_task)
    archive_task = called(inspect.archive_task)
    delete_task = called(inspect.delete_task)
    update_payload = called(inspect.update_payload)
    reschedule = called(inspect.reschedule)
    cancel = called(inspect.cancel)

    run_all = called(bulk.run_all)
    archive_all = called(bulk.archive_all)
    delete_all = called(bulk.delete_all)
    purge = called(bulk.purge)
    cancel_all = called(bulk.cancel_all)
    reschedule_all = called(bulk.reschedule_all)

    pause = called(inspect.pause)
    unpause = called(inspect.unpause)
    delete_queue = called(inspect.delete_queue)
    doctor = iterated(doctor.doctor)


class AsyncInspector(AsyncBrokerOwner):
    """`Inspector`, awaited: the same verbs with the same promises; what lists is for `async for`."""

    overview = awaited(overviews.overview)
    queues = awaited(listing.queues)
    queue_info = awaited(inspect.queue_info)
    history = awaited(inspect.history)
    groups = streamed(listing.groups)
    task = awaited(inspect.task)
    find_tasks = awaited(inspect.find_tasks)
    tasks = streamed(listing.tasks)
    broker_info = awaited(inspect.broker_info)
    servers = awaited(inspect.servers)
    scheduler_entries = awaited(inspect.scheduler_entries)
    enqueue_events = streamed(inspect.enqueue_events)

    run_task = awaited(inspect.run_task)
    archive_task = awaited(inspect.archive_task)
    delete_task = awaited(inspect.delete_task)
    update_payload = awaited(inspect.update_payload)
    reschedule = awaited(inspect.reschedule)
    cancel = awaited(inspect.cancel)

    run_all = awaited(bulk.run_all)
    archive_all = awaited(bulk.archive_all)
    delete_all = awaited(bulk.delete_all)
    purge = awaited(bulk.purge)
    cancel_all = awaited(bulk.cancel_all)
    reschedule_all = awaited(bulk.reschedule_all)

    pause = awaited(inspect.pause)
    unpause = awaited(inspect.unpause)
    delete_queue = awaited(inspect.delete_queue)
    doctor = streamed(doctor.doctor)
