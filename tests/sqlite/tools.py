"""Helpers: operations in short form, and other processes on the same file."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

from asynq.protocol import ops
from asynq.protocol.message import Delivery, StoredTask, TaskMessage
from tests.programs import program_environment

if TYPE_CHECKING:
    from pathlib import Path

    from asynq.protocol.broker import Broker
    from asynq.task_state import TaskState

LEASE = 30_000


def enqueue(task_id: str, queue: str = "q", **fields: Any) -> ops.Enqueue:
    """Return an Enqueue of a small task, with these fields of the message or of the operation."""
    own = {name: fields.pop(name) for name in ("process_in", "unique", "process_at") if name in fields}
    message = TaskMessage(id=task_id, type="type", queue=queue, **{"payload": b"payload", **fields})
    return ops.Enqueue(message=message, enqueue_id=f"call-{task_id}", **own)


def take(broker: Broker, token: str = "token", wanted: int = 1, queue: str = "q") -> tuple[Delivery, ...]:
    """Dequeue up to `wanted` tasks."""
    return broker.execute(ops.Dequeue(orders=((queue,),) * wanted, token=token, lease=LEASE))


def tasks(broker: Broker, state: TaskState, queue: str = "q") -> tuple[StoredTask, ...]:
    """Return all tasks in a state."""
    return broker.execute(ops.ListTasks(queue=queue, state=state, limit=100_000))


def sql(path: Path, statement: str, *values: object) -> list[Any]:
    """Execute a statement on the file, as with the sqlite3 shell."""
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement, values).fetchall()


def start_script(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a Python process that runs the script, with its output piped."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env=program_environment(),
    )


def run_script(script: str, *arguments: object) -> str:
    """Run a script and return its output. It must succeed."""
    with start_script(script, *arguments) as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return output
