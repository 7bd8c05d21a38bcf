"""Enqueues batches forever: python producer.py URL NAME.

It prints the number of each batch twice: before it is sent, and after it was acknowledged.
"""

from __future__ import annotations

import itertools
import os
import sys
from datetime import timedelta

from asynq import AsynqError, Client, Task

SIZE = 60
LOCKED = timedelta(hours=1)


def batch(name: str, number: int) -> list[Task]:
    """Tasks to run now, later, and under a lock. The payload of each is its id."""
    tasks = []
    for place in range(SIZE):
        task_id = f"{name}-{number}-{place}"
        match place % 3:
            case 0:
                task = Task("t", task_id, task_id=task_id)
            case 1:
                task = Task("t", task_id, task_id=task_id, process_in=timedelta(seconds=1))
            case _:
                task = Task("t", task_id, task_id=task_id, unique=LOCKED)
        tasks.append(task)
    return tasks


if __name__ == "__main__":
    url, name = sys.argv[1:3]
    with Client(url) as client:
        for number in itertools.count():
            tasks = batch(name, number)
            os.write(1, b"sent %d\n" % number)
            refused = [info for info in client.enqueue_many(tasks) if isinstance(info, AsynqError)]
            if refused:
                sys.exit(f"refused: {refused}")
            os.write(1, b"acknowledged %d\n" % number)
