"""Programs that tests stop with SIGSTOP while a call is under way.

python frozen_programs.py PROGRAM URL, with one of these programs:
"blocking" and "async" say "ready", make a call when a line comes in, and say "done";
"worker" and "worker on asyncio" run tasks, each of which says "running" and ends when a line comes in.
Log lines go to standard error and begin with "log:" and the name of the logger.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from datetime import timedelta

from asynq import Context, Server, Task
from asynq.protocol.message import TaskMessage
from asynq.protocol.ops import Enqueue, Ping
from asynq_redis import RedisBroker

SOCKET_TIMEOUT = timedelta(seconds=2)


def enqueue(task_id: str = "id") -> Enqueue:
    return Enqueue(message=TaskMessage(id=task_id, type="t", queue="q"), enqueue_id=task_id)


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def make_blocking_call(broker: RedisBroker) -> None:
    broker.execute(Ping())
    say("ready")
    sys.stdin.readline()
    broker.execute(enqueue())
    say("done")


async def make_async_call(broker: RedisBroker) -> None:
    await broker.aexecute(Ping())
    say("ready")
    await asyncio.to_thread(sys.stdin.readline)
    await broker.aexecute(enqueue())
    say("done")
    await broker.aclose()


def work(broker: RedisBroker, *, on_asyncio: bool) -> None:
    """Run tasks: each says that it runs and ends when a line comes in."""

    def handle(ctx: Context, task: Task) -> None:
        say("running")
        sys.stdin.readline()

    server = Server(broker, queues=["q"], concurrency=1, lease=timedelta(minutes=10))
    if on_asyncio:
        asyncio.run(server.serve(handle))
    else:
        server.run(handle)


def main() -> None:
    logging.basicConfig(format="log: %(name)s %(message)s", level=logging.WARNING)
    program, url = sys.argv[1:]
    broker = RedisBroker(url, socket_timeout=SOCKET_TIMEOUT)
    if program == "async":
        asyncio.run(make_async_call(broker))
    elif program == "blocking":
        make_blocking_call(broker)
    else:
        work(broker, on_asyncio=program == "worker on asyncio")


if __name__ == "__main__":
    main()
