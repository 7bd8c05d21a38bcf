"""Short ways to say what these tests say often, and other processes on the same file."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

from asynq.protocol import ops
from asynq.protocol.message import Delivery, StoredTask, TaskMessage

if TYPE_CHECKING:
    from pathlib import Path

    from asynq.protocol.broker import Broker
    from asynq.task_state import TaskState

LEASE = 30_000


def enqueue(task_id: str, queue: str = "q", **fields: Any) -> ops.Enqueue:
    """An Enqueue of a small task; fields of the message or of the operation."""
    own = {name: fields.pop(name) for name in ("process_in", "unique", "process_at") if name in fields}
    message = TaskMessage(id=task_id, type="type", queue=queue, **{"payload": b"payload", **fields})
    return ops.Enqueue(message=message, enqueue_id=f"call-{task_id}", **own)


def take(broker: Broker, token: str = "token", wanted: int = 1, queue: str = "q") -> tuple[Delivery, ...]:
    """Up to so many tasks of the queue."""
    return broker.execute(ops.Dequeue(orders=((queue,),) * wanted, token=token, lease=LEASE))


def tasks(broker: Broker, state: TaskState, queue: str = "q") -> tuple[StoredTask, ...]:
    """All tasks in a state."""
    return broker.execute(ops.ListTasks(queue=queue, state=state, limit=100_000))


def sql(path: Path, statement: str, *values: object) -> list[Any]:
    """What a person does to the file with the sqlite3 shell."""
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement, values).fetchall()


def start_script(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Another Python process running the script, its output piped."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def run_script(script: str, *arguments: object) -> str:
    """The output of a script that ended well."""
    with start_script(script, *arguments) as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return output
