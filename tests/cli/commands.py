"""Runs commands within the test, on a broker of the test."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from attrs import field, frozen
from typer.testing import CliRunner

from asynq import Client, Inspector, Task
from asynq.cli.main import app
from asynq.protocol.ops import Archive, Dequeue

if TYPE_CHECKING:
    from asynq import Broker


@frozen
class Ended:
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def objects(self) -> list[Any]:
        """What a command with --json printed."""
        return [json.loads(line) for line in self.out.splitlines()]


@frozen
class Commands:
    """Runs commands on one broker, and prepares what they find there."""

    url: str
    broker: Broker
    _runner: CliRunner = field(factory=CliRunner)

    def __call__(self, *args: str, stdin: str = "") -> Ended:
        """Run a command to its end, whatever its status."""
        result = self._runner.invoke(
            app, args, input=stdin, env={"ASYNQ_BROKER": self.url, "COLUMNS": "200"}, catch_exceptions=False
        )
        return Ended(result.exit_code, result.stdout, result.stderr)

    def ok(self, *args: str, stdin: str = "") -> Ended:
        """Run a command that must succeed."""
        ended = self(*args, stdin=stdin)
        assert ended.status == 0, ended
        return ended

    @property
    def inspector(self) -> Inspector:
        """An inspector of the broker."""
        return Inspector(self.broker)

    def enqueue(self, *types: str, payload: object = None, **options: Any) -> list[str]:
        """Enqueue a task of each type, whose id is the type. Returns the ids."""
        client = Client(self.broker)
        return [client.enqueue(Task(each, payload, task_id=each, **options)).id for each in types]

    def fail(self, error: str) -> str:
        """Take the next task and archive it. Returns its id."""
        (delivery,) = self.broker.execute(Dequeue(orders=(("default",),), token=error, lease=30_000))
        self.broker.execute(Archive(delivery=delivery, error=error))
        return delivery.message.id

    def take(self) -> str:
        """Take the next task, which is then active. Returns its id."""
        (delivery,) = self.broker.execute(Dequeue(orders=(("default",),), token="taken", lease=30_000))
        return delivery.message.id

    def states(self, queue: str = "default") -> dict[str, str]:
        """The states of all tasks of a queue by id."""
        states = ("pending", "active", "scheduled", "retry", "archived", "completed")
        return {task.id: state for state in states for task in self.inspector.tasks(queue, state)}
