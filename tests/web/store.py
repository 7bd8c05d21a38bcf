"""Puts tasks of each state into a broker, and sees what became of them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import asynq
from asynq.ids import random_id
from asynq.protocol.ops import Archive, Complete, Dequeue, Retry

if TYPE_CHECKING:
    from asynq import Broker
    from asynq.protocol.message import Delivery
    from asynq.task_state import TaskState

STATES = ("pending", "active", "scheduled", "retry", "archived", "completed")


class Store:
    """A broker with tasks. The type of a task is "t:" and its id."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.client = asynq.Client(broker)
        self.inspector = asynq.Inspector(broker)

    def enqueue(self, task_id: str, *, queue: str = "mail", payload: Any = None, **options: Any) -> str:
        """A pending task, or a scheduled or aggregating one."""
        self.client.enqueue(asynq.Task(f"t:{task_id}", payload), task_id=task_id, queue=queue, **options)
        return task_id

    def enqueue_many(self, count: int, *, queue: str = "mail") -> None:
        """Pending tasks, whose payloads are their numbers."""
        tasks = [asynq.Task("t", number, task_id=str(number)) for number in range(count)]
        self.client.enqueue_many(tasks, queue=queue)

    def take(self, queue: str = "mail") -> Delivery:
        """Let the next pending task run."""
        [taken] = self.broker.execute(Dequeue(orders=((queue,),), token=random_id(), lease=30_000))
        return taken

    def activate(self, task_id: str, **options: Any) -> str:
        """A task that runs."""
        self.enqueue(task_id, **options)
        self.take(options.get("queue", "mail"))
        return task_id

    def archive(self, task_id: str, *, error: str = "boom", **options: Any) -> str:
        """A task that failed for good."""
        self.enqueue(task_id, **options)
        self.broker.execute(Archive(delivery=self.take(options.get("queue", "mail")), error=error))
        return task_id

    def retry(self, task_id: str, *, error: str = "boom") -> str:
        """A task that failed and runs once more, in an hour."""
        self.enqueue(task_id)
        self.broker.execute(Retry(delivery=self.take(), delay=3_600_000, error=error))
        return task_id

    def complete(self, task_id: str, result: bytes = b"") -> str:
        """A task that succeeded and is retained."""
        self.enqueue(task_id, retention=timedelta(hours=1))
        self.broker.execute(Complete(delivery=self.take(), result=result))
        return task_id

    def one_of_each(self) -> None:
        """A task of each state, whose id is its state, and one in group "g"."""
        self.activate("active")
        self.archive("archived")
        self.retry("retry")
        self.complete("completed")
        self.enqueue("scheduled", process_in=timedelta(hours=1))
        self.enqueue("aggregating", group="g")
        self.enqueue("pending")

    def state(self, task_id: str, queue: str = "mail") -> TaskState | None:
        """The state of a task; None if it is gone."""
        try:
            return self.inspector.task(queue, task_id).state
        except asynq.TaskNotFoundError:
            return None
