"""A worker and scheduler of this library that tests drive, as they drive go/main.go.

As a command, `python -m tests.interop.python_worker URL`, it reads requests on standard input and writes
replies and events to standard output. It ends when its input ends.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import asynq
from tests.interop.python_side import keywords, refusals

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def write(value: Mapping[str, Any]) -> None:
    """Write a line, whole even if the process is killed."""
    os.write(1, json.dumps(value).encode() + b"\n")


def aggregate(group: str, tasks: Sequence[asynq.Task]) -> asynq.Task:
    """One task of a group, whose payload is the group's name and the payloads."""
    return asynq.Task("ok:aggregated", b"|".join([group.encode(), *(task.payload for task in tasks)]))


class Peer:
    """What this process has open."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._server: asynq.Server | None = None
        self._scheduler: asynq.Scheduler | None = None
        self._released = asyncio.Event()

    async def serve(self, request: Mapping[str, Any]) -> None:
        """Start a server."""
        settings = request["worker"]
        self._server = asynq.Server(
            self._url,
            concurrency=settings["concurrency"],
            queues=settings["queues"],
            shared_queue_limits=settings["shared_limits"] or None,
            retry_delay=lambda retried, error, task: settings["retry_delay"],
            shutdown_timeout=timedelta(seconds=settings["shutdown"]),
            aggregator=aggregate if settings["aggregate"] else None,
            group_grace_period=timedelta(seconds=settings["group_grace"]),
            group_max_size=settings["group_size"] or None,
        )
        await self._server.start(self.handle)

    async def release(self, request: Mapping[str, Any]) -> None:
        """Let all runs that wait go on."""
        self._released.set()

    async def stop(self, request: Mapping[str, Any]) -> None:
        """Shut down."""
        if self._server:
            await self._server.shutdown()
        if self._scheduler:
            await self._scheduler.shutdown()

    async def schedule(self, request: Mapping[str, Any]) -> str:
        """Register a periodic task, and start the scheduler with the first one."""
        scheduler = self._scheduler or asynq.Scheduler(self._url)
        task = asynq.Task(request["type"], base64.b64decode(request["payload"]))
        entry = scheduler.register(request["spec"], task, **keywords(request["options"]))
        if self._scheduler is None:
            self._scheduler = scheduler
            await scheduler.start()
        return entry

    async def unschedule(self, request: Mapping[str, Any]) -> None:
        """Remove a periodic task."""
        assert self._scheduler
        self._scheduler.unregister(request["entry"])

    async def sync(self, request: Mapping[str, Any]) -> None:
        """Do nothing: the reply comes after all events before it."""

    async def handle(self, ctx: asynq.Context, task: asynq.Task) -> bytes | None:
        """Do what the task's type says before its first colon."""
        run = {
            "event": "run",
            "task": ctx.task_id,
            "type": task.type,
            "payload": base64.b64encode(task.payload).decode(),
            "headers": dict(task.headers),
            "queue": ctx.queue,
            "retried": ctx.retried,
            "max_retry": ctx.max_retry,
            "deadline": ctx.deadline.timestamp(),
            "at": time.time(),
        }
        write(run)
        match task.type.partition(":")[0]:
            case "fail":
                raise RuntimeError(task.payload.decode())
            case "skip":
                raise asynq.SkipRetry(task.payload.decode())
            case "revoke":
                raise asynq.RevokeTask(task.payload.decode())
            case "result":
                return task.payload
            case "nap":
                await asyncio.sleep(0.01)
            case "hold":
                try:
                    await self._released.wait()
                except asyncio.CancelledError:
                    write({**run, "event": "told to end"})
                    raise
        return None


async def lines() -> asyncio.StreamReader:
    """Standard input."""
    reader = asyncio.StreamReader(limit=1 << 26)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    return reader


async def main() -> None:
    """Answer requests until there are no more."""
    peer = Peer(sys.argv[1])
    operations: dict[str, Callable[[Mapping[str, Any]], Any]] = {
        "serve": peer.serve,
        "release": peer.release,
        "stop": peer.stop,
        "schedule": peer.schedule,
        "unschedule": peer.unschedule,
        "sync": peer.sync,
    }
    reader = await lines()
    while line := await reader.readline():
        request = json.loads(line)
        try:
            with refusals():
                value = await operations[request["op"]](request)
            write({"number": request["number"], "value": value})
        except Exception as error:  # noqa: BLE001 - the test decides what an error means
            write({"number": request["number"], "error": repr(error), "kind": "other"})
    await peer.stop({})


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asyncio.run(main())
