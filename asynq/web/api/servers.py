"""Servers, and what each of their workers does now."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec reads the annotations
from typing import TYPE_CHECKING

from msgspec import Struct

from asynq.web.api.endpoint import Nothing, endpoint
from asynq.web.api.shapes import shown_data

if TYPE_CHECKING:
    from asynq.protocol.presence import ServerInfo
    from asynq.web.call import WebCall


class ActiveWorker(Struct, kw_only=True):
    """A run in progress."""

    task_id: str
    queue: str
    task_type: str
    task_payload: str
    """The beginning of the payload."""
    start_time: datetime
    deadline: datetime


class ServerItem(Struct, kw_only=True):
    """A server, as its last heartbeat says."""

    id: str
    host: str
    pid: int
    concurrency: int
    queue_priorities: dict[str, int]
    strict_priority_enabled: bool
    start_time: datetime
    status: str
    active_workers: list[ActiveWorker]


class ServerList(Struct, kw_only=True):
    """The servers that are online."""

    servers: list[ServerItem]


@endpoint("GET", "/servers", asked=Nothing, answer=ServerList)
async def list_servers(call: WebCall, asked: Nothing) -> ServerList:
    """The servers that are online, with what they run. They report it every 5 seconds."""
    limit = call.web.settings.max_listed
    return ServerList(servers=[_server(each, limit) for each in await call.web.inspector.servers()])


def _server(server: ServerInfo, limit: int) -> ServerItem:
    return ServerItem(
        id=server.id,
        host=server.host,
        pid=server.pid,
        concurrency=server.concurrency,
        queue_priorities=dict(server.queues),
        strict_priority_enabled=server.strict_priority,
        start_time=server.started_at,
        status=server.status,
        active_workers=[
            ActiveWorker(
                task_id=run.task_id,
                queue=run.queue,
                task_type=run.task_type,
                task_payload=shown_data(run.payload, limit)[0],
                start_time=run.started_at,
                deadline=run.deadline,
            )
            for run in server.workers
        ],
    )
