"""ServerRecord: what the heartbeat of a server writes about the server and its runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from uuid import uuid4

from msgspec.structs import replace

from asynq.instants import instant_of
from asynq.protocol.ops import ClearServer, WriteServer
from asynq.protocol.presence import MAX_SHOWN_PAYLOAD, ServerInfo, WorkerInfo
from asynq.runtime.heartbeat import host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from asynq.handlers.run import Run
    from asynq.protocol.broker_time import BrokerTime
    from asynq.worker.served_queues import ServedQueues

SERVER_HEARTBEAT_INTERVAL = 5.0
"""Seconds between two heartbeats of a server. Its record expires after twice this time."""


class ServerRecord:
    """A server's description of itself."""

    def __init__(
        self, concurrency: int, served: ServedQueues, time: BrokerTime, runs: Callable[[], Iterable[Run]]
    ) -> None:
        self.status = "active"
        self._runs = runs
        self._served = served
        self._time = time
        self._began: int | None = time.mark()
        self._server = ServerInfo(
            id=str(uuid4()),
            host=host(),
            pid=os.getpid(),
            started_at=instant_of(time.now()),
            concurrency=concurrency,
            strict_priority=served.preference.strict,
        )

    def beat(self) -> WriteServer:
        """The operation that writes the record."""
        if self._began is not None:
            # The broker's time was not known yet when this object was created.
            started_at = instant_of(self._time.now() - (self._time.mark() - self._began))
            self._server, self._began = replace(self._server, started_at=started_at), None
        workers = tuple(map(_worker, self._runs()))
        preference = self._served.preference
        queues = {**preference.patterns, **preference.weights}
        server = replace(self._server, status=self.status, queues=queues, workers=workers)
        return WriteServer(server=server, ttl=int(2000 * SERVER_HEARTBEAT_INTERVAL))

    def end(self) -> ClearServer:
        """The operation that removes the record."""
        server = self._server
        return ClearServer(host=server.host, pid=server.pid, server_id=server.id)


def _worker(run: Run) -> WorkerInfo:
    message = run.delivery.message
    return WorkerInfo(
        task_id=message.id,
        task_type=message.type,
        payload=message.payload[:MAX_SHOWN_PAYLOAD],
        queue=message.queue,
        started_at=run.started_at,
        deadline=run.deadline,
    )
