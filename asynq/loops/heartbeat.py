"""Heartbeats: servers and schedulers that say again and again that they are there, and what they do."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING
from uuid import uuid4

from attrs import evolve

from asynq.backoff import Troubles
from asynq.errors import AsynqError, BrokerUnavailable
from asynq.instants import instant_of
from asynq.logs import get_logger
from asynq.ops import ClearServer, WriteServer
from asynq.presence import SHOWN_PAYLOAD, ServerInfo, WorkerInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from asynq.broker import Broker
    from asynq.broker_time import BrokerTime
    from asynq.ops import Op
    from asynq.queues import Preference
    from asynq.runner import Run

log = get_logger("asynq.loops")

SERVER_EVERY = 5.0
"""Seconds between two heartbeats of a server; it can be seen for twice as long."""
SCHEDULER_EVERY = 10.0
"""The same of a scheduler."""
END_PATIENCE = 1.0
"""Seconds a shutdown waits to be seen no more."""
UNANSWERED_PATIENCE = 0.2
"""The same of a broker that does not answer."""


class Heartbeat:
    """Each step writes what `beat` answers, the end of it what `last` is. `time` is told to `beat` before."""

    def __init__(
        self, broker: Broker, beat: Callable[[], Op[None]], last: Op[None], time: BrokerTime
    ) -> None:
        self._broker = broker
        self._time = time
        self._beat = beat
        self._last = last
        self._troubles = Troubles(log, "the heartbeat")

    async def step(self) -> float | None:
        """Be seen. A broker that is away is the loop's matter, one that refuses is logged once."""
        try:
            await self._time.follow(self._broker)
            await self._broker.aexecute(self._beat())
        except BrokerUnavailable:
            raise
        except AsynqError as error:
            self._troubles.failed(error)
        else:
            self._troubles.worked()
        return None

    async def end(self, *, answered: bool = True) -> None:
        """Remove the record. If the broker does not take that, the record expires on its own.

        answered: the broker answered until now; else there is little use in waiting for it.
        """
        try:
            async with asyncio.timeout(END_PATIENCE if answered else UNANSWERED_PATIENCE):
                await self._broker.aexecute(self._last)
        except TimeoutError:
            log.info("the record of this process expires on its own: the broker does not answer in time")
        except AsynqError as error:
            log.info("the record of this process expires on its own: %s", error)


def host() -> str:
    """Name of this machine."""
    return socket.gethostname() or "unknown-host"


class ServerRecord:
    """A server's description of itself."""

    def __init__(
        self, concurrency: int, preference: Preference, time: BrokerTime, runs: Callable[[], Iterable[Run]]
    ) -> None:
        self.status = "active"
        self._runs = runs
        self._time = time
        self._began: int | None = time.mark()
        self._server = ServerInfo(
            id=str(uuid4()),
            host=host(),
            pid=os.getpid(),
            started_at=instant_of(time.now()),
            concurrency=concurrency,
            queues=preference.weights,
            strict_priority=preference.strict,
        )

    def beat(self) -> WriteServer:
        """What is written now."""
        if self._began is not None:
            # When it was made, the broker had not told its time.
            started_at = instant_of(self._time.now() - (self._time.mark() - self._began))
            self._server, self._began = evolve(self._server, started_at=started_at), None
        workers = tuple(map(_worker, self._runs()))
        server = evolve(self._server, status=self.status, workers=workers)
        return WriteServer(server=server, ttl=int(2000 * SERVER_EVERY))

    def end(self) -> ClearServer:
        """What is written last."""
        server = self._server
        return ClearServer(host=server.host, pid=server.pid, server_id=server.id)


def _worker(run: Run) -> WorkerInfo:
    message = run.delivery.message
    return WorkerInfo(
        task_id=message.id,
        task_type=message.type,
        payload=message.payload[:SHOWN_PAYLOAD],
        queue=message.queue,
        started_at=run.started_at,
        deadline=run.context.deadline,
    )
