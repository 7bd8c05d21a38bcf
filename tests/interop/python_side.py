"""This library as a client and inspector, in the process of the tests, and as a worker and scheduler."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Unpack

import asynq
from tests.interop.lines import PeerError
from tests.interop.sides import Entry, Options, ServerShown, Shown, WorkerSettings, scheduled, served

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.interop.lines import LineProgram
    from tests.interop.sides import Programs

KINDS: Mapping[type[asynq.AsynqError], str] = {
    asynq.DuplicateTaskError: "duplicate",
    asynq.TaskIDConflictError: "conflict",
    asynq.QueueNotFoundError: "queue not found",
    asynq.QueueNotEmptyError: "queue not empty",
    asynq.TaskNotFoundError: "task not found",
}
DURATIONS = {"timeout", "unique", "retention", "process_in"}
INSTANTS = {"deadline", "process_at"}


@contextmanager
def refusals() -> Iterator[None]:
    """Turn this library's errors into the error that both sides have."""
    try:
        yield
    except asynq.AsynqError as error:
        raise PeerError(KINDS.get(type(error), "other"), str(error)) from error


def keywords(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as this library takes them."""
    made = dict(options)
    for name in DURATIONS & made.keys():
        made[name] = timedelta(seconds=made[name])
    for name in INSTANTS & made.keys():
        made[name] = datetime.fromtimestamp(made[name], UTC)
    return made


def unix(instant: datetime | None) -> float:
    """0 for none."""
    return instant.timestamp() if instant else 0


def shown(info: asynq.TaskInfo) -> Shown:
    """A task as both sides show it."""
    return Shown(
        id=info.id,
        queue=info.queue,
        type=info.type,
        state=str(info.state),
        payload=info.payload,
        headers=dict(info.headers),
        max_retry=info.max_retry,
        retried=info.retried,
        last_err=info.last_err,
        last_failed_at=unix(info.last_failed_at),
        timeout=info.timeout.total_seconds() if info.timeout else 0,
        deadline=unix(info.deadline),
        group=info.group,
        next_process_at=unix(info.next_process_at),
        orphaned=info.orphaned,
        retention=info.retention.total_seconds(),
        completed_at=unix(info.completed_at),
        result=info.result or b"",
    )


class PythonSide:
    """A `Side` of this library's public classes."""

    name = "python"

    def __init__(self, programs: Programs) -> None:
        self._programs = programs
        self.broker = asynq.connect(programs.url)
        self.client = asynq.Client(self.broker)
        self.inspector = asynq.Inspector(self.broker)

    def close(self) -> None:
        """Close the connections."""
        self.client.close()
        self.inspector.close()
        self.broker.close()

    def enqueue(
        self,
        kind: str,
        payload: bytes = b"",
        headers: Mapping[str, str] | None = None,
        **options: Unpack[Options],
    ) -> Shown:
        with refusals():
            return shown(self.client.enqueue(asynq.Task(kind, payload, headers=headers), **keywords(options)))

    def worker(self, **settings: Unpack[WorkerSettings]) -> LineProgram:
        return served(self._programs.python(), settings)

    def scheduler(
        self, spec: str, kind: str, payload: bytes = b"", **options: Unpack[Options]
    ) -> tuple[LineProgram, str]:
        return scheduled(self._programs.python(), spec, kind, payload, options)

    def queues(self) -> list[str]:
        return list(self.inspector.queues())

    def queue(self, queue: str) -> dict[str, Any]:
        with refusals():
            info = self.inspector.queue_info(queue)
        return {
            "size": info.size,
            "pending": info.pending,
            "active": info.active,
            "scheduled": info.scheduled,
            "retry": info.retry,
            "archived": info.archived,
            "completed": info.completed,
            "aggregating": info.aggregating,
            "groups": info.groups,
            "processed": info.processed,
            "failed": info.failed,
            "processed_total": info.processed_total,
            "failed_total": info.failed_total,
            "paused": info.paused,
            "latency": info.latency.total_seconds(),
        }

    def groups(self, queue: str) -> dict[str, int]:
        with refusals():
            return {group.name: group.size for group in self.inspector.groups(queue)}

    def task(self, queue: str, task: str) -> Shown:
        with refusals():
            return shown(self.inspector.task(queue, task))

    def tasks(self, queue: str, state: str, group: str = "") -> list[Shown]:
        with refusals():
            return [shown(info) for info in self.inspector.tasks(queue, state, group or None)]

    def one(self, verb: str, queue: str, task: str) -> None:
        with refusals():
            verbs = {
                "run": self.inspector.run_task,
                "archive": self.inspector.archive_task,
                "delete": self.inspector.delete_task,
            }
            verbs[verb](queue, task)

    def all(self, verb: str, queue: str, state: str, group: str = "") -> int:
        with refusals():
            verbs = {
                "run": self.inspector.run_all,
                "archive": self.inspector.archive_all,
                "delete": self.inspector.delete_all,
            }
            return verbs[verb](queue, state, group or None)

    def update(self, queue: str, task: str, payload: bytes) -> None:
        with refusals():
            self.inspector.update_payload(queue, task, payload)

    def pause(self, queue: str) -> None:
        with refusals():
            self.inspector.pause(queue)

    def unpause(self, queue: str) -> None:
        with refusals():
            self.inspector.unpause(queue)

    def delete_queue(self, queue: str, *, force: bool = False) -> None:
        with refusals():
            self.inspector.delete_queue(queue, force=force)

    def cancel(self, task: str) -> None:
        with refusals():
            self.inspector.cancel(task)

    def servers(self) -> list[ServerShown]:
        return [
            ServerShown(
                pid=one.pid,
                concurrency=one.concurrency,
                queues=one.queues,
                status=one.status,
                runs=tuple((run.task_id, run.task_type, run.payload, run.queue) for run in one.workers),
            )
            for one in self.inspector.servers()
        ]

    def entries(self) -> list[Entry]:
        return [
            Entry(
                id=one.id,
                spec=one.spec,
                type=one.task_type,
                payload=one.payload,
                options=one.options,
                next=unix(one.next_enqueue_at),
                prev=unix(one.prev_enqueue_at),
            )
            for one in self.inspector.scheduler_entries()
        ]

    def enqueued_by(self, entry: str) -> list[str]:
        return [event.task_id for event in self.inspector.enqueue_events(entry)]
