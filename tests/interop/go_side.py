"""Go asynq as a client, worker, scheduler and inspector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from asynq.protocol.failures import without_failures
from tests.interop.lines import decoded, encoded
from tests.interop.sides import Entry, Options, ServerShown, Shown, WorkerSettings, scheduled, served

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.interop.lines import LineProgram
    from tests.interop.sides import Programs


def shown(line: Mapping[str, Any]) -> Shown:
    """A task as the program shows it."""
    return Shown(
        **{
            **line,
            "payload": decoded(line["payload"]),
            "result": decoded(line["result"]),
            "headers": without_failures(line["headers"] or {}),  # Python's inspector shows them apart
        }
    )


class GoSide:
    """A `Side` whose every call is a request to the Go program."""

    name = "go"

    def __init__(self, programs: Programs) -> None:
        self._programs = programs
        self._program: LineProgram | None = None

    def ask(self, op: str, **fields: Any) -> Any:
        """Send a request to the client and inspector, which starts with the first one."""
        if self._program is None:
            self._program = self._programs.go()
        return self._program.ask(op, **fields)

    def enqueue(
        self,
        kind: str,
        payload: bytes = b"",
        headers: Mapping[str, str] | None = None,
        **options: Unpack[Options],
    ) -> Shown:
        fields = {"type": kind, "payload": encoded(payload), "headers": headers or {}, "options": options}
        return shown(self.ask("enqueue", **fields))

    def worker(self, **settings: Unpack[WorkerSettings]) -> LineProgram:
        return served(self._programs.go(), settings)

    def scheduler(
        self, spec: str, kind: str, payload: bytes = b"", **options: Unpack[Options]
    ) -> tuple[LineProgram, str]:
        return scheduled(self._programs.go(), spec, kind, payload, options)

    def queues(self) -> list[str]:
        return sorted(self.ask("queues"))

    def queue(self, queue: str) -> dict[str, Any]:
        return dict(self.ask("queue", queue=queue))

    def groups(self, queue: str) -> dict[str, int]:
        return dict(self.ask("groups", queue=queue))

    def task(self, queue: str, task: str) -> Shown:
        return shown(self.ask("task", queue=queue, task=task))

    def tasks(self, queue: str, state: str, group: str = "") -> list[Shown]:
        return [shown(one) for one in self.ask("tasks", queue=queue, state=state, group=group)]

    def one(self, verb: str, queue: str, task: str) -> None:
        self.ask(verb, queue=queue, task=task)

    def all(self, verb: str, queue: str, state: str, group: str = "") -> int:
        return int(self.ask(f"{verb} all", queue=queue, state=state, group=group))

    def update(self, queue: str, task: str, payload: bytes) -> None:
        self.ask("update", queue=queue, task=task, payload=encoded(payload))

    def pause(self, queue: str) -> None:
        self.ask("pause", queue=queue)

    def unpause(self, queue: str) -> None:
        self.ask("unpause", queue=queue)

    def delete_queue(self, queue: str, *, force: bool = False) -> None:
        self.ask("delete queue", queue=queue, force=force)

    def cancel(self, task: str) -> None:
        self.ask("cancel", task=task)

    def servers(self) -> list[ServerShown]:
        return [
            ServerShown(
                pid=one["pid"],
                concurrency=one["concurrency"],
                queues=one["queues"],
                status=one["status"],
                runs=tuple(
                    (run["task"], run["type"], decoded(run["payload"]), run["queue"]) for run in one["runs"]
                ),
            )
            for one in self.ask("servers")
        ]

    def entries(self) -> list[Entry]:
        return [
            Entry(**{**one, "payload": decoded(one["payload"]), "options": tuple(one["options"])})
            for one in self.ask("entries")
        ]

    def enqueued_by(self, entry: str) -> list[str]:
        return list(self.ask("events", entry=entry))
